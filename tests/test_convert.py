"""Official YOLOX checkpoints: made here by name and shape, and run by a second forward pass written from the names alone."""

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from astroyolo_cli.cli import cli
from astroyolo_cli.errors import WeightsError
from astroyolo_cli.model.checkpoint import load
from astroyolo_cli.model.convert import convert, read_official, unfocused

# size -> base channels, bottlenecks, depthwise, parameters with 80 classes and entries of the state dict as published
OFFICIAL = {"nano": (16, 1, True, 912_159, 642), "tiny": (24, 1, False, 5_055_855, 462), "m": (48, 2, False, 25_326_495, 606)}


def conv(name, c_in, c_out, kernel, groups=1):
    """(name, shape) of a convolution without bias and of its normalisation."""
    yield f"{name}.conv.weight", (c_out, c_in // groups, kernel, kernel)
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{leaf}", (c_out,)
    yield f"{name}.bn.num_batches_tracked", ()


def conv3(name, c_in, c_out, depthwise):
    if not depthwise:
        yield from conv(name, c_in, c_out, 3)
        return
    yield from conv(f"{name}.dconv", c_in, c_in, 3, groups=c_in)
    yield from conv(f"{name}.pconv", c_in, c_out, 1)


def csp(name, c_in, c_out, n, depthwise):
    half = c_out // 2
    yield from (*conv(f"{name}.conv1", c_in, half, 1), *conv(f"{name}.conv2", c_in, half, 1), *conv(f"{name}.conv3", 2 * half, c_out, 1))
    for j in range(n):
        yield from (*conv(f"{name}.m.{j}.conv1", half, half, 1), *conv3(f"{name}.m.{j}.conv2", half, half, depthwise))


def official_shapes(size, classes=80):
    """Name -> shape of every tensor of an official checkpoint."""
    c, n, dw, *_ = OFFICIAL[size]
    dark, pan = "backbone.backbone.", "backbone."
    rows = [*conv(f"{dark}stem.conv", 12, c, 3)]
    for stage, repeats in ((2, n), (3, 3 * n), (4, 3 * n)):
        w = c * 2 ** (stage - 2)
        rows += [*conv3(f"{dark}dark{stage}.0", w, 2 * w, dw), *csp(f"{dark}dark{stage}.1", 2 * w, 2 * w, repeats, dw)]
    rows += [*conv3(f"{dark}dark5.0", 8 * c, 16 * c, dw), *csp(f"{dark}dark5.2", 16 * c, 16 * c, n, dw)]
    rows += [*conv(f"{dark}dark5.1.conv1", 16 * c, 8 * c, 1), *conv(f"{dark}dark5.1.conv2", 32 * c, 16 * c, 1)]
    rows += [*conv(f"{pan}lateral_conv0", 16 * c, 8 * c, 1), *conv(f"{pan}reduce_conv1", 8 * c, 4 * c, 1)]
    rows += [*conv3(f"{pan}bu_conv2", 4 * c, 4 * c, dw), *conv3(f"{pan}bu_conv1", 8 * c, 8 * c, dw)]
    for name, c_in, c_out in (("C3_p4", 16, 8), ("C3_p3", 8, 4), ("C3_n3", 8, 8), ("C3_n4", 16, 16)):
        rows += csp(pan + name, c_in * c, c_out * c, n, dw)
    for level, width in enumerate((4 * c, 8 * c, 16 * c)):
        rows += conv(f"head.stems.{level}", width, 4 * c, 1)
        for kind, outputs in (("cls", classes), ("reg", 4), ("obj", 1)):
            rows += [(f"head.{kind}_preds.{level}.weight", (outputs, 4 * c, 1, 1)), (f"head.{kind}_preds.{level}.bias", (outputs,))]
        for branch in ("cls_convs", "reg_convs"):
            rows += [row for i in range(2) for row in conv3(f"head.{branch}.{level}.{i}", 4 * c, 4 * c, dw)]
    return dict(rows)


def official_checkpoint(size, seed=0):
    """Random weights that keep the maps of a size at which errors would show."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in official_shapes(size).items():
        if not shape:
            tensors[name] = torch.tensor(7)
        elif len(shape) == 4:
            fan = shape[1] * shape[2] * shape[3]
            tensors[name] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        elif name.endswith("running_var") or name.endswith("bn.weight"):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            tensors[name] = torch.randn(shape, generator=generator) * 0.1
    tensors["backbone.backbone.stem.conv.conv.weight"] /= 100  # its input goes up to 255
    return tensors


class Official:
    """YOLOX's forward pass in plain functions, from its names alone."""

    def __init__(self, tensors):
        self.t = tensors

    def block(self, name, x, stride=1):
        if f"{name}.dconv.conv.weight" in self.t:
            return self.block(f"{name}.pconv", self.block(f"{name}.dconv", x, stride))
        weight = self.t[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=x.shape[1] // weight.shape[1])
        mean, var, gain, bias = (self.t[f"{name}.bn.{leaf}"][:, None, None] for leaf in ("running_mean", "running_var", "weight", "bias"))
        x = (x - mean) / torch.sqrt(var + 1e-3) * gain + bias
        return x * torch.sigmoid(x)

    def csp(self, name, x, n, shortcut):
        left, right = self.block(f"{name}.conv1", x), self.block(f"{name}.conv2", x)
        for j in range(n):
            out = self.block(f"{name}.m.{j}.conv2", self.block(f"{name}.m.{j}.conv1", left))
            left = left + out if shortcut else out
        return self.block(f"{name}.conv3", torch.cat([left, right], 1))

    def stem(self, bgr):
        corners = [bgr[..., ::2, ::2], bgr[..., 1::2, ::2], bgr[..., ::2, 1::2], bgr[..., 1::2, 1::2]]
        return self.block("backbone.backbone.stem.conv", torch.cat(corners, 1))

    def backbone(self, bgr, n):
        x, maps, dark = self.stem(bgr), [], "backbone.backbone.dark"
        for stage, repeats in ((2, n), (3, 3 * n), (4, 3 * n)):
            x = self.csp(f"{dark}{stage}.1", self.block(f"{dark}{stage}.0", x, 2), repeats, True)
            maps.append(x)
        x = self.block(f"{dark}5.1.conv1", self.block(f"{dark}5.0", x, 2))
        x = self.block(f"{dark}5.1.conv2", torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))
        return maps[1], maps[2], self.csp(f"{dark}5.2", x, n, False)

    def neck(self, p3, p4, p5, n):
        def csp(name, *parts):
            return self.csp(f"backbone.{name}", torch.cat(parts, 1), n, False)

        def up(x):
            return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

        lateral5 = self.block("backbone.lateral_conv0", p5)
        middle = csp("C3_p4", up(lateral5), p4)
        lateral4 = self.block("backbone.reduce_conv1", middle)
        out3 = csp("C3_p3", up(lateral4), p3)
        out4 = csp("C3_n3", self.block("backbone.bu_conv2", out3, 2), lateral4)
        return out3, out4, csp("C3_n4", self.block("backbone.bu_conv1", out4, 2), lateral5)

    def branch(self, level, x, name):
        x = self.block(f"head.stems.{level}", x)
        for i in range(2):
            x = self.block(f"head.{name}.{level}.{i}", x)
        return x

    def predict(self, kind, level, x):
        return F.conv2d(x, self.t[f"head.{kind}_preds.{level}.weight"], self.t[f"head.{kind}_preds.{level}.bias"])

    def detection(self, bgr, n):
        """(B, cells, 5): x, y, w, h, objectness."""
        outputs = []
        for level, x in enumerate(self.neck(*self.backbone(bgr, n), n)):
            x = self.branch(level, x, "reg_convs")
            outputs.append(torch.cat([self.predict("reg", level, x), self.predict("obj", level, x)], 1).flatten(2))
        return torch.cat(outputs, 2).transpose(1, 2)


@pytest.fixture(autouse=True)
def one_thread():
    """Small maps: threads that wait for each other would take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "yolox_nano.pth"
    torch.save({"model": official_checkpoint("nano"), "start_epoch": 300}, path)
    return path


@pytest.mark.parametrize("size", OFFICIAL)
def test_the_made_checkpoints_are_of_the_published_size(size):
    shapes = official_shapes(size)
    learned = {n: s for n, s in shapes.items() if "running" not in n and s}
    assert (sum(torch.Size(s).numel() for s in learned.values()), len(shapes)) == OFFICIAL[size][3:]


@pytest.mark.parametrize("size", ["nano", "tiny"])
@torch.no_grad()
def test_the_converted_network_gives_the_outputs_of_the_official_one(tmp_path, size):
    tensors = official_checkpoint(size)
    torch.save(tensors, tmp_path / "bare.pth")
    model, card = convert(tmp_path / "bare.pth")
    rgb = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    official, n = Official(tensors), OFFICIAL[size][1]
    expected = official.detection(rgb.flip(1) * 255, n)
    assert card.size == size and expected.std() > 0.1
    torch.testing.assert_close(model(rgb)["detection"], expected, atol=1e-3, rtol=1e-3)
    levels = official.neck(*official.backbone(rgb.flip(1) * 255, n), n)
    for head in ("star_galaxy", "smooth_disk"):
        for level, x in enumerate(levels):
            ours = model.heads[head].convs[level](model.heads[head].stems[level](x))
            torch.testing.assert_close(ours, official.branch(level, x, "cls_convs"), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_stem_alone_off_centre():
    """One bright pixel, in one channel, at an odd place."""
    tensors = official_checkpoint("nano")
    weight = tensors["backbone.backbone.stem.conv.conv.weight"]
    rgb = torch.zeros(1, 3, 16, 16)
    rgb[0, 0, 5, 8] = 1
    bgr = rgb.flip(1) * 255
    slices = torch.cat([bgr[..., ::2, ::2], bgr[..., 1::2, ::2], bgr[..., ::2, 1::2], bgr[..., 1::2, 1::2]], 1)
    torch.testing.assert_close(F.conv2d(rgb, unfocused(weight), stride=2, padding=2), F.conv2d(slices, weight, padding=1))


def test_class_predictions_are_new_and_the_same_each_time(checkpoint):
    first, second = (convert(checkpoint)[0].heads["star_galaxy"].predictions[1].weight for _ in range(2))
    assert first.shape == (2, 64, 1, 1) and torch.equal(first, second) and first.std() > 0


def test_the_command_writes_a_file_that_loads(tmp_path, checkpoint):
    out = tmp_path / "nano-coco.safetensors"
    result = CliRunner().invoke(cli, ["convert", str(checkpoint), "-o", str(out)])
    assert result.exit_code == 0, result.output
    model, card = load(out)
    assert card.size == "nano" and card.training["start"] == "yolox_nano.pth" and len(card.training["start_sha256"]) == 64
    again = CliRunner().invoke(cli, ["convert", str(checkpoint), "-o", str(out)])
    assert "exists" in str(again.exception)


def refused(path, word):
    with pytest.raises(WeightsError, match=word) as caught:
        convert(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "yolox_s.pth"
    torch.save({"model": Bomb()}, path)
    refused(path, "would run code")
    assert not (tmp_path / "ran").exists()


def without(tensors, name):
    return {n: t for n, t in tensors.items() if n != name}


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda t: without(t, "head.obj_preds.2.bias"), "lacks 1 tensors, first head.obj_preds.2.bias"),
        (lambda t: without(t, "backbone.backbone.stem.conv.conv.weight"), "stem"),
        (lambda t: t | {"head.extra.weight": torch.zeros(3)}, "unknown"),
        (lambda t: t | {"head.stems.0.conv.weight": torch.zeros(64, 64, 3, 3)}, "must be"),
        (lambda t: t | {"head.reg_preds.0.weight": torch.zeros(4, 32, 1, 1)}, "head.reg_preds.0.weight"),
        (lambda t: t | {"head.stems.0.bn.bias": torch.full((64,), torch.nan)}, "NaN"),
        (lambda t: t | {"backbone.backbone.stem.conv.conv.weight": torch.zeros(20, 12, 3, 3)}, "20 channels"),
        (lambda t: list(t.values()), "by name"),
        (lambda t: {"model": 3}, "by name"),
        (lambda t: {}, "stem"),
    ],
)
def test_wrong_checkpoints_are_refused_in_one_line(tmp_path, change, word):
    path = tmp_path / "yolox_nano.pth"
    torch.save(change(official_checkpoint("nano")), path)
    refused(path, word)


@pytest.mark.parametrize("cut", [0, 10, 5000, 500_000])
def test_cut_and_foreign_files_are_refused_in_one_line(tmp_path, checkpoint, cut):
    path = tmp_path / "cut.pth"
    path.write_bytes(checkpoint.read_bytes()[:cut])
    refused(path, "fetch")
    path.write_text("SIMPLE  = T" * cut)
    refused(path, "fetch")


@pytest.mark.parametrize("content", [b"\x8a\x02\x00", b"G\x00\x00", b"J\x01", b"\x80\x02(K", b"\x80\x02X\xff\xff\xff\x7f", b"\x80\x95\x00"])
def test_pickles_cut_in_a_number_are_refused(tmp_path, content):
    """Found by the fuzz: struct.error and others."""
    (tmp_path / "cut.pth").write_bytes(content)
    refused(tmp_path / "cut.pth", "fetch")


def test_what_pytorch_quotes_of_a_file_is_printable(tmp_path):
    """Found by the fuzz: a byte order of control characters."""
    path = tmp_path / "order.pth"
    torch.save({"a": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes().replace(b"little", b"lit\x1ble"))
    with pytest.raises(WeightsError) as caught:
        read_official(path)
    assert str(caught.value).isprintable()


def test_outputs_of_another_ending_are_refused_before_the_work(tmp_path, checkpoint):
    result = CliRunner().invoke(cli, ["convert", str(checkpoint), "-o", str(tmp_path / "w.pth")])
    assert ".safetensors" in str(result.exception) and not list(tmp_path.iterdir())
