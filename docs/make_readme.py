"""Fill README.md, weights/README.md and pages of docs/ by running the commands that they show (from the repository's root).

    ASTROYOLO_DATA=... python docs/make_readme.py [PAGE...]

A line ``@run COMMAND`` of their templates, docs/*.in.md, becomes the command and what it prints; docs/table1.json and docs/ablation.json,
copies of what the benchmarks of these names leave in their output folders, become tables; docs/peers.json and the figures beside it are
those of benchmarks/peers.py, docs/reliability.json that of benchmarks/reliability.py.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_LINES = 32
PAGES = {
    "docs/README.in.md": "README.md",
    "docs/weights.in.md": "weights/README.md",
    "docs/table1.in.md": "docs/table1.md",
    "docs/ablation.in.md": "docs/ablation.md",
    "docs/peers.in.md": "docs/peers.md",
    "docs/scale.in.md": "docs/scale.md",
    "docs/reliability.in.md": "docs/reliability.md",
}


def main() -> None:
    for template, page in PAGES.items():
        if not sys.argv[1:] or page in sys.argv[1:]:
            (ROOT / page).write_text(filled((ROOT / template).read_text()))


def filled(text: str) -> str:
    """A template with its commands run and its tables put in."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("examples", "benchmarks"):
            (Path(folder) / name).symlink_to(ROOT / name)
        text = re.sub(r"^@run (.*)$", lambda match: transcript(match[1], folder), text, flags=re.M)
    for fill in (scores, parameters):
        text = re.sub(rf"@{fill.__name__}\((\w+)\)", lambda match, fill=fill: fill(match[1]), text)
    for fill in (columns, table1, ablation, peers, reliability, speed, sizes, huge, surveys, gpu):
        if f"@{fill.__name__}" in text:
            text = text.replace(f"@{fill.__name__}", fill())
    return text


def transcript(command: str, folder: str) -> str:
    """The command and its output, as on a terminal, cut after some lines."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    kept = lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], "..."]
    return "\n".join(["```console", f"$ {command}", *kept, "```"])


def scores(name: str) -> str:
    """What the card of embedded weights says of them."""
    from astroyolo_cli.model.checkpoint import embedded, load

    card = load(embedded()[name])[1]
    return "\n".join(f"- {score.replace('_', ' ')}: {100 * value:.1f} %" for score, value in sorted(card.scores.items()))


def parameters(name: str) -> str:
    """How many an embedded network has."""
    from astroyolo_cli.model.checkpoint import embedded, load

    return f"{sum(p.numel() for p in load(embedded()[name])[0].parameters()):,}"


def table1() -> str:
    """The rows that were trained, and how many images each of them saw."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from table1 import ROWS, table

    results = json.loads((ROOT / "docs/table1.json").read_text())
    images = sorted({result["images"] for result in results.values()})
    cutouts = {result["cutouts"] for result in results.values()}
    missing = [row.title for name, row in ROWS.items() if name not in results]
    left = f" Rows that are not trained yet: {'; '.join(missing)}." if missing else ""
    return f"Images a row: {', '.join(map(str, images))}; test cutouts: {', '.join(map(str, cutouts))}.{left}\n\n{table(results)}"


def ablation() -> str:
    """What benchmarks/ablation.py trained and scored."""
    return figures_of("ablation", "ablation")


def peers() -> str:
    """What benchmarks/peers.py measured."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from peer_figures import markdown

    return markdown(json.loads((ROOT / "docs/peers.json").read_text()))


def reliability() -> str:
    """What benchmarks/reliability.py counted."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from reliability import FIGURES, markdown

    return markdown(json.loads(FIGURES.read_text()))


def speed() -> str:
    """What benchmarks/speed.py timed."""
    return figures_of("speed", "speed")


def sizes() -> str:
    """What benchmarks/scale.py timed."""
    return figures_of("sizes", "scale")


def huge() -> str:
    """What it timed on a compressed frame of 60,000 x 60,000 pixels."""
    return figures_of("huge", "scale")


def surveys() -> str:
    """What whole surveys cost by docs/speed.json."""
    return figures_of("speed", "surveys")


def gpu() -> str:
    """What benchmarks/gpu.py timed."""
    return figures_of("gpu", "gpu")


def figures_of(name: str, benchmark: str) -> str:
    """docs/NAME.json as the module of benchmarks/ shows it."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    figures = json.loads((ROOT / f"docs/{name}.json").read_text())
    return importlib.import_module(benchmark).markdown(figures)


def columns() -> str:
    """The table of the catalog's columns."""
    from astroyolo_cli.columns import BAND_COLUMNS, COLUMNS

    rows = ["| column | unit | meaning |", "| --- | --- | --- |"]
    for column in (*COLUMNS, *BAND_COLUMNS):
        unit = "image unit" if column.unit == "flux" else column.unit
        rows.append(f"| `{column.name}` | {unit} | {column.meaning} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
