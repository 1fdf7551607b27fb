"""The models that are served: networks of the shape of MNIST's, cut to fewer and fewer nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import Array

if TYPE_CHECKING:
    import keras

WIDTHS = (2000, 200, 100, 50)  # the first is the whole network
DIM, OUTPUTS = 784, 10
GAMMA, ALPHA = 0.0, 0.4


@dataclasses.dataclass(eq=False)
class Served:
    """One exported model.

    Attributes:
        name: on the server.
        width: hidden nodes.
        model: Keras model of raw values, to compare answers with.
        size: bytes of the version on disk, warm-up requests aside.
    """

    name: str
    width: int
    model: keras.Model
    size: int


def images(count: int) -> Array:
    """Test images of the bundled MNIST, pixels 0..255, float32 `(count, 784)`."""
    from asym_keras.datasets import load_mnist

    return np.rint(load_mnist().x_test[:count] * 255).astype(np.float32)


def export(folder: Path, widths: Sequence[int] = WIDTHS) -> list[Served]:
    """Writes a model of each width below `folder`; all but the first are cut from it.

    Weights are the initial ones: they take as long.
    """
    from asym_keras.datasets.preprocessing import Preprocessing
    from asym_keras.models import shallow_network
    from asym_keras.pruning import prune
    from serving.export import export_model
    from serving.exporting.wrapping import with_raw_values
    from serving.versions import WARMUP_FILE

    record = Preprocessing(kind="image", scale=255.0, shape=(28, 28), low=0.0, high=255.0)
    whole = shallow_network(DIM, OUTPUTS, width=widths[0], gamma=GAMMA, alpha=ALPHA, seed=0)
    served = []
    for width in widths:
        name = f"nodes_{width}"
        network = whole if width == widths[0] else prune(whole, width)
        model = with_raw_values(network, record, name=name)
        path = export_model(model, _card(name, width, widths[0]), folder)
        files = (f for f in path.rglob("*") if f.is_file() and f != path / WARMUP_FILE)
        served.append(Served(name, width, model, sum(f.stat().st_size for f in files)))
    return served


def _card(name: str, width: int, whole: int) -> dict:
    return {
        "name": name,
        "task": "classification",
        "title": f"Untrained network of {width} nodes, for timing",
        "inputs": {
            "kind": "image",
            "dim": DIM,
            "shape": [28, 28],
            "names": None,
            "low": 0,
            "high": 255,
        },
        "outputs": {"classes": [str(n) for n in range(OUTPUTS)], "target": None},
        "gamma": GAMMA,
        "alpha": ALPHA,
        "width": whole,
        "kept": width,
        "refit": False,
        "protocol": "paper",
        "seed": 0,
        "data": {
            "name": "none",
            "source": "none",
            "licence": "none",
            "fingerprint": "",
            "examples": [0, 0],
        },
        "metrics": {"units": "none"},
        "commands": ["python -m benchmarks.serving"],
        "versions": {},
    }
