"""Trains the shallow network on features of CIFAR-10, as in Section 6 and Figures 4 and 11.

    python -m trainers.cifar10 --gamma 0
    python -m trainers.cifar10 --features features.npz --pairs all --seeds 5
    python -m trainers.cifar10 --backbone ResNet50 --augment

A frozen ImageNet network makes a vector of each image, once; the vectors are kept on disk.
Cross-entropy, mini-batches of 64, SGD at rate 5. The run folder holds the configuration, the
history (risks are cross-entropies), per-node weight changes, the model and the figures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from trainers import _cli
from trainers._cli import knob

MODULE = "trainers.cifar10"

BATCH_SIZE = 64
STEPS = 78_200  # 100 epochs of 50,000 images
VIEWS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_cli.TrainerConfig):
    """Flags of this trainer: the shared ones, and where the features come from."""

    solver: str = knob("descent", "gradient descent or gradient flow", choices=["flow", "descent"])
    batch_size: int | None = knob(
        None, f"mini-batch of --solver descent (default: {BATCH_SIZE}); a flow has none"
    )
    learning_rate: float = knob(5.0, "step of gradient descent, and unit of --steps under flow")
    steps: int = knob(STEPS, "steps N; the default is 100 epochs of 50,000 images")
    epochs: int | None = knob(None, "passes over the training images, instead of --steps")
    features: str | None = knob(
        None,
        "ready features x_train, x_test with labels y_train, y_test in 0..9, for no --backbone",
        metavar="FILE.npz",
    )
    backbone: str | None = knob(
        None,
        "frozen network: a KerasHub preset (extra: cifar), a name in keras.applications or a "
        "FILE.keras that takes pixels 0..255 (default: resnet_18_imagenet)",
    )
    image_size: int | None = knob(None, "resize images to this side (default: the backbone's)")
    augment: int = knob(
        0,
        "train on VIEWS random crops and flips of each image (the flag alone: "
        f"{VIEWS}); each costs a pass of the backbone over the images",
        nargs="?",
        const=VIEWS,
        metavar="VIEWS",
    )
    train_examples: int | None = knob(None, "train on the first N images (default: all)")
    test_examples: int | None = knob(None, "test on the first N test images (default: all)")

    def __post_init__(self):
        if self.solver == "descent" and self.batch_size is None:
            object.__setattr__(self, "batch_size", BATCH_SIZE)
        super().__post_init__()
        least_of = {"epochs": 1, "image_size": 1, "train_examples": 1, "test_examples": 1}
        for name, least in {**least_of, "augment": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag}: expected at least {least}, received {value}.")
        if self.epochs is not None and self.steps != STEPS:
            raise ValueError("expected --steps or --epochs, received both.")
        if self.epochs is not None and self.batch_size is None:
            raise ValueError(
                "--epochs: expected mini-batches, received --solver flow. Use --steps."
            )
        self._check_source()

    def _check_source(self) -> None:
        given = [f for f in ("backbone", "image_size", "augment") if getattr(self, f)]
        if self.features and given:
            raise ValueError(
                f"expected --features FILE.npz or --{given[0].replace('_', '-')}, received both: "
                "ready features need no backbone."
            )
        if self.features and not Path(self.features).is_file():
            raise ValueError(
                f"--features: expected an .npz file, received no such file: {self.features}."
            )
        saved = (self.backbone or "").endswith(".keras")
        if self.backbone and saved and not Path(self.backbone).is_file():
            raise ValueError(
                f"--backbone: expected a .keras file, received no such file: {self.backbone}."
            )

    def task(self) -> str:
        """Name of the task in folder names."""
        return "cifar10"

    def load(self):
        """The dataset that the flags name."""
        from asym_keras import datasets

        train, test = self.train_examples, self.test_examples
        if self.features:
            return datasets.load_cifar10_features(self.features, train=train, test=test)
        return datasets.load_cifar10(
            self.backbone,
            image_size=self.image_size,
            views=self.augment,
            train=train,
            test=test,
            progress=not self.quiet,
        )

    def loss(self):
        """Cross-entropy of the outputs as logits."""
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True)

    def end_step(self, examples: int) -> int:
        """Steps of a run on so many training examples, views counted."""
        if self.epochs is None or self.batch_size is None:
            return self.steps
        images = examples // max(1, self.augment)
        return self.epochs * -(-images // self.batch_size)


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return _cli.train_main(Config, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
