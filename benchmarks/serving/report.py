"""Tables and targets of the serving benchmark, as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.common.neighbours import QUIET
from benchmarks.common.report import number, percent, table
from benchmarks.load.report import BUSY
from benchmarks.load.results import Result

LARGEST_DIFFERENCE = 1e-5  # of an answer to Keras's, relative to the largest
SIZE_NODES, SIZE_TARGET = 100, 15.0  # least share of the whole network's bytes, as its inverse


@dataclasses.dataclass
class Outcome:
    """One model over one protocol at one batch size.

    Attributes:
        protocol: "REST" or "gRPC".
        rows: in a request.
        width: hidden nodes.
        alone: one client, for latency.
        crowd: several clients, for throughput.
        floor: seconds of the bare products, NumPy.
        others: share of the cores that other programs used.
    """

    protocol: str
    rows: int
    width: int
    alone: Result
    crowd: Result
    floor: float
    others: float


def size_table(sizes: dict[int, int]) -> str:
    """Bytes on disk of each width, and how many times smaller than the first."""
    whole = next(iter(sizes.values()))
    rows = [
        [str(width), f"{size / 1000:,.0f}", f"{whole / size:.1f} x"]
        for width, size in sizes.items()
    ]
    return table(("nodes", "kB on disk", "smaller"), rows)


def outcome_table(outcomes: Sequence[Outcome], clients: int) -> str:
    """Latency of one client and throughput of several, beside the whole network's."""
    head = (
        *("protocol", "rows", "nodes", "p50 ms", "p99 ms", "floor ms", "p50/floor", "p50 shorter"),
        *(f"requests/s, {clients} clients", "rows/s", "more", "p99 ms", "errors", "others"),
    )
    rows = []
    for outcome in outcomes:
        whole = next(
            o for o in outcomes if (o.protocol, o.rows) == (outcome.protocol, outcome.rows)
        )
        p50, _, p99, _ = outcome.alone.latencies
        rows.append(
            [
                outcome.protocol,
                str(outcome.rows),
                str(outcome.width),
                number(1e3 * p50),
                number(1e3 * p99),
                number(1e3 * outcome.floor),
                number(p50 / outcome.floor),
                f"{whole.alone.latencies[0] / p50:.2f} x",
                number(outcome.crowd.throughput),
                number(outcome.crowd.rows),
                f"{outcome.crowd.throughput / whole.crowd.throughput:.2f} x",
                number(1e3 * outcome.crowd.latencies[2]),
                str(errors(outcome)),
                percent(outcome.others),
            ]
        )
    return table(head, rows)


def errors(outcome: Outcome) -> int:
    """Requests that failed."""
    return sum(outcome.alone.errors.values()) + sum(outcome.crowd.errors.values())


def targets(sizes: dict[int, int]) -> str:
    """Each target with what was measured."""
    ratio = next(iter(sizes.values())) / sizes[SIZE_NODES]
    verdict = "met" if ratio >= SIZE_TARGET else "MISSED"
    what = f"{SIZE_NODES} nodes: smaller on disk than the whole network"
    rows = [[what, f"{ratio:.1f} x", f"{SIZE_TARGET:g} x", verdict]]
    return table(("target", "measured", "wanted", ""), rows)


def faults(outcomes: Sequence[Outcome], differences: dict[tuple[str, int], float]) -> list[str]:
    """Answers that are not Keras's, and requests that failed."""
    found = [
        f"{protocol}, {width} nodes: answers differ from Keras's: expected at most "
        f"{LARGEST_DIFFERENCE:g}, received {difference:.2g}"
        for (protocol, width), difference in differences.items()
        if not difference <= LARGEST_DIFFERENCE
    ]
    found += [
        f"{o.protocol}, {o.rows} rows, {o.width} nodes: {errors(o)} requests failed: "
        f"{o.alone.errors | o.crowd.errors}"
        for o in outcomes
        if errors(o)
    ]
    return found


def warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Whose numbers should not be quoted."""
    texts = []
    for o in outcomes:
        what = f"WARNING: {o.protocol}, {o.rows} rows"
        if o.others > QUIET:
            texts.append(
                f"{what}: other programs used {100 * o.others:.0f} % of the cores; run again when "
                "the machine is quiet."
            )
        if o.crowd.generator > BUSY:
            texts.append(
                f"{what}, {o.width} nodes: the load generator used {100 * o.crowd.generator:.0f} % "
                "of a core, and may be what was measured."
            )
    return list(dict.fromkeys(texts))  # models that were measured together share the first


def notes(server: str, clients: int, rounds: int, seconds: float, differences) -> str:
    """How to read the tables."""
    worst = max(differences.values())
    return f"""\
Server: {server}. Load from the same machine, which takes its share of the cores.
float32, 784 -> m -> 10, images of MNIST. Largest difference of an answer to Keras's, relative: \
{worst:.0e}.
p50, p99: latency of one client that waits for each answer; then of {clients} such clients.
Rounds of {seconds:g} s, {rounds} of each, the models in turn.
floor: the two bare matrix products and the ReLU between them, NumPy, same shapes, one core; the
  best.
shorter, more: beside the whole network over the same protocol at as many rows.
kB on disk: of the version, its warm-up requests aside.
others: share of the cores that other programs used, server and generator aside."""
