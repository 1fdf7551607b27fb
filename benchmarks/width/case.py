"""One measurement of benchmarks.width, in a process of its own; prints it as JSON.

python -m benchmarks.width.case --width 20000 --part flow
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from trainers.common import environment

PARTS = ("flow", "descent", "pruning")
FLOW_TIME = 20.0  # some steps by each of the flow's methods
DESCENT_STEPS = 3


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.width.case", description=__doc__)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--idle", type=int, default=0, help="examples held, but not trained on")
    parser.add_argument("--end-time", type=float, default=FLOW_TIME, help="of the flow")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from asym_keras import shallow_network
    from asym_keras.datasets import load_mnist

    data = load_mnist()
    # As many as are asked for: neither time nor memory depends on whether an image comes twice.
    held = _repeated(data.x_train, arguments.idle)
    x, y = (_repeated(a, arguments.examples) for a in (data.x_train, data.y_train))
    model = shallow_network(data.input_dim, data.outputs, width=arguments.width, seed=0)
    measure = _pruning if arguments.part == "pruning" else _training
    result = measure(model, x, y, data, arguments)
    print(json.dumps({**vars(arguments), **result, "held": held.nbytes}))


def _training(model, x, y, data, arguments) -> dict:
    """A few steps with the trainers' probes and checkpoint; then, apart, seconds of a gradient."""
    import tensorflow as tf

    from asym_keras.training import (
        GradientDescent,
        GradientFlow,
        Objective,
        RiskProbe,
        WeightChange,
        train,
    )

    flow = arguments.part == "flow"
    method = GradientFlow() if flow else GradientDescent()
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    probes = {
        "train": RiskProbe("train", x, y),
        "test": RiskProbe("test", data.x_test, data.y_test),
        "weights": WeightChange(),
    }
    with tempfile.TemporaryDirectory() as folder:
        history = train(
            model,
            x,
            y,
            method=method,
            end_time=arguments.end_time if flow else DESCENT_STEPS,
            times=[0.0],
            probes=probes,
            checkpoint=folder,
            progress=False,
        )
    result = {"peak": environment.peak_bytes(), "gradients": history[-1]["gradients"]}
    run = GradientDescent().start(Objective(model, x, y))
    return {**result, "seconds": run.estimate(1.0)[1]}


def _pruning(model, x, y, data, arguments) -> dict:
    from asym_keras.pruning import pruning_curve

    began = time.perf_counter()
    pruning_curve(model, x, y, data.x_test, data.y_test)
    return {"peak": environment.peak_bytes(), "seconds": time.perf_counter() - began}


def _repeated(array: np.ndarray, examples: int) -> np.ndarray:
    """The first `examples` of the array, over and over if it has fewer."""
    return array[np.arange(examples) % len(array)]


if __name__ == "__main__":
    main()
