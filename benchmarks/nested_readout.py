"""Forward and backward pass of `NestedReadout` beside a `Dense` of the same outputs.

    python -m benchmarks.nested_readout
    python -m benchmarks.nested_readout --examples 128 --features 2000 --outputs 10

Prints processor time of one step on one thread, the least of several rounds in which the contenders
take turns: outputs, and the gradients by features and weights. With XLA, as `fit` compiles a model,
and without.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

from asym_keras.startup import import_tensorflow
from benchmarks.common import program

WIDTHS = (20, 50, 100, 200, 500, 2000)
STEPS = 10  # of one contender before the next one's turn


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("nested_readout", __doc__)
    parser.add_argument("--examples", type=int, default=128, help="of a batch, n (128)")
    parser.add_argument("--features", type=int, default=2000, help="m, at least 2000 (2000)")
    parser.add_argument("--outputs", type=int, default=10, help="K (10)")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args(argv)
    if arguments.features < WIDTHS[-1] or min(arguments.examples, arguments.outputs) < 1:
        parser.error(f"expected --features of at least {WIDTHS[-1]}, and the others of at least 1")
    return arguments


def step(layer, x, jit_compile: bool) -> Callable[[], object]:
    """One pass forward and backward, compiled."""
    import tensorflow as tf

    layer(x)
    towards = tf.random.stateless_normal(layer(x).shape, (0, 0))

    @tf.function(jit_compile=jit_compile)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            f = layer(x)
        sources = [x, *(v.value for v in layer.trainable_variables)]
        return tape.gradient(f, sources, output_gradients=towards)

    return run


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    arguments = parse(argv)
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[variable] = "1"
    import_tensorflow()
    import keras
    import tensorflow as tf

    from asym_keras import NestedReadout

    x = tf.random.stateless_normal((arguments.examples, arguments.features), (0, 1))
    layers = {
        "Dense": keras.layers.Dense(arguments.outputs),
        "NestedReadout": NestedReadout(arguments.outputs, WIDTHS),
        "NestedReadout, shared": NestedReadout(arguments.outputs, WIDTHS, shared=True),
    }
    steps = {(n, jit): step(la, x, jit) for n, la in layers.items() for jit in (True, False)}
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(arguments.rounds):
        for key, run in steps.items():
            run()
            start = time.process_time()
            for _ in range(STEPS):
                run()
            best[key] = min(best[key], (time.process_time() - start) / STEPS)
    print("| layer | with XLA, ms | beside Dense | without, ms | beside Dense |")
    print("| --- | --- | --- | --- | --- |")
    for name in layers:
        cells = (
            f"{best[name, jit] * 1e3:.2f} | {best[name, jit] / best['Dense', jit]:.2f}"
            for jit in (True, False)
        )
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
