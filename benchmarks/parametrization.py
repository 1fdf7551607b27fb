"""Accuracy of `AsymScaledDense` under Keras's default Adam, by parametrization and by its norm.

    python -m benchmarks.parametrization
    python -m benchmarks.parametrization --seeds 1 --gammas 0.5 --only dense root_mean

MLP 784-m-10 on the bundled MNIST images, labels by cross-entropy, batches of 32, Adam at 0.001. The
parametrization "standard" multiplies node j by `s_j ~ sqrt(lambda_j)`. Which constant is right is
for training to say, since under Adam a node's rate grows with its multiplier: so several are tried,
each through `scalings=`, which the layer takes as given:

- `root_mean`: the mean of the multipliers is 1; what the layer does;
- `mean_square`: the mean of their squares is 1, as in the paper's function for m nodes;
- `largest`: the largest multiplier is 1;
- `root_mean_3`: three times `root_mean`.

`ntk` is the paper's parametrization, `dense` a `Dense` layer in the place of ours. At gamma = 1 the
first three are the same. Prints test accuracies, mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

import numpy as np

from asym_keras.startup import import_tensorflow
from benchmarks.common import program

MULTIPLIERS = {
    "root_mean": lambda roots: roots / roots.mean(),
    "mean_square": lambda roots: roots / np.sqrt((roots**2).mean()),
    "largest": lambda roots: roots / roots.max(),
    "root_mean_3": lambda roots: 3.0 * roots / roots.mean(),
}
KINDS = ("dense", "ntk", *MULTIPLIERS)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("parametrization", __doc__)
    parser.add_argument("--examples", type=int, default=5000, help="training images (5000)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=2000, help="hidden nodes, m (2000)")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--gammas", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3, help="seeds from 0 on (3)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args(argv)
    if min(arguments.examples, arguments.epochs, arguments.width, arguments.seeds) < 1:
        parser.error("expected --examples, --epochs, --width and --seeds of at least 1")
    return arguments


def features(kind: str, width: int, gamma: float, alpha: float):
    """The layer that makes the features."""
    import keras

    import asym_keras as ak

    if kind == "dense":
        return keras.layers.Dense(width, "relu")
    if kind == "ntk":
        return ak.AsymScaledDense(width, gamma=gamma, alpha=alpha)
    multipliers = MULTIPLIERS[kind](np.sqrt(ak.node_scalings(width, gamma, alpha)))
    return ak.AsymScaledDense(
        width, scalings=multipliers**2, parametrization="standard", use_bias=True
    )


def accuracy(kind: str, gamma: float, seed: int, arguments: argparse.Namespace) -> float:
    """Test accuracy of one training."""
    import keras

    from asym_keras.datasets import load_mnist

    data, count = load_mnist(), arguments.examples
    keras.utils.set_random_seed(seed)
    layer = features(kind, arguments.width, gamma, arguments.alpha)
    model = keras.Sequential([keras.Input((784,)), layer, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x, y = data.x_train[:count], data.labels_train[:count]
    model.fit(x, y, epochs=arguments.epochs, verbose=0)
    found = model.evaluate(data.x_test, data.labels_test, 1000, verbose=0, return_dict=True)
    return found["accuracy"]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, row by row."""
    arguments = parse(argv)
    import_tensorflow()
    gammas, seeds = arguments.gammas, range(arguments.seeds)
    print("| layer |", " | ".join(f"gamma {gamma:g}" for gamma in gammas), "|")
    print("| --- |", " | ".join("---" for _ in gammas), "|", flush=True)
    for kind in arguments.only:
        cells: list[str] = []
        for gamma in gammas:
            if kind == "dense" and cells:
                cells.append(cells[0])  # it has no gamma
                continue
            found = [accuracy(kind, gamma, seed, arguments) for seed in seeds]
            spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.3f}{spread}")
            print(kind, gamma, [f"{a:.4f}" for a in found], file=sys.stderr, flush=True)
        print(f"| {kind} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
