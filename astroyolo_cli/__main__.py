"""python -m astroyolo_cli, as torchrun -m needs it."""

from .cli import main

if __name__ == "__main__":
    main()
