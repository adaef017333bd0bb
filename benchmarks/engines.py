"""How fast each engine is: python benchmarks/engines.py [WEIGHTS] [ROUNDS] (needs astroyolo[export], [onnxruntime], [openvino]).

Milliseconds a tile of 512 x 512 pixels, in batches of 4, in turns; minima over the rounds.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from astroyolo_cli.model.checkpoint import locate
from astroyolo_cli.model.engine import ENGINES, open_engine
from astroyolo_cli.model.export import export

BATCH = 4


def main() -> None:
    weights, rounds = (sys.argv[1:] + ["nano", "8"][len(sys.argv) - 1 :])[:2]
    images = np.random.default_rng(0).random((BATCH, 3, 512, 512), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        export(locate(weights), exported)
        engines = {name: open_engine(locate(weights) if name == "torch" else exported, name) for name in ENGINES}
    best = dict.fromkeys(engines, np.inf)
    for _ in range(int(rounds) + 1):
        for name, engine in engines.items():
            began = time.perf_counter()
            engine(images)
            best[name] = min(best[name], (time.perf_counter() - began) / BATCH)
    for name, seconds in best.items():
        print(f"{weights} {name}: {1000 * seconds:.1f} ms a tile")


if __name__ == "__main__":
    main()
