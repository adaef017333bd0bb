"""Sphinx, for these pages: ``sphinx-build -W -b html docs docs/_build``.

What the program knows (columns, flags, limits) is taken from it while the pages are built, where their text says ``@name@``.
"""

import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import astroyolo_cli
from astroyolo_cli import __version__
from astroyolo_cli.columns import BAND_COLUMNS, COLUMNS, FIELD, FLAGS, PRIMARY
from astroyolo_cli.model.checkpoint import embedded, load
from astroyolo_cli.pipeline import DetectSettings

DOCS = Path(__file__).parent

project = "AstroYOLO"
author = "The AstroYOLO developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest", "sphinx_click"]
exclude_patterns = ["_build", "*.in.md", "table1.md"]
html_theme = "furo"
html_title = f"AstroYOLO {release}"
html_copy_source = False
html_static_path = ["style"]
html_css_files = ["pages.css"]

smartquotes = False  # -- is an option, not a dash
myst_heading_anchors = 3
napoleon_custom_sections = [("Attributes", "params_style")]  # a list: autodoc has the fields of data classes already
autodoc_member_order = "bysource"
autodoc_typehints_format = "fully-qualified"
python_use_unqualified_type_names = True
toc_object_entries = False
OPTIONAL = ("galsim", "sep", "faster_coco_eval", "matplotlib", "distributed", "fsspec", "onnxruntime", "openvino", "pyarrow", "tensorboard")
autodoc_mock_imports = [name for name in OPTIONAL if find_spec(name) is None]
doctest_global_setup = f"import os\n\nos.chdir({str(DOCS.parent)!r})"  # examples/field is below it


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def columns(*some) -> str:
    """Name, unit, UCD and meaning of the catalog's columns."""
    return table(
        ("column", "unit", "UCD", "meaning"),
        [
            (f"`{one.name}`", "image unit" if one.unit == "flux" else one.unit, f"`{one.ucd.replace(';', '; ')}`", one.meaning)
            for one in some
        ],
    )


def flags() -> str:
    return table(("bit", "value", "meaning"), [(str(bit.bit_length() - 1), str(bit), meaning) for bit, meaning in FLAGS.items()])


def smallest_fwhm() -> str:
    return f"{load(embedded()['nano'])[1].fwhm_range[0]:g}"


def largest_fwhm() -> str:
    return f"{load(embedded()['nano'])[1].fwhm_range[1]:g}"


def table1() -> str:
    """The comparison of the training schemes, where benchmarks/table1.py has been run and the page filled."""
    if not (DOCS / "table1.md").exists():
        return "The comparison of the training schemes has not been made for this version; `benchmarks/table1.py` makes it."
    return "```{include} table1.md\n:heading-offset: 1\n```"


def other_modules() -> str:
    """A section each for the modules that api.md does not name; the command line has its own page."""
    named = set(re.findall(r"automodule:: (\S+)", (DOCS / "api.md").read_text(encoding="utf-8")))
    found = {module.name for module in pkgutil.walk_packages(astroyolo_cli.__path__, "astroyolo_cli.") if not module.ispkg}
    left = sorted(name for name in found - named if not re.search(r"\.(cli\.\w+|__main__)$", name))
    sections = (f"### {name.removeprefix('astroyolo_cli.')}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```" for name in left)
    return "\n\n".join(["## Others" if left else "", *sections])


MADE = {
    "columns": lambda: columns(*COLUMNS),
    "band_columns": lambda: columns(*BAND_COLUMNS),
    "joined_columns": lambda: columns(FIELD, PRIMARY),
    "flags": flags,
    "smallest_fwhm": smallest_fwhm,
    "largest_fwhm": largest_fwhm,
    "overlap": lambda: str(DetectSettings().overlap),
    "min_score": lambda: str(DetectSettings().min_score),
    "other_modules": other_modules,
    "table1": table1,
}


def fill(app, name: str, text: list[str]) -> None:
    """Replace ``@name@`` in a page that Sphinx has read; a name that is not known is an error, not text."""
    text[0] = re.sub(r"@(\w+)@", lambda match: MADE[match[1]](), text[0])


def always_read(app, env, added, changed, removed) -> list[str]:
    """Pages that are made of other files are made again every time."""
    return [name for name in env.found_docs if "@" in Path(env.doc2path(name)).read_text(encoding="utf-8")]


def plain_docstring(app, what, name, thing, options, lines: list[str]) -> None:
    """Docstrings are text with ``literals`` and doctests: what else would be markup is taken as it is."""
    in_doctest = False
    for number, line in enumerate(lines):
        in_doctest = line.lstrip().startswith(">>>") or (in_doctest and bool(line.strip()))
        if not in_doctest:
            lines[number] = "".join(part if part.startswith("``") else escaped(part) for part in re.split(r"(``.*?``)", line))


def escaped(text: str) -> str:
    r"""``a*b_ |c|`` to ``a\*b\_ \|c\|``."""
    return re.sub(r"([*|]|_(?!\w))", r"\\\1", text)


def examples_as_code(app, context, lines: list[str]) -> None:
    """The examples of a command's help, lines after a bar to sphinx-click, as a block to copy."""
    heading = ["Examples:", "", ".. code-block:: sh", ""]
    lines[:] = [new for line in lines for new in (heading if line == "| Examples:" else [line.removeprefix("|")])]


def setup(app) -> None:
    app.connect("source-read", fill)
    app.connect("env-get-outdated", always_read)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)  # before napoleon
    app.connect("sphinx-click-process-description", examples_as_code)
