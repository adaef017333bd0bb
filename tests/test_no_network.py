"""Nothing is sent and nobody is asked, as long as no input is an address."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from test_batch import write_frame

ROOT = Path(__file__).parents[1]

CODE = """
import sys

def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")) and event != "socket.gethostname":
        sys.exit(f"{event} {arguments}")

sys.addaudithook(refuse)
from astroyolo_cli.cli import cli
for line in sys.argv[1:]:
    try:
        cli.main(line.split(" "), standalone_mode=False)
    except SystemExit as end:
        if end.code:
            raise
print("silent")
"""


def traced(log) -> list[str]:
    """The beginning of a command line that notes all that a process and its libraries ask of the network; nothing where that cannot be."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode:
        return []
    return [strace, "-f", "-qq", "-e", "trace=%network", "-o", str(log)]


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_no_socket_is_opened(tmp_path, engine):
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    write_frame(tmp_path / "a.fits")
    write_frame(tmp_path / "b.fits", 1)
    lines = [
        f"detect a.fits -o c.csv --engine {engine} --report page.html",
        f"detect a.fits b.fits -o out --engine {engine} --format parquet --log",
        "merge c.csv -o m.vot",
        "classify a.fits --catalog c.csv -o k.csv",
        "info flags",
    ]
    log, home = tmp_path / "log", tmp_path / "home"
    home.mkdir()
    places = {"PYTHONPATH": str(ROOT)} | {name: str(home) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    plain = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | places
    command = [*traced(log), sys.executable, "-c", CODE, *lines]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, env=plain, cwd=tmp_path)
    assert ended.returncode == 0 and "silent" in ended.stdout, ended.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"c.csv", "page.html", "out", "m.vot", "k.csv"}
    kept = {path.name for path in home.rglob("*") if path.is_file()}
    assert not any("id" in name or name.endswith(".db") for name in kept), f"something to know the user again by: {kept}"
    if log.exists():
        assert not [line for line in log.read_text().splitlines() if "AF_INET" in line or "AF_NETLINK" in line]
