"""Calls models behind TensorFlow Serving, over REST or gRPC.

python -m serving.client predict --model mnist_gamma0_k100 --input digit.png --invert
python -m serving.client status --model mnist_gamma0_k100 --url grpc://127.0.0.1:8500
python -m serving.client bench --models mnist_gamma0,mnist_gamma0_k100 --clients 16
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence

from asym_keras.files import user_path
from serving.client import flags, inputs, outputs
from serving.client.client import Client
from serving.client.errors import ServingError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = flags.parser(__doc__).parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    command = {"predict": _predict, "status": _status, "metadata": _metadata, "bench": _bench}
    try:
        command[arguments.command](arguments)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (ImportError, OSError, ServingError, ValueError) as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _predict(arguments: argparse.Namespace) -> None:
    path = None if arguments.output is None else user_path(arguments.output)
    if path is not None:
        outputs.check_path(path, ".npz", ".json")
    with _client(arguments) as client:
        signature = client.signature(arguments.signature)
        rows = inputs.read_inputs(arguments.input, signature, invert=arguments.invert)
        answers = client.predict(
            rows, signature=arguments.signature, batch_size=arguments.batch_size
        )
    if path is None:
        sys.stdout.write(outputs.as_json(answers))
        return
    outputs.write(path, answers)
    told = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in sorted(answers.items()))
    print(f"{told} -> {path}", file=sys.stderr)


def _status(arguments: argparse.Namespace) -> None:
    with _client(arguments) as client:
        for version in client.status():
            print(json.dumps(dataclasses.asdict(version)))


def _metadata(arguments: argparse.Namespace) -> None:
    with _client(arguments) as client:
        print(json.dumps(client.metadata(), indent=1))


def _bench(arguments: argparse.Namespace) -> None:
    from serving.client import load
    from serving.client.load import report

    names = [name.strip() for name in arguments.models.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"--models: expected different names, received {arguments.models}")
    plan = load.Plan(
        **{
            field.name: getattr(arguments, field.name)
            for field in dataclasses.fields(load.Plan)
            if hasattr(arguments, field.name)
        }
    )
    path = None if arguments.output is None else user_path(arguments.output)
    if path is not None:
        outputs.check_path(path, ".json", ".csv")
    endpoints = {name: flags.endpoint(arguments, name) for name in names}
    rows = None
    if arguments.input:
        with Client(endpoints[names[0]], timeout=plan.timeout) as client:
            rows = inputs.read_inputs(arguments.input, client.signature(arguments.signature))
    results = load.measure(
        endpoints,
        plan,
        inputs=rows,
        signature=arguments.signature,
        progress=not arguments.quiet,
    )
    address = endpoints[names[0]].address
    print(f"{address}: {plan.describe()}\n\n{report.table(results)}")
    if path is not None:
        report.write(path, results, plan, address)


def _client(arguments: argparse.Namespace) -> Client:
    return Client(flags.endpoint(arguments, arguments.model), timeout=arguments.timeout)


if __name__ == "__main__":
    sys.exit(main())
