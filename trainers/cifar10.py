"""Trains the shallow network on features of CIFAR-10, as in Section 6 and Figures 4 and 11.

    python -m trainers.cifar10 --gamma 0
    python -m trainers.cifar10 --features features.npz --pairs all --seeds 5
    python -m trainers.cifar10 --backbone ResNet50 --augment

A frozen ImageNet network turns each image into a vector, once; the vectors are kept on disk. SGD
at rate 5, with mini-batches of 64, minimises the cross-entropy. The run folder holds the
configuration, the history (risks are cross-entropies), per-node weight changes, the model and the
figures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import asym_keras as ak
from trainers.common.batch import run_all
from trainers.common.cli import run_main
from trainers.common.config import HeldOut, TrainerConfig, flag_of, knob, shared

MODULE = "trainers.cifar10"

BATCH_SIZE = 64
EPOCHS = 100
STEPS = 78_200  # these epochs of 50,000 images
VIEWS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainerConfig):
    """Flags of this trainer: the shared ones, and where the features come from."""

    growing: ClassVar[tuple[str, ...]] = ("steps", "epochs")

    solver: str = knob("descent", "gradient descent or gradient flow", choices=["flow", "descent"])
    batch_size: int | None = knob(
        None, f"size of mini-batches for --solver descent (default: {BATCH_SIZE})", least=1
    )
    learning_rate: float = shared("learning_rate", 5.0)
    steps: int = knob(
        STEPS,
        f"steps N, of which --resume may take more; the default is {EPOCHS} epochs of 50,000 "
        "images",
        least=1,
    )
    epochs: int | None = knob(None, "passes over the training images, instead of --steps", least=1)
    features: str | None = knob(
        None,
        "ready features x_train, x_test with labels y_train, y_test in 0..9; no --backbone then",
        metavar="FILE.npz",
        file="an .npz file",
    )
    backbone: str | None = knob(
        None,
        "frozen network: a KerasHub preset (extra: cifar), a name in keras.applications or a "
        "FILE.keras that takes pixels 0..255 (default: resnet_18_imagenet)",
    )
    image_size: int | None = knob(
        None, "resize images to this side (default: the backbone's)", least=1
    )
    augment: int = knob(
        0,
        "train on VIEWS random crops and flips of each image (the flag alone: "
        f"{VIEWS}); each costs a pass of the backbone over the images",
        nargs="?",
        const=VIEWS,
        metavar="VIEWS",
        least=0,
    )
    train_examples: int | None = knob(None, "train on the first N images (default: all)", least=1)
    test_examples: int | None = knob(
        None, "test on the first N test images (default: all)", least=1
    )

    def __post_init__(self):
        if self.solver == "descent" and self.batch_size is None:
            object.__setattr__(self, "batch_size", BATCH_SIZE)
        super().__post_init__()
        if self.epochs is not None and self.steps != STEPS:
            raise ValueError("expected --steps or --epochs, received both.")
        if self.epochs is not None and self.batch_size is None:
            raise ValueError(
                "--epochs: expected mini-batches, received --solver flow. Use --steps."
            )
        given = [f for f in ("backbone", "image_size", "augment") if getattr(self, f)]
        if self.features and given:
            raise ValueError(
                f"expected --features FILE.npz or {flag_of(given[0])}, received both: "
                "ready features need no backbone."
            )
        saved = (self.backbone or "").endswith(".keras")
        if self.backbone and saved and not Path(self.backbone).is_file():
            raise ValueError(
                f"--backbone: expected a .keras file, received no such file: {self.backbone}."
            )

    def task(self) -> str:
        return "cifar10"

    def load(self):
        train, test = self.train_examples, self.test_examples
        if self.features:
            return ak.datasets.load_cifar10_features(self.features, train=train, test=test)
        return ak.datasets.load_cifar10(
            self.backbone,
            image_size=self.image_size,
            views=self.augment,
            train=train,
            test=test,
            progress=not self.quiet,
        )

    @classmethod
    def leaving_out(cls, features: str, *, epochs: bool) -> dict:
        """Options of runs on nine tenths of the rows in a file; the last tenth is to choose by.

        Args:
            features: the file.
            epochs: whether they are trained for `EPOCHS`.
        """
        rows = len(ak.datasets.load_cifar10_features(features).x_train)
        if rows < 10:
            raise ValueError(f"{features}: expected at least 10 training rows, received {rows}.")
        options = {"features": features, "train_examples": rows - rows // 10}
        return {**options, "epochs": EPOCHS} if epochs else options

    def held_out(self, dataset) -> HeldOut:
        """The training rows that the runs left out."""
        first = len(dataset.x_train)
        whole = dataclasses.replace(self, train_examples=None).load()
        labels = None if whole.labels_train is None else whole.labels_train[first:]
        rows = whole.x_train[first:], whole.y_train[first:]
        words = f"the last {len(rows[0])} training rows, left out of training"
        return HeldOut(*rows, labels, words)

    def loss(self):
        """Cross-entropy of the outputs as logits."""
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True)

    def end_step(self, examples: int) -> int:
        """The number of steps of a run on `examples` training examples, each view counted."""
        if self.epochs is None or self.batch_size is None:
            return self.steps
        images = examples // max(1, self.augment)
        return self.epochs * -(-images // self.batch_size)


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return run_main(Config, run_all, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
