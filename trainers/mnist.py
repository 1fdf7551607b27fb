"""Trains the shallow network on MNIST, as in Section 6.3 and Figure 10 of the paper.

    python -m trainers.mnist --gamma 0
    python -m trainers.mnist --protocol authors --pairs all --out-dir runs/authors
    python -m trainers.mnist --source tfds --dataset fashion_mnist
    python -m trainers.mnist --data my.npz

5,000 images are for training, 5,000 for tests. Targets are one-hot, and the loss is the mean
squared error. The run folder holds the configuration, the history, per-node weight changes, the
model and the figures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asym_keras as ak
from trainers.common.batch import run_all
from trainers.common.cli import run_main
from trainers.common.config import TrainerConfig, knob

if TYPE_CHECKING:
    from asym_keras.datasets import Dataset

MODULE = "trainers.mnist"
BUNDLED = 10_000  # training images that come with the package


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainerConfig):
    """Flags of this trainer: the shared ones, and where the images come from."""

    source: str = knob(
        "bundled", "MNIST that comes with the package, or a TFDS set", choices=["bundled", "tfds"]
    )
    dataset: str = knob("mnist", "name of an image-classification set of --source tfds")
    data: str | None = knob(
        None,
        "train on your own arrays x_train, y_train, x_test, y_test (images or vectors)",
        metavar="FILE.npz",
        file="an .npz file",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.data is not None and (self.source, self.dataset) != ("bundled", "mnist"):
            raise ValueError("expected --data FILE.npz, or --source and --dataset, received both.")
        if self.source == "bundled" and self.dataset != "mnist":
            raise ValueError(
                f"--dataset {self.dataset}: expected 'mnist' for --source bundled. "
                "Use --source tfds for other sets, or --data FILE.npz."
            )

    def task(self) -> str:
        return Path(self.data).stem if self.data else self.dataset

    def load(self):
        if self.data:
            return ak.datasets.load_npz(self.data)
        if self.source == "tfds":
            return ak.datasets.load_tfds_images(self.dataset)
        return ak.datasets.load_mnist()


def load_images(examples: int) -> Dataset:
    """The first `examples` training images of MNIST and all test images.

    Up to 10,000 come with the package; more are read through tensorflow-datasets, in its order.
    """
    import numpy as np

    first = ak.datasets.load_mnist()
    if examples > BUNDLED:
        more = ak.datasets.load_tfds_images("mnist", train=examples, test=BUNDLED, transfer=False)
        # The same images in another order, of which TFDS does not tell the licence.
        record, known = more.preprocessing, first.preprocessing
        if record is not None and known is not None:
            record = dataclasses.replace(record, licence=known.licence)
        return dataclasses.replace(more, preprocessing=record)
    joined = {
        name: np.concatenate([getattr(first, name), getattr(first.transfer, name)])
        for name in ("x_train", "y_train", "labels_train", "x_test", "y_test", "labels_test")
    }
    taken: Any = {name: a[:examples] if "train" in name else a for name, a in joined.items()}
    return dataclasses.replace(first, transfer=None, **taken)


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return run_main(Config, run_all, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
