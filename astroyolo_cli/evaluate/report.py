"""scores.json for programs, PNG figures, and one HTML page for people that needs nothing else."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..whole import write_text_whole
from .plots import draw_all

NAMES = ("scores.json", "report.html")

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # nothing runs, and nothing is fetched

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.7rem } h2 { font-size: 1.25rem; margin-top: 2.5rem } figure { margin: 1rem 0 } img { max-width: 100% }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #888 }
figcaption, .note { color: #555; font-size: .9rem }
.scroll { overflow-x: auto }
"""


def check_folder(out: Path, overwrite: bool) -> None:
    """Before the work: can the report be written?"""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; name a folder for the report")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputError(f"{out}: exists and is not empty; add --overwrite to replace the report in it")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out}: its parent folder does not exist; make it first")


def write_report(scores: dict, out: Path) -> Path:
    """Figures, page and numbers, the numbers last; each under a temporary name first. Returns the page."""
    try:
        out.mkdir(exist_ok=True)
        figures = draw_all(scores, out)
        write_text_whole(
            out / "report.html", page(scores, [(title, caption, (out / name).read_bytes()) for name, title, caption in figures])
        )
        write_text_whole(out / "scores.json", json.dumps(plain(scores), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); free space or choose another place") from error
    return out / "report.html"


def plain(value):
    """Only what JSON knows: no NumPy numbers, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def page(scores: dict, figures: list[tuple[str, str, bytes]]) -> str:
    """The whole HTML page; whatever comes from files or the command line is escaped."""
    fields, cutouts = scores.get("fields", {}), scores.get("cutouts", {})
    parts = [f"<h1>AstroYOLO evaluation</h1>{facts(scores)}"]
    if fields:
        parts.append(f"<h2>Fields</h2>{table(FIELD_ROWS, fields)}{field_notes(scores)}")
        parts.append(f"<h2>By class and box size</h2>{table(size_rows(fields), fields)}")
    if cutouts:
        parts.append(f"<h2>Smooth or disk</h2>{table(CUTOUT_ROWS, cutouts)}")
    parts += [picture(*figure) for figure in figures]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>AstroYOLO evaluation</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def facts(scores: dict) -> str:
    rows = "".join(f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>" for name, value in scores["about"].items())
    return f'<div class="scroll"><table>{rows}</table></div>'


def picture(title: str, caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<h2>{escape(title)}</h2><figure><img alt="{escape(title)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(rows: dict, tools: dict) -> str:
    """A row a quantity, a column a tool; a dash where it is unknown."""
    head = "".join(f"<th>{escape(str(tool))}</th>" for tool in tools)
    body = ""
    for label, get in rows.items():
        cells = "".join(f"<td>{escape(got(get, scores))}</td>" for scores in tools.values())
        body += f"<tr><td>{escape(label)}</td>{cells}</tr>"
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def got(get, scores: dict) -> str:
    try:
        value = get(scores)
    except (KeyError, TypeError):
        return "–"
    return "–" if value is None else value


def percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def with_interval(scores: dict) -> str | None:
    """A fraction and its 95 % interval."""
    if scores["fraction"] is None:
        return None
    return f"{100 * scores['fraction']:.1f} % ({100 * scores['low']:.1f} to {100 * scores['high']:.1f}; n = {scores['n']})"


def with_bootstrap(scores: dict) -> str | None:
    if scores["ece"] is None:
        return None
    return f"{scores['ece']:.3f} ({scores['ece_95'][0]:.3f} to {scores['ece_95'][1]:.3f})"


def ap(name: str):
    return lambda s: percent(s["average_precision"][name])


FIELD_ROWS = {
    "mAP(50-95), 10 thresholds": ap("mAP(50-95)"),
    "mAP(50-90), 9 thresholds": ap("mAP(50-90)"),
    "AP50": ap("AP50"),
    "AP75": ap("AP75"),
    "mAP(50-95), any class": lambda s: percent(s["average_precision"]["any_class"]["mAP(50-95)"]),
    "completeness": lambda s: with_interval(s["completeness"]),
    "purity": lambda s: with_interval(s["purity"]),
    "star/galaxy: accuracy": lambda s: percent(s["star_galaxy"]["accuracy"]),
    "star/galaxy: balanced accuracy": lambda s: percent(s["star_galaxy"]["balanced_accuracy"]),
    "star/galaxy: AUC": lambda s: number(s["star_galaxy"]["auc"]),
    "star/galaxy: ECE (95 %)": lambda s: with_bootstrap(s["star_galaxy"]),
    "star/galaxy: Brier": lambda s: number(s["star_galaxy"]["brier"]),
    "stars found and called right": lambda s: percent(s["star_galaxy"]["end_to_end"]["stars"]),
    "galaxies found and called right": lambda s: percent(s["star_galaxy"]["end_to_end"]["galaxies"]),
    "score: ECE (95 %)": lambda s: with_bootstrap(s["score"]),
    "score: Brier": lambda s: number(s["score"]["brier"]),
    "position: offset x, y [pix]": lambda s: f"{s['centres']['median_x']:+.3f}, {s['centres']['median_y']:+.3f}",
    "position: sigma of one axis [pix]": lambda s: number(s["centres"]["sigma"]),
}

CUTOUT_ROWS = {
    "galaxies": lambda s: str(s["n"]),
    "accuracy": lambda s: percent(s["accuracy"]),
    "balanced accuracy": lambda s: percent(s["balanced_accuracy"]),
    "AUC": lambda s: number(s["auc"]),
    "ECE (95 %)": with_bootstrap,
    "Brier": lambda s: number(s["brier"]),
    "detected": lambda s: str(s["detected"]),
    "accuracy of the detected": lambda s: percent(s["accuracy_of_detected"]),
}


def size_rows(fields: dict) -> dict:
    """mAP(50-95) of stars, galaxies and both, whole and by box size; from whichever tool has boxes."""
    known = next((s["average_precision"]["any_class"] for s in fields.values() if "any_class" in s["average_precision"]), None)
    if known is None:
        return {}
    rows = {f"mAP(50-95), {kind}": sized(kind, None) for kind in ("star", "galaxy")}
    for size in known["by_size"]:
        low, high = map(float, size.split("-"))
        label = f"boxes above {low:g} pixels" if high > 1000 else f"boxes of {low:g} to {high:g} pixels"
        rows |= {f"{label}: {kind}": sized(kind, size) for kind in ("star", "galaxy", "any class")}
    return rows


def sized(kind: str, size: str | None):
    def get(scores: dict) -> str | None:
        precision = scores["average_precision"]
        own = precision["any_class"] if kind == "any class" else precision["by_class"][kind]
        return percent(own["by_size"][size] if size else own["mAP(50-95)"])

    return get


def field_notes(scores: dict) -> str:
    """How the numbers came about, for who reads the page without the manual."""
    low = scores["settings"]["min_score"]
    return (
        f'<p class="note">Completeness, purity, classes and positions are of detections with a score of {low:g} or more, matched one to '
        "one, nearest first, within half the PSF's FWHM; what the truth ignores counts neither way, and of sources closer than that "
        "the fainter is ignored. Average precision and the calibration of the score are of all detections. Size of a box: the square root "
        "of its area. Catalogs of other tools are taken whole where their ranking "
        "is no probability; SExtractor's boxes bound its isophotes and not the truth's, so that its average precision says little.</p>"
    )
