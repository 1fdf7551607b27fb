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
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asym_keras.files import user_path
from serving import commands, tether
from serving.client import flags

if TYPE_CHECKING:
    from serving.client.client import Client


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["bench"]:
        return _bench(words[1:])
    arguments = flags.parser(__doc__).parse_args(words)
    commands.start_log(logging.WARNING)
    command = {"predict": _predict, "status": _status, "metadata": _metadata}[arguments.command]
    return commands.status_of(lambda: command(arguments), debug=arguments.debug)


def _predict(arguments: argparse.Namespace) -> None:
    from serving.client import inputs, outputs

    path = None if arguments.output is None else user_path(arguments.output)
    if path is not None:
        outputs.check_path(path, ".npz", ".json")
    with _client(arguments) as client:
        name = arguments.signature
        rows = inputs.read_inputs(arguments.input, client.signature(name), invert=arguments.invert)
        answers = client.predict(rows, signature=name, batch_size=arguments.batch_size)
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


def _bench(words: Sequence[str]) -> int:
    """Runs the load generator, `benchmarks.load`; returns its exit status.

    It imports this package, so this package can't import it: it runs as a program. In a checkout
    and in an installed wheel the folder `benchmarks` lies beside `serving`. Python looks there
    first, since the folder in which the user runs the command may hold another `benchmarks`.
    """
    beside = str(Path(__file__).resolve().parents[2])
    paths = [beside, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-m", "benchmarks.load", *words]
    with tether.tied() as tie, subprocess.Popen(command, env=environment) as process:
        tie(process.pid)
        try:
            return process.wait()
        except KeyboardInterrupt:  # a SIGINT to this process alone does not reach the program
            process.terminate()
            return 130


def _client(arguments: argparse.Namespace) -> Client:
    from serving.client.client import Client  # imports NumPy, which `--help` and `bench` don't need

    return Client(flags.endpoint(arguments, arguments.model), timeout=arguments.timeout)


if __name__ == "__main__":
    sys.exit(main())
