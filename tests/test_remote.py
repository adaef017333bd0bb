"""Inputs behind https:// and the like: fetched by ranges, tried again, and the catalog is that of the local file."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from astroyolo_cli import remote
from astroyolo_cli.cli import cli
from astroyolo_cli.errors import AstroYOLOError, InputError
from astroyolo_cli.inputs import resolve
from astroyolo_cli.read import read_field
from astroyolo_cli.region import parse_region
from astroyolo_cli.tables import read_table
from conftest import star, tan_wcs

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Archive(BaseHTTPRequestHandler):
    """Serves files of a folder by ranges; ``failures`` counts down requests that it refuses, ``sent`` counts bytes."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server, path = self.server, self.server.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            return self.reply(404, b"", body)
        if body and server.failures > 0:
            server.failures -= 1
            return self.reply(503, b"busy", body)
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and server.ranges:
            first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
            return self.reply(206, data[first : last + 1], body, **{"Content-Range": f"bytes {first}-{last}/{len(data)}"})
        self.reply(200, data, body)

    def reply(self, status, data, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.server.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    server.folder, server.failures, server.sent, server.ranges = tmp_path, 0, 0, True
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def frame(archive):
    """3000 x 700 pixels with some stars, plain, compressed by tiles, and by gzip."""
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1, (3000, 700)).astype(np.float32)
    for x, y in zip(rng.uniform(60, 640, 20), rng.uniform(1400, 1600, 20)):
        image[1300:1700] += star((400, 700), x, y - 1300, 4, 1500).astype(np.float32)
    header = tan_wcs().to_header()
    for name in ("frame.fits", "frame.fits.gz"):
        fits.writeto(archive.folder / name, image, header)
    fits.CompImageHDU(image, header, quantize_level=0, compression_type="GZIP_2").writeto(archive.folder / "frame.fits.fz")
    return image


@pytest.mark.parametrize("name", ["frame.fits", "frame.fits.fz", "frame.fits.gz"])
def test_pixels_are_those_of_the_file(archive, frame, name):
    field = resolve([f"{archive.url}/{name}"])[0]
    assert field.name == "frame"
    np.testing.assert_array_equal(read_field(field).counts["image"], frame)


def test_of_a_region_its_rows_alone_are_fetched(archive, frame):
    field = resolve([f"{archive.url}/frame.fits"])[0]
    part = read_field(field, region=parse_region("100:200,1500:1520"))
    np.testing.assert_array_equal(part.counts["image"], frame[1500 - 256 : 1520 + 256, :456])
    assert archive.sent < 0.75 * frame.nbytes


def test_what_fails_for_a_moment_is_tried_again(archive, frame):
    archive.failures = remote.ATTEMPTS - 1
    np.testing.assert_array_equal(read_field(resolve([f"{archive.url}/frame.fits"])[0]).counts["image"], frame)
    archive.failures = 1000
    with pytest.raises(InputError, match=f"frame.fits: .*{remote.ATTEMPTS} attempts"):
        read_field(resolve([f"{archive.url}/frame.fits"])[0])


def test_a_server_without_ranges_will_do(archive, frame):
    archive.ranges = False
    np.testing.assert_array_equal(read_field(resolve([f"{archive.url}/frame.fits"])[0]).counts["image"], frame)


def test_a_batch_of_addresses(archive, frame, tmp_path):
    addresses = [f"{archive.url}/frame.fits?release=1", f"{archive.url}/none.fits"]
    arguments = ["--region", "50:650,1400:1600", "--format", "csv", "--engine", "torch"]
    done = CliRunner().invoke(cli, ["detect", *addresses, "-o", str(tmp_path / "c"), *arguments])
    assert done.exit_code == 1 and "none.fits: no such file" in done.stderr
    local = CliRunner().invoke(
        cli, ["detect", str(archive.folder / "frame.fits"), "-o", str(tmp_path / "local.csv"), *arguments[:2], "--engine", "torch"]
    )
    assert local.exit_code == 0, local.output
    one, other = read_table(tmp_path / "c" / "frame.csv"), read_table(tmp_path / "local.csv")
    assert len(one) == len(other) > 10 and np.array_equal(one["x"], other["x"])
    again = CliRunner().invoke(cli, ["detect", *addresses, "-o", str(tmp_path / "c"), *arguments, "--resume"])
    assert "0 done, 1 kept, 1 failed" in again.stderr


def test_bands_by_address(archive, tmp_path):
    rng = np.random.default_rng(0)
    for band in "rg":
        fits.writeto(tmp_path / f"f-{band}.fits", rng.normal(0, 1, (60, 60)).astype(np.float32), tan_wcs().to_header())
    field = resolve([f"{archive.url}/f-{{band}}.fits"], ("r", "g"))[0]
    assert field.name == "f" and read_field(field).bands == ("r", "g")
    with pytest.raises(InputError, match="needs --bands"):
        resolve([f"{archive.url}/f-{{band}}.fits"])


def test_unknown_kinds_are_said():
    with pytest.raises(AstroYOLOError, match="gopher:// is no kind of address"):
        resolve(["gopher://x/frame.fits"])


def test_reading_skips_about(archive, tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 20)
    with remote.RemotePath(f"{archive.url}/bytes").open() as file:
        file.seek(-6, 2)
        assert file.read() == bytes(range(250, 256)) and file.read() == b""
        file.seek(300)
        assert file.read(3) == bytes([44, 45, 46]) and file.tell() == 303


@pytest.fixture
def bucket(archive, frame, monkeypatch):
    """The archive's files in a bucket of an S3 server, and that file system."""
    s3fs, server = pytest.importorskip("s3fs"), pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    places = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in (places | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.makedirs("survey", exist_ok=True)  # moto keeps what it has while the process lives
    for path in archive.folder.glob("frame.*"):
        files.put(str(path), f"survey/{path.name}")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.parametrize("name", ["frame.fits", "frame.fits.fz", "frame.fits.gz"])
def test_pixels_from_a_bucket_are_those_of_the_file(bucket, frame, name):
    np.testing.assert_array_equal(read_field(resolve([f"s3://survey/{name}"])[0]).counts["image"], frame)


def test_of_a_region_in_a_bucket_its_rows_alone_are_fetched(bucket, frame, monkeypatch):
    fetched, fetch = [], remote.Ranges._fetch
    monkeypatch.setattr(remote.Ranges, "_fetch", lambda *args: fetched.append(fetch(*args)) or fetched[-1])
    part = read_field(resolve(["s3://survey/frame.fits"])[0], region=parse_region("100:200,1500:1520"))
    np.testing.assert_array_equal(part.counts["image"], frame[1500 - 256 : 1520 + 256, :456])
    assert 0 < sum(map(len, fetched)) < 0.75 * frame.nbytes


def test_what_is_in_no_bucket_is_said(bucket):
    with pytest.raises(InputError, match="none.fits: no such file"):
        read_field(resolve(["s3://survey/none.fits"])[0])
