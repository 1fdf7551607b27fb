"""Serving: latency, throughput and size of pruned models beside the whole network.

    python -m benchmarks.serving
    python -m benchmarks.serving --seconds 1 --rounds 2 --json numbers.json

Exports networks of 2000, 200, 100 and 50 nodes, starts tensorflow_model_server if it is on PATH,
else the preview server, compares its answers with Keras's, and measures over REST and gRPC with 1
and 64 rows a request. Then it starts servers with models of other sizes and numbers, for what one
needs to plan: memory and time to start. The tables go to stdout, progress to stderr. The status is
1 if an answer is wrong or a request fails; a missed target is only reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Array, machine, neighbours, program
from benchmarks.load.measure import measure
from benchmarks.load.plan import Plan
from benchmarks.load.results import Result
from benchmarks.serving import floor, models, planning, report
from benchmarks.serving.models import Served
from benchmarks.serving.report import Outcome
from benchmarks.serving.server import Server, running, server_kind
from serving.client import connect
from serving.client.endpoint import parse_endpoint

ROWS = (1, 64)
PROTOCOLS = ("REST", "gRPC")
_CHECKED = 256  # images whose answers are compared
_WARMUP = 0.3  # seconds before each round


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("serving", __doc__)
    parser.add_argument("--only", choices=PROTOCOLS, help="one protocol (both)")
    parser.add_argument("--part", choices=("load", "planning"), help="one part (both)")
    parser.add_argument("--clients", type=int, default=8, help="for throughput (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of every model, in turn (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (2)")
    parser.add_patience()
    parser.add_json()
    arguments = parser.parse(argv)
    try:
        _plan(arguments, ROWS[0], arguments.clients)
    except ValueError as error:
        parser.error(str(error))
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
    floors = floor.floors(models.DIM, widths, models.OUTPUTS, ROWS)
    outcomes = []
    for protocol in [arguments.only] if arguments.only else PROTOCOLS:
        for rows in ROWS:
            results: list[list[Result]] = []
            shares = []
            for clients in (1, arguments.clients):
                program.say(f"{protocol}, {rows} rows, {clients} clients")
                neighbours.wait_until_quiet(arguments.patience)
                endpoints = {
                    one.name: parse_endpoint(server.urls[protocol], one.name) for one in served
                }
                plan = _plan(arguments, rows, clients)
                watch, used, start = (
                    neighbours.Watch(),
                    server.cpu_seconds(),
                    time.monotonic(),
                )
                results.append(measure(endpoints, plan, inputs=x, progress=sys.stderr.isatty()))
                cores = (server.cpu_seconds() - used) / (time.monotonic() - start)
                shares.append(max(0.0, watch.share() - cores / machine.cores()))
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
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    numbers: dict[str, object] = {"machine": program.start()}
    faults: list[str] = []
    if arguments.part in (None, "load"):
        faults = _load(arguments, numbers)
    if arguments.part in (None, "planning"):
        _planning(arguments, numbers)
    program.write_numbers(arguments, **numbers)
    return 1 if faults else 0


def _planning(arguments: argparse.Namespace, numbers: dict[str, object]) -> None:
    neighbours.wait_until_quiet(arguments.patience)
    with tempfile.TemporaryDirectory() as scratch:
        needs = list(planning.measure_all(Path(scratch)))
    kind = planning.kind_note(server_kind())
    print("\n\n".join([planning.need_table(needs), kind, planning.rules(needs)]))
    numbers["needs"] = [dataclasses.asdict(need) for need in needs]


def _load(arguments: argparse.Namespace, numbers: dict[str, object]) -> list[str]:
    """Prints the tables of times; returns what is wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        program.say("exporting")
        served = models.export(Path(scratch))
        x = models.images(1024)
        program.say("starting the server")
        with running(Path(scratch)) as server:
            differences = answers_off(server, served, x[:_CHECKED])
            outcomes = measure_all(server, served, x, arguments)
    sizes = {one.width: one.size for one in served}
    faults = report.faults(outcomes, differences)
    rounds = arguments.clients, arguments.rounds, arguments.seconds
    parts = [
        report.size_table(sizes),
        report.outcome_table(outcomes, arguments.clients),
        report.notes(server.kind, *rounds, differences),
        report.targets(sizes),
        *report.warnings(outcomes),
        *faults,
    ]
    print("\n\n".join(parts) + "\n")
    measured = [dataclasses.asdict(outcome) for outcome in outcomes]
    numbers |= {"server": server.kind, "sizes": sizes, "outcomes": measured}
    return faults


def _plan(arguments: argparse.Namespace, rows: int, clients: int) -> Plan:
    return Plan(
        clients=clients,
        batch_size=rows,
        warmup=_WARMUP,
        duration=arguments.seconds,
        rounds=arguments.rounds,
    )


if __name__ == "__main__":
    sys.exit(main())
