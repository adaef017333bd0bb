"""How fast training is: python benchmarks/training_speed.py [SIZE] [ROUNDS].

Gradient steps in bfloat16 on batches of 8 images with 175 sources each, as they come from the data loader; in turns with our
assignment (the whole batch at once) and with plain SimOTA (image by image, tests/plain_simota.py). Minima over the rounds.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from astroyolo_cli.model import losses
from astroyolo_cli.model.network import AstroYOLO
from astroyolo_cli.train.batches import collate
from astroyolo_cli.train.optimise import make_optimizer, train_step
from astroyolo_cli.train.samples import Sample
from astroyolo_cli.train.state import Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from plain_simota import assign_by_image

BATCH, SOURCES, STEPS = 8, 175, 4


def crowded(rng: np.random.Generator) -> Sample:
    """A field of noise with boxes of 8 to 40 pixels; the network need not see anything in them."""
    center, half = rng.uniform(20, 492, (SOURCES, 2)), rng.uniform(4, 20, (SOURCES, 2))
    boxes = np.concatenate([center - half, center + half], 1).astype(np.float32)
    image = rng.random((3, 512, 512), np.float32)
    return Sample(image, boxes, rng.integers(0, 2, SOURCES), np.zeros((0, 4), np.float32), True)


def seconds_a_step(model, optimizer, batch) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        train_step(model, batch, optimizer, l1=False)
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    size, rounds = (sys.argv[1:] + ["nano", "6"][len(sys.argv) - 1 :])[:2]
    rng = np.random.default_rng(0)
    batch = collate([crowded(rng) for _ in range(BATCH)])
    torch.manual_seed(0)
    model = AstroYOLO(size).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, Settings((), ""))
    ways = {"the whole batch at once": losses.assign, "image by image": assign_by_image}
    best = dict.fromkeys(ways, np.inf)
    for _ in range(int(rounds)):
        for name, way in ways.items():
            losses.assign = way
            best[name] = min(best[name], seconds_a_step(model, optimizer, batch))
    for name, seconds in best.items():
        print(f"{size}, batch {BATCH}, {SOURCES} sources an image, assignment {name}: {BATCH / seconds:.1f} images/s")
    print(f"ratio {best['image by image'] / best['the whole batch at once']:.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
