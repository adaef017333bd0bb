"""How fast each engine is: python benchmarks/engines.py [WEIGHTS] [ROUNDS] (needs astroyolo[fast]).

Milliseconds a tile of 512 x 512 pixels, in batches of 4, in turns; minima over the rounds.
"""

import sys
import time

import numpy as np

from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import ENGINES, at_hand, open_engine

BATCH = 4


def main() -> None:
    weights, rounds = (sys.argv[1:] + ["nano", "8"][len(sys.argv) - 1 :])[:2]
    images = np.random.default_rng(0).random((BATCH, 3, 512, 512), np.float32)
    engines = {name: open_engine(locate(weights), name) for name in ENGINES if at_hand(name)}
    best = dict.fromkeys(engines, np.inf)
    for _ in range(int(rounds) + 1):
        for name, engine in engines.items():
            began = time.perf_counter()
            engine(images)
            best[name] = min(best[name], (time.perf_counter() - began) / BATCH)
    for name, seconds in best.items():
        print(f"{weights} {name}: {1000 * seconds:.1f} ms a tile")


if __name__ == "__main__":
    main()
