"""Fill the README's outputs by running its commands: python docs/make_readme.py (from the repository's root).

README.md is made of docs/README.in.md; a line ``@run COMMAND`` becomes the command and what it prints.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_LINES = 14


def main() -> None:
    template = (ROOT / "docs" / "README.in.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        filled = re.sub(r"^@run (.*)$", lambda match: transcript(match[1], folder), template, flags=re.M)
    (ROOT / "README.md").write_text(filled.replace("@columns", columns()))


def transcript(command: str, folder: str) -> str:
    """The command and its output, as on a terminal, cut after some lines."""
    program = command.replace("astroyolo", shlex.quote(str(Path(sys.executable).parent / "astroyolo")))
    done = subprocess.run(program, shell=True, cwd=folder, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    kept = lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], "..."]
    return "\n".join(["```console", f"$ {command}", *kept, "```"])


def columns() -> str:
    """The table of the catalog's columns."""
    sys.path.insert(0, str(ROOT))
    from astroyolo_cli.columns import BAND_COLUMNS, COLUMNS

    rows = ["| column | unit | meaning |", "| --- | --- | --- |"]
    for column in (*COLUMNS, *BAND_COLUMNS):
        unit = "image unit" if column.unit == "flux" else column.unit
        rows.append(f"| `{column.name}` | {unit} | {column.meaning} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
