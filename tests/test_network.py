"""The network's size, shapes and grid."""

import pytest
import torch
from torch import nn

from astroyolo_cli.model.decoding import boxes_of, cell_grid
from astroyolo_cli.model.grow import grown
from astroyolo_cli.model.network import AstroYOLO, decode, grid
from astroyolo_cli.model.sizes import HEADS, SIZES, strides_of

# YOLOX's own: backbone and neck of its release 0.1.1
PARAMETERS = {"nano": 807_392, "tiny": 3_968_400, "s": 7_047_360, "m": 21_032_160, "l": 46_599_040, "x": 87_204_000}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("size", PARAMETERS)
def test_backbone_and_neck_have_yolox_parameters(size):
    with torch.device("meta"):
        model = AstroYOLO(size)
    assert count(model.backbone) + count(model.neck) == PARAMETERS[size]


def test_nano_splits_as_the_original():
    with torch.device("meta"):
        model = AstroYOLO("nano")
    assert (count(model.backbone), count(model.neck)) == (459_968, 347_424)


def test_heads_are_identical_but_for_their_outputs():
    with torch.device("meta"):
        heads = AstroYOLO("tiny").heads
    shapes = [{k: v.shape for k, v in head.state_dict().items() if "predictions" not in k} for head in heads.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    assert [head.predictions[0].out_channels for head in heads.values()] == [5, 2, 2]


def test_batch_normalisation_is_yolox():
    norms = [m for m in AstroYOLO("nano").modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}


@pytest.mark.parametrize("size, strides", [("nano", (8, 16, 32)), ("nano-p2", (4, 8, 16, 32))])
@pytest.mark.parametrize("height, width", [(64, 96), (512, 512)])
def test_shapes(height, width, size, strides):
    cells = sum((height // s) * (width // s) for s in strides)
    outputs = AstroYOLO(size).eval()(torch.zeros(2, 3, height, width))
    assert strides_of(cells, height, width) == SIZES[size].strides == strides
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {name: (2, cells, n) for name, n in HEADS.items()}


def test_p2_is_slim_and_leaves_the_other_levels_alone():
    torch.manual_seed(0)
    plain = AstroYOLO("nano").eval()
    fine, image = grown(plain, "nano-p2").eval(), torch.rand(1, 3, 96, 64)
    assert fine.size == "nano-p2" and count(fine) < 1.03 * count(plain)
    with torch.no_grad():
        before, after = plain(image), fine(image)
    for head in HEADS:
        torch.testing.assert_close(after[head][:, 24 * 16 :], before[head])
    shapes = [{k: v.shape for k, v in head.p2.state_dict().items() if not k.startswith("1.")} for head in fine.heads.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    assert after["detection"][0, : 24 * 16, 4].sigmoid().mean() < 0.05  # empty sky to begin with


@pytest.mark.parametrize("old, new", [("nano-p2", "tiny-dw-p2"), ("tiny", "s"), ("nano", "tiny-dw-p2")])
def test_a_grown_network_computes_what_it_was_grown_from(old, new):
    torch.manual_seed(0)
    small, image = AstroYOLO(old), torch.rand(1, 3, 96, 64)
    for norm in (m for m in small.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(values, 0.5, 1.5)  # a new network's do not tell whether they were taken over
    large = grown(small, new)
    assert large.size == new and count(large) > 1.5 * count(small)
    with torch.no_grad():
        before, after = small.eval()(image), large.eval()(image)
    for head in HEADS:
        torch.testing.assert_close(after[head][:, -before[head].shape[1] :], before[head], atol=1e-4, rtol=1e-4)


def test_a_grown_network_learns_with_all_its_channels():
    large = grown(AstroYOLO("nano"), "tiny-dw")
    for head, outputs in large(torch.rand(2, 3, 64, 64)).items():
        large.zero_grad()
        outputs.square().sum().backward(retain_graph=True)
        gradient = large.heads[head].predictions[0].weight.grad[:, -32:]
        assert gradient.abs().min() > 0


@pytest.mark.parametrize("new", ["tiny", "nano", "m"])
def test_no_network_grows_into_another_kind(new):
    with pytest.raises(ValueError, match="cannot grow"):
        grown(AstroYOLO("tiny-dw-p2"), new)


def test_the_stem_equals_focus_and_3x3():
    """A 6x6 convolution of stride 2 does what slicing into four images and a 3x3 convolution do."""
    stem = AstroYOLO("nano").backbone.stem[0]
    image = torch.randn(1, 3, 16, 20)
    slices = [image[..., y::2, x::2] for x, y in ((0, 0), (0, 1), (1, 0), (1, 1))]
    kernels = [stem.weight[..., y::2, x::2] for x, y in ((0, 0), (0, 1), (1, 0), (1, 1))]
    focus = nn.functional.conv2d(torch.cat(slices, 1), torch.cat(kernels, 1), padding=1)
    torch.testing.assert_close(stem(image), focus, atol=1e-5, rtol=1e-5)


def test_maxima_of_maxima_are_spp():
    from astroyolo_cli.model.layers import SPP

    spp = SPP(32).eval()
    x = torch.randn(1, 32, 16, 16)
    reduced = spp.reduce(x)
    pools = [nn.functional.max_pool2d(reduced, k, 1, k // 2) for k in (5, 9, 13)]
    torch.testing.assert_close(spp(x), spp.join(torch.cat([reduced, *pools], 1)))


def test_an_off_centre_box_is_decoded_to_its_pixels():
    """A box around the pixels x 20..29, y 40..47: half a pixel lies between the network's corner and our centre."""
    corners, strides = grid(64, 96)
    x0, y0, x1, y1 = 20.0, 40.0, 30.0, 48.0  # from the corner of the first pixel
    cell = (44 // 8) * (96 // 8) + 25 // 8
    raw = torch.zeros(1, len(strides), 5)
    raw[0, cell, :4] = torch.tensor([25 / 8 - 25 // 8, 44 / 8 - 44 // 8, torch.tensor(10 / 8).log(), 0.0])
    torch.testing.assert_close(decode(raw, corners, strides)[0, cell], torch.tensor([x0, y0, x1, y1]))
    np_corners, np_strides = cell_grid(64, 96)
    got = boxes_of(raw[0, [cell]].numpy(), np_corners[[cell]], np_strides[[cell]])
    assert got[0] == pytest.approx([19.5, 39.5, 29.5, 47.5])
