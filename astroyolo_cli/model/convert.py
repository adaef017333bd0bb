"""Official YOLOX checkpoints to our weight files: a start that has seen a hundred thousand pictures.

Both networks are the same but for names, the input and the heads: YOLOX takes blue, green, red from 0 to 255
through Focus, ours red, green, blue from 0 to 1 through one 6x6 convolution; YOLOX has one head with two branches.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..checksums import checksum
from ..errors import WeightsError, printable
from .checkpoint import Card
from .network import AstroYOLO
from .sizes import SIZES

LARGEST = 2_000_000_000  # bytes; the official YOLOX-x with its optimizer has 0.8 GB
FOCUS = ((0, 0), (1, 0), (0, 1), (1, 1))  # row, column of the pixels in each of Focus's slices, in its order
BRANCHES = {"detection": "reg_convs", "star_galaxy": "cls_convs", "smooth_disk": "cls_convs"}  # our head -> its branch of YOLOX
NOTHING_OF_OURS = ("num_batches_tracked", "cls_preds")  # parts of names: what their last layer knows are COCO's 80 classes

BACKBONE = {  # ours -> YOLOX's, below backbone.backbone.
    "dark2.0": "dark2.0", "dark2.1": "dark2.1", "dark3.0": "dark3.0", "dark3.1": "dark3.1", "dark4.0": "dark4.0", "dark4.1": "dark4.1",
    "dark5.0": "dark5.0", "dark5.1.reduce": "dark5.1.conv1", "dark5.1.join": "dark5.1.conv2", "dark5.2": "dark5.2",
}  # fmt: skip
NECK = {  # ours -> YOLOX's, below backbone.
    "lateral5": "lateral_conv0", "down4": "C3_p4", "lateral4": "reduce_conv1", "down3": "C3_p3",
    "reduce3": "bu_conv2", "up4": "C3_n3", "reduce4": "bu_conv1", "up5": "C3_n4",
}  # fmt: skip
CSP = {"through": "conv1", "past": "conv2", "join": "conv3"}

Tensors = dict[str, torch.Tensor]


def convert(path: Path) -> tuple[AstroYOLO, Card]:
    """Our network with an official checkpoint's weights, in evaluation mode, and its card.

    Backbone and neck are whole. The box branch of its head becomes the detection head, predictions included; the class
    branch is where both class heads start, whose predictions are new (drawn with a fixed seed).

    Raises:
        WeightsError: for anything that is not a whole YOLOX checkpoint of a known size. Nothing in the file is run.
    """
    official = read_official(path)
    size = recognise_size(official, path.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AstroYOLO(size)
    model.load_state_dict(translated(model, official, path.name), strict=False)
    made = {"start": path.name, "start_sha256": checksum(path), "data": "COCO 2017, by the authors of YOLOX; not yet trained on the sky"}
    return model.eval(), Card(size=size, training=made, licence="Apache-2.0")


def read_official(path: Path) -> Tensors:
    """Name -> tensor, as the file has them, under the key "model" or bare."""
    name = path.name
    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"{name}: {path.stat().st_size} bytes, at most {LARGEST}; is it a YOLOX checkpoint?")
        held = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # PyTorch's unpickler raises whatever the bytes make it stumble over
        raise WeightsError(f"{name}: not a checkpoint of tensors alone ({reason(error)}); fetch the official yolox_*.pth again") from error
    tensors = held.get("model", held) if isinstance(held, dict) else held
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise WeightsError(f"{name}: holds no tensors by name, neither bare nor under 'model'; is it an official yolox_*.pth?")
    return tensors


def reason(error: Exception) -> str:
    """The first sentence of what PyTorch says, whose refusals are half a page."""
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return "it would run code"
    return printable(str(error).strip().split("\n")[0][:100]) or type(error).__name__


def recognise_size(official: Tensors, name: str) -> str:
    """nano to x, by the channels after the stem and whether the 3x3 convolutions are depthwise."""
    stem = official.get("backbone.backbone.stem.conv.conv.weight")
    if stem is None:
        raise WeightsError(f"{name}: lacks backbone.backbone.stem.conv.conv.weight; is it an official yolox_*.pth?")
    depthwise = "backbone.backbone.dark2.0.dconv.conv.weight" in official
    sizes = {size: shape for size, shape in SIZES.items() if not shape.p2}
    for size, shape in sizes.items():
        if (shape.base, shape.depthwise) == (stem.shape[0], depthwise):
            return size
    raise WeightsError(f"{name}: {stem.shape[0]} channels after the stem, not those of YOLOX's sizes {', '.join(sizes)}")


def translated(model: AstroYOLO, official: Tensors, name: str) -> Tensors:
    """Our names and shapes; all of the official tensors must be used, and all of ours but the class predictions be there."""
    wanted = {key: tensor.shape for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    sources = {key: official_names(key) for key in wanted if not is_new(key)}
    check_whole(official, sources, name)
    converted = {}
    for key, names in sources.items():
        parts = [official[n].float() for n in names]
        converted[key] = one_tensor(key, parts, wanted[key], f"{name}: {names[0]}")
    return converted


def check_whole(official: Tensors, sources: dict[str, list[str]], name: str) -> None:
    used = {n for names in sources.values() for n in names}
    if missing := used - official.keys():
        raise WeightsError(f"{name}: lacks {len(missing)} tensors, first {min(missing)}; fetch the file again")
    unknown = {n for n in official.keys() - used if not any(part in n for part in NOTHING_OF_OURS)}
    if unknown:
        raise WeightsError(f"{name}: has {len(unknown)} unknown tensors, first {min(unknown)}; is it of another network than YOLOX?")


def one_tensor(key: str, parts: list[torch.Tensor], shape: torch.Size, where: str) -> torch.Tensor:
    try:
        tensor = torch.cat(parts)
        if key == "backbone.stem.0.weight":
            tensor = unfocused(tensor)
    except RuntimeError as error:
        raise WeightsError(f"{where} is {tuple(parts[0].shape)}, not as in YOLOX; is it of another network?") from error
    if tensor.shape != shape:
        raise WeightsError(f"{where} is {tuple(tensor.shape)}, must be {tuple(shape)}; is it of another network than YOLOX?")
    if not tensor.isfinite().all():
        raise WeightsError(f"{where} holds NaN or infinite values; fetch the file again")
    return tensor


def unfocused(weight: torch.Tensor) -> torch.Tensor:
    """The 3x3 convolution on Focus's slices as a 6x6 one of stride 2 on the image itself.

    Args:
        weight: (c, 12, 3, 3), for blue, green, red from 0 to 255 in each slice.

    Returns:
        (c, 3, 6, 6), for red, green, blue from 0 to 1.
    """
    slices = weight.reshape(len(weight), len(FOCUS), 3, 3, 3).flip(2)
    whole = weight.new_zeros(len(weight), 3, 6, 6)
    for number, (row, column) in enumerate(FOCUS):
        whole[:, :, row::2, column::2] = slices[:, number]
    return whole * 255


def is_new(key: str) -> bool:
    """Whether one of our tensors has no counterpart."""
    return ".predictions." in key and not key.startswith("heads.detection.")


def official_names(key: str) -> list[str]:
    """What YOLOX calls one of our tensors; two names where ours is both, one after the other.

    >>> official_names("neck.down4.through.0.weight")
    ['backbone.C3_p4.conv1.conv.weight']
    """
    module, _, leaf = key.rpartition(".")
    if ".predictions." in module:
        level = module.rpartition(".")[2]
        return [f"head.{kind}_preds.{level}.{leaf}" for kind in ("reg", "obj")]
    block, _, part = module.rpartition(".")
    return [f"{official_block(block)}.{('conv', 'bn')[int(part)]}.{leaf}"]


def official_block(block: str) -> str:
    """YOLOX's name of one of our convolution blocks."""
    owner, _, rest = block.partition(".")
    if owner == "heads":
        return head_block(rest)
    if block == "backbone.stem":
        return "backbone.backbone.stem.conv"
    prefix, names = ("backbone.backbone.", BACKBONE) if owner == "backbone" else ("backbone.", NECK)
    ours = next(ours for ours in names if rest == ours or rest.startswith(ours + "."))
    return prefix + names[ours] + inner_block(rest.removeprefix(ours).strip("."))


def head_block(block: str) -> str:
    """Of ``detection.stems.0`` and the like; the levels' stems serve all heads."""
    head, part, level, *inside = block.split(".")
    if part == "stems":
        return f"head.stems.{level}"
    return f"head.{BRANCHES[head]}.{level}.{inside[0]}{pair_block(inside[1:])}"


def inner_block(inside: str) -> str:
    """The part of a name below a stage: of a CSP layer, or of a depthwise pair; nothing for a plain convolution."""
    first, *rest = inside.split(".")
    if first in CSP:
        return "." + CSP[first]
    if first == "blocks":
        number, _, conv, *pair = rest
        return f".m.{number}.conv{int(conv) + 1}{pair_block(pair)}"
    return pair_block([first] if first else [])


def pair_block(pair: list[str]) -> str:
    """Depthwise and pointwise convolution of nano."""
    return f".{('dconv', 'pconv')[int(pair[0])]}" if pair else ""
