"""Latency and throughput of models behind TensorFlow Serving, side by side.

python -m serving.client bench --models mnist_gamma0,mnist_gamma0_k100 --clients 8
python -m serving.client bench --models mnist_gamma0,mnist_gamma0_k100 --rate 200 --output a.json
python -m serving.client bench --models mnist_nested --signatures width_20,width_2000,anytime
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from asym_keras.files import user_path
from benchmarks.load.plan import Plan
from serving import commands
from serving.client import flags


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags of the command line."""
    parser = commands.parser("serving.client bench", __doc__)
    flags.add_connection(parser)
    add = parser.add_argument
    add("--models", required=True, metavar="NAME[,NAME]", help="in turn")
    add("--signature", default="serving_default", help="(serving_default)")
    add(
        "--signatures", metavar="NAME[,NAME]", help="of each model, in turn: widths of a nested one"
    )
    add("--input", nargs="+", metavar="FILE", help="rows to send (random whole numbers, 0 to 255)")
    add("--clients", type=int, default=8, help="that each wait for answers (8)")
    add(
        "--rate",
        type=float,
        help="requests a second, sent whether or not answers come: an open loop (a closed one)",
    )
    add("--batch-size", type=int, default=1, help="rows in one request (1)")
    add("--warmup", type=float, default=1.0, help="seconds before each round (1)")
    add("--duration", type=float, default=5.0, help="seconds of a round (5)")
    add("--rounds", type=int, default=3, help="of each model (3)")
    add("--seed", type=int, default=0, help="of inputs and send times (0)")
    add("--output", metavar="FILE", help="all numbers, .json or .csv")
    add("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    commands.start_log(logging.WARNING)
    return commands.status_of(lambda: run(arguments), debug=arguments.debug)


def contenders(models: Sequence[str], signatures: str) -> dict[str, tuple[str, str]]:
    """Model and signature of each result, by its name: of the two, what differs.

    Raises:
        ValueError: A signature is named twice.
    """
    names = [name.strip() for name in signatures.split(",")]
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"--signatures: expected different names, received {signatures}")
    if len(names) == 1:
        return {model: (model, names[0]) for model in models}
    label = "{1}" if len(models) == 1 else "{0} {1}"
    return {label.format(m, s): (m, s) for m in models for s in names}


def run(arguments: argparse.Namespace) -> None:
    """Measures the models that the flags name, prints a table and writes the numbers."""
    # Imported here, since they load NumPy, which `--help` does without.
    from benchmarks.load import report
    from benchmarks.load.measure import measure
    from serving.client import inputs, outputs
    from serving.client.client import Client

    names = [name.strip() for name in arguments.models.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"--models: expected different names, received {arguments.models}")
    asked = contenders(names, arguments.signatures or arguments.signature)
    plan = Plan(**commands.fields_of(Plan, arguments))
    path = None if arguments.output is None else user_path(arguments.output)
    if path is not None:
        outputs.check_path(path, ".json", ".csv")
    endpoints = {label: flags.endpoint(arguments, name) for label, (name, _) in asked.items()}
    signatures = {label: signature for label, (_, signature) in asked.items()}
    [first, *_] = endpoints
    rows = None
    if arguments.input:
        with Client(endpoints[first], timeout=plan.timeout) as client:
            rows = inputs.read_inputs(arguments.input, client.signature(signatures[first]))
    results = measure(
        endpoints,
        plan,
        inputs=rows,
        signature=signatures,
        progress=not arguments.quiet,
    )
    address = endpoints[first].address
    print(f"{address}: {plan.describe()}\n\n{report.table(results)}")
    if path is not None:
        report.write(path, results, plan, address)


if __name__ == "__main__":
    sys.exit(main())
