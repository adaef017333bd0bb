"""The manual builds without warnings, its examples do what they say, and it has every command and column."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from astroyolo_cli.cli import COMMANDS
from astroyolo_cli.columns import BAND_COLUMNS, COLUMNS, FLAGS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
for needed in ("sphinx", "sphinx_click", "myst_parser", "furo"):
    pytest.importorskip(needed)


def build(builder: str, out: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-b", builder, "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_build_without_warnings(tmp_path):
    build("html", tmp_path)
    commands, catalog = ((tmp_path / f"{page}.html").read_text(encoding="utf-8") for page in ("commands", "catalog"))
    assert [name for name in COMMANDS if f'id="astroyolo-{name}"' not in commands] == []
    assert [column.name for column in (*COLUMNS, *BAND_COLUMNS) if f">{column.name}<" not in catalog] == []
    assert [bit for bit in FLAGS if f"<p>{bit}</p>" not in catalog] == []
    assert "@" not in (tmp_path / "limits.html").read_text(encoding="utf-8").split("<article")[1].split("</article")[0]


def test_examples_do_what_they_say(tmp_path):
    build("doctest", tmp_path)
    ran = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert "0 failures in tests" in ran
    assert [page for page in ("api", "catalog", "quickstart") if f"Document: {page}\n" not in ran] == []
