"""Weight files: safetensors whose metadata says how to build, feed and read the network."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..arrays import as_float32
from ..errors import WeightsError, reason_of
from ..stretch import Stretch
from .sizes import BN_EPS, HEADS, SIZES, Size

SCHEMA = "1"
LARGEST_HEADER = 10_000_000  # bytes; that of YOLOX-x has 200,000
LARGEST = 500_000_000  # bytes; YOLOX-x in float32 has 480 MB with three heads


@dataclass(frozen=True)
class Calibration:
    """What turns a head's logit into that of a probability: (logit - offset) / temperature."""

    temperature: float = 1.0
    offset: float = 0.0

    def before(self, probability: float) -> float:
        """The probability that becomes ``probability`` by this calibration."""
        if not 0 < probability < 1:
            return probability
        return 1 / (1 + math.exp(-(math.log(probability / (1 - probability)) * self.temperature + self.offset)))


@dataclass(frozen=True)
class Card:
    """What a weight file says of itself; all of it travels in the safetensors metadata.

    Attributes:
        size: of the network, nano to x.
        stretch: constants of the RGB it was trained on.
        fwhm_range: smallest and largest PSF FWHM in pixels that it was trained on.
        calibration: head -> its calibration, and those of the mean over turned cutouts (``central.TURNED`` and ``GREY``); what was
            not calibrated is absent.
        priors: class -> fraction of that class in the training data.
        training: how it was made: data sets, command, seed, images seen.
        scores: measured results, by name.
        licence: of the weights.
    """

    size: str
    stretch: Stretch = Stretch()
    fwhm_range: tuple[float, float] = (2.0, 8.0)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    priors: dict[str, float] = field(default_factory=dict)
    training: dict[str, object] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    licence: str = "BSD-3-Clause"

    def to_metadata(self) -> dict[str, str]:
        fixed = {
            "schema": SCHEMA,
            "size": self.size,
            "licence": self.licence,
            "format": "pt",
        }
        rest = {
            "heads": HEADS,
            "classes": {"star_galaxy": ["star", "galaxy"], "smooth_disk": ["smooth", "disk"]},
            "bn_eps": BN_EPS,
            "strides": SIZES[self.size].strides,
            "bands": ["reddest", "middle", "bluest"],
            "stretch": self.stretch.as_dict(),
            "fwhm_range": self.fwhm_range,
            "calibration": {head: asdict(c) for head, c in self.calibration.items()},
            "priors": self.priors,
            "training": self.training,
            "scores": self.scores,
        }
        return fixed | {name: json.dumps(value, sort_keys=True) for name, value in rest.items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, name: str) -> Card:
        """Raises WeightsError when the metadata is not that of a known AstroYOLO weight file."""
        metadata = metadata or {}
        if metadata.get("schema") != SCHEMA:
            raise WeightsError(
                f"{name}: schema {metadata.get('schema', 'missing')!r}, must be {SCHEMA!r}; "
                "is it an AstroYOLO weight file, or one of a newer version?"
            )
        try:
            read = {key: json.loads(metadata[key]) for key in ("fwhm_range", "calibration", "priors", "training", "scores")}
            stretch = Stretch(**json.loads(metadata["stretch"]))
            read["fwhm_range"] = tuple(read["fwhm_range"])
            read["calibration"] = {head: Calibration(**values) for head, values in read["calibration"].items()}
            card = cls(size=metadata["size"], stretch=stretch, licence=metadata["licence"], **read)
            card.check()
            return card
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{name}: its metadata lacks or garbles {reason_of(error)}; make the file again") from error

    def check(self) -> None:
        """Raises ValueError or TypeError for numbers that no training leaves: NaN, or probabilities and widths that cannot be."""
        low, high = self.fwhm_range
        parts = [(c.temperature, c.offset) for c in self.calibration.values()]
        numbers = [low, high, *self.stretch.as_dict().values(), *self.priors.values(), *(n for part in parts for n in part)]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a number that is not finite")
        if not (0 < low <= high and self.stretch.stretch > 0 and self.stretch.Q > 0):
            raise ValueError("fwhm_range or stretch")
        if not all(0 <= prior <= 1 for prior in self.priors.values()) or not all(temperature > 0 for temperature, _ in parts):
            raise ValueError("priors or calibration")


def save(model, card: Card, path: Path, half: bool = False) -> None:
    """Write the network's weights and card; under a temporary name first, so that no half file appears.

    Args:
        half: convolutions in float16, which makes the file half as large; the rest, of wider range, stays in float32.
    """
    from safetensors.torch import save as to_bytes

    from ..whole import written_whole

    tensors = {
        name: (tensor.half() if half and tensor.ndim > 1 else tensor.float()).detach().contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with written_whole(path) as partial:
        partial.write_bytes(to_bytes(tensors, metadata=card.to_metadata()))


def read_file(path: Path, framework: str) -> tuple[dict[str, str] | None, dict]:
    """Metadata and tensors of a safetensors file, as float32 arrays of ``framework``, "pt" or "numpy".

    Raises:
        WeightsError: for a file that is none, or that claims to be larger than any network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"{path.name}: {path.stat().st_size} bytes, at most {LARGEST}; is it a weight file?")
        with path.open("rb") as start:
            header = int.from_bytes(start.read(8), "little")
        if header > LARGEST_HEADER:
            raise WeightsError(f"{path.name}: a header of {header} bytes, at most {LARGEST_HEADER}; is it a weight file?")
        with safe_open(path, framework=framework) as file:
            for key in file.keys():
                if (kind := file.get_slice(key).get_dtype()) not in ("F32", "F16"):
                    raise WeightsError(f"{path.name}: {key} is of type {kind}, must be F32 or F16; make the file again")
            return file.metadata(), {key: as_float32(file.get_tensor(key)) for key in file.keys()}
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{path.name}: not a readable safetensors weight file ({reason_of(error)}); make or fetch it again") from error


def known_size(card: Card, name: str) -> Size:
    if card.size not in SIZES:
        raise WeightsError(f"{name}: size {card.size!r}, must be one of {', '.join(SIZES)}")
    return SIZES[card.size]


def load(path: Path):
    """The network, in evaluation mode, and its card.

    Raises:
        WeightsError: for anything that is not a whole, finite weight file of a known schema and size.
    """
    import torch

    from .network import AstroYOLO

    name = path.name
    metadata, tensors = read_file(path, "pt")
    card = Card.from_metadata(metadata, name)
    known_size(card, name)
    with torch.device("meta"):
        model = AstroYOLO(card.size)
    _check_tensors(model, tensors, name)
    model.load_state_dict(tensors, strict=False, assign=True)
    for buffer_name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            _set_buffer(model, buffer_name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    return model.eval(), card


def _set_buffer(model, name: str, value) -> None:
    owner, _, leaf = name.rpartition(".")
    model.get_submodule(owner).register_buffer(leaf, value)


def _check_tensors(model, tensors, name: str) -> None:
    wanted = {key: value.shape for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    if missing := wanted.keys() - tensors.keys():
        raise WeightsError(f"{name}: lacks {len(missing)} tensors, first {min(missing)}; make the file again")
    if unknown := tensors.keys() - wanted.keys():
        raise WeightsError(f"{name}: has {len(unknown)} unknown tensors, first {min(unknown)}; is it of another program?")
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key]:
            raise WeightsError(f"{name}: {key} is {tuple(tensor.shape)}, must be {tuple(wanted[key])}")
        check_finite(tensor.float().numpy(), key, name)


def check_finite(values: np.ndarray, key: str, name: str) -> None:
    if not np.isfinite(values).all():
        raise WeightsError(f"{name}: {key} holds NaN or infinite values; the training that made it failed")


def embedded() -> dict[str, Path]:
    """Name -> file of the weights that ship with the program."""
    from importlib.resources import files

    folder = Path(str(files("astroyolo_cli.weights")))
    return {path.stem.removeprefix("astroyolo-"): path for path in sorted(folder.glob("*.safetensors"))}


def locate(weights: str) -> Path:
    """The file of ``--weights NAME|PATH``.

    Raises:
        WeightsError: when it is neither an embedded name nor a file.
    """
    known = embedded()
    if weights in known:
        return known[weights]
    if Path(weights).is_file():
        return Path(weights)
    raise WeightsError(f"weights {weights!r}: neither a file nor one of the embedded {', '.join(known) or '(none)'}")
