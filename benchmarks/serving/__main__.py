"""Serving: latency, throughput and size of pruned models beside the whole network.

    python -m benchmarks.serving
    python -m benchmarks.serving --seconds 1 --rounds 2 --json numbers.json

Exports networks of 2000, 200, 100 and 50 nodes, starts tensorflow_model_server if it is on PATH,
else the preview server, compares its answers with Keras's, and measures over REST and gRPC with 1
and 64 rows a request. The tables go to stdout, progress to stderr. The status is 1 if an answer is
wrong or a request fails; a missed target is only reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import (
    _machine,
    _neighbours,
    _serving_floor,
    _serving_models,
    _serving_report,
    _serving_server,
)
from benchmarks._serving_models import Array, Served
from benchmarks._serving_report import Outcome
from benchmarks._serving_server import Server
from serving.client import connect
from serving.client.endpoint import parse_endpoint
from benchmarks.load import Plan, Result, measure

ROWS = (1, 64)
PROTOCOLS = ("REST", "gRPC")
_CHECKED = 256  # images whose answers are compared
_WARMUP = 0.3  # seconds before each round


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=PROTOCOLS, help="one protocol (both)")
    parser.add_argument("--clients", type=int, default=8, help="for throughput (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of every model, in turn (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (2)")
    _neighbours.add_patience(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")
    arguments = parser.parse_args(argv)
    try:
        _plan(arguments, ROWS[0], arguments.clients)
    except ValueError as error:
        parser.error(str(error))
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: expected an existing folder, received {arguments.json.parent}")
    return arguments


def answers_off(server: Server, served: Sequence[Served], x: Array) -> dict[tuple[str, int], float]:
    """Largest difference of scores to Keras's, relative to the largest score."""
    differences = {}
    for protocol, url in server.urls.items():
        for one in served:
            expected = one.model.predict(x, verbose=0)
            with connect(url, model=one.name) as client:
                scores = client.predict(x)["scores"]
            off = np.abs(scores - expected).max() / np.abs(expected).max()
            differences[protocol, one.width] = float(off)
    return differences


def measure_all(
    server: Server, served: Sequence[Served], x: Array, arguments: argparse.Namespace
) -> list[Outcome]:
    """Every model over every protocol at every number of rows."""
    widths = [one.width for one in served]
    floors = _serving_floor.floors(_serving_models.DIM, widths, _serving_models.OUTPUTS, ROWS)
    outcomes = []
    for protocol in [arguments.only] if arguments.only else PROTOCOLS:
        for rows in ROWS:
            results: list[list[Result]] = []
            shares = []
            for clients in (1, arguments.clients):
                _say(f"{protocol}, {rows} rows, {clients} clients")
                _neighbours.wait_until_quiet(arguments.patience)
                endpoints = {
                    one.name: parse_endpoint(server.urls[protocol], one.name) for one in served
                }
                plan = _plan(arguments, rows, clients)
                watch, used, start = (
                    _neighbours.Watch(),
                    server.cpu_seconds(),
                    time.monotonic(),
                )
                results.append(measure(endpoints, plan, inputs=x, progress=sys.stderr.isatty()))
                cores = (server.cpu_seconds() - used) / (time.monotonic() - start)
                shares.append(max(0.0, watch.share() - cores / _machine.cores()))
            outcomes += [
                Outcome(
                    protocol,
                    rows,
                    one.width,
                    alone,
                    crowd,
                    floors[one.width, rows],
                    max(shares),
                )
                for one, alone, crowd in zip(served, *results, strict=True)
            ]
    return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    machine = _machine.describe()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        _say("exporting")
        served = _serving_models.export_all(Path(scratch))
        x = _serving_models.images(1024)
        _say("starting the server")
        with _serving_server.running(Path(scratch)) as server:
            differences = answers_off(server, served, x[:_CHECKED])
            outcomes = measure_all(server, served, x, arguments)
    sizes = {one.width: one.size for one in served}
    faults = _serving_report.faults(outcomes, differences)
    parts = [
        _serving_report.size_table(sizes),
        _serving_report.outcome_table(outcomes, arguments.clients),
        _serving_report.notes(
            server.kind, arguments.clients, arguments.rounds, arguments.seconds, differences
        ),
        _serving_report.targets(sizes),
        *_serving_report.warnings(outcomes),
        *faults,
    ]
    print("\n\n".join(parts))
    if arguments.json:
        numbers = {
            "machine": machine,
            "server": server.kind,
            "sizes": sizes,
            "outcomes": [dataclasses.asdict(o) for o in outcomes],
        }
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 1 if faults else 0


def _plan(arguments: argparse.Namespace, rows: int, clients: int) -> Plan:
    return Plan(
        clients=clients,
        batch_size=rows,
        warmup=_WARMUP,
        duration=arguments.seconds,
        rounds=arguments.rounds,
    )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
