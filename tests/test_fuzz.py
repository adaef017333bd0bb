"""The fuzz ends in time, whatever its processes do, and keeps the input that one of them was at."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HANGS = """
import subprocess, sys, time
open(sys.argv[1], "wb").write(b"an input")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def fuzz(monkeypatch):
    """The module, in a hurry."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz

    for name, value in {"STUCK": 1, "GRACE": 1, "BEGIN": 10, "LOOK": 0.05}.items():
        monkeypatch.setattr(fuzz, name, value)
    yield fuzz
    sys.modules.pop("fuzz", None)


def begun(code: str, current: Path, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, str(current)], start_new_session=True, **options)


def is_there(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_hang_is_killed_with_what_it_began(fuzz, tmp_path):
    process = begun(HANGS, tmp_path / "input", stdout=subprocess.PIPE, text=True)
    took, wrong = fuzz.watched(process, 300, tmp_path / "input")
    assert "at one input" in wrong and took < 60
    child = int(process.stdout.readline())
    process.stdout.close()
    for _ in range(100):
        if not is_there(child):
            break
        time.sleep(0.05)
    assert not is_there(child) and process.returncode < 0


def test_who_goes_on_after_its_share_is_killed(fuzz, tmp_path):
    code = "import sys, time\nwhile True: open(sys.argv[1], 'wb').close(); time.sleep(0.1)"
    process = begun(code, tmp_path / "input")
    took, wrong = fuzz.watched(process, 1, tmp_path / "input")
    assert wrong == "" and took < 60 and process.returncode < 0


def test_who_does_not_begin_is_killed(fuzz, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "BEGIN", 0.5)
    assert fuzz.watched(begun("import time; time.sleep(600)", tmp_path / "input"), 300, tmp_path / "input")[1] == "did not begin"


@pytest.mark.parametrize("status, said", [(0, ""), (77, "exit status 77")])
def test_the_end_by_itself_is_told(fuzz, tmp_path, status, said):
    assert fuzz.watched(begun(f"raise SystemExit({status})", tmp_path / "input"), 300, tmp_path / "input")[1] == said


def test_the_input_of_a_hang_is_kept_and_reported(fuzz, tmp_path, monkeypatch):
    """The share goes on after it, and ends."""
    code = tmp_path / "hangs.py"
    code.write_text("import sys, time\nopen(sys.argv[3], 'wb').write(b'an input')\nprint('#7\\tpulse', flush=True)\ntime.sleep(600)")
    monkeypatch.setattr(fuzz, "__file__", str(code))
    result = fuzz.run("csv", 3, tmp_path)
    (kept,) = (tmp_path / "csv/found").iterdir()
    assert kept.read_bytes() == b"an input" and result["found"] == [kept.name] and kept.name.startswith("hang-")
    assert result["inputs"] % 7 == 0 and result["inputs"] > 0 and result["seconds"] < 30
    assert "at one input" in fuzz.run("csv", 1.5, tmp_path)["found"][0]  # again, and its file is there already
