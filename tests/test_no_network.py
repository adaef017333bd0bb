"""Nothing is sent and nobody is asked, as long as no input is an address."""

import importlib.util
import shutil
import subprocess
import sys

import pytest

from test_batch import write_frame

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
def test_no_socket_is_opened(tmp_path, monkeypatch, engine):
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    monkeypatch.chdir(tmp_path)
    write_frame(tmp_path / "a.fits")
    write_frame(tmp_path / "b.fits", 1)
    lines = [
        f"detect a.fits -o c.csv --engine {engine} --report page.html",
        f"detect a.fits b.fits -o out --engine {engine} --format parquet --log",
        "merge c.csv -o m.vot",
        "classify a.fits --catalog c.csv -o k.csv",
        "info flags",
    ]
    log = tmp_path / "log"
    ended = subprocess.run([*traced(log), sys.executable, "-c", CODE, *lines], capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0 and "silent" in ended.stdout, ended.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"c.csv", "page.html", "out", "m.vot", "k.csv"}
    if log.exists():
        assert not [line for line in log.read_text().splitlines() if "AF_INET" in line or "AF_NETLINK" in line]
