"""Training speed: gradient descent per step and gradient flow to a time, ours beside peers.

    python -m benchmarks.training --peer-python .venv-bench/bin/python

Ours runs here; the peers, a plain PyTorch loop and a compiled JAX loop, run in an environment
of their own (benchmarks/requirements.txt). All get the same data and the same initial weights,
and their weights are compared after a few steps. The tables go to stdout, progress to stderr.
The status is 1 if two computations that should agree do not; a missed target is only reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import _machine, _neighbours, _peers, _report
from benchmarks._results import PairResult, TaskResult
from benchmarks._tasks import LEARNING_RATE, PAIRS, TASKS, Task

REPEATS = 4  # measurements of each contender in a round


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=TASKS, help="one task instead of all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the best counts (5)")
    parser.add_argument(
        "--peer-python",
        default=".venv-bench/bin/python",
        help="interpreter of the peers' environment (.venv-bench/bin/python)",
    )
    _neighbours.add_patience(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error(f"--rounds: expected at least 1, received {arguments.rounds}")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: expected an existing folder, received {arguments.json.parent}")
    return arguments


def measure(task: Task, rounds: int, peer_python: str, patience: float) -> TaskResult:
    """Measures one task: all contenders in turn, round by round."""
    from benchmarks import _ours  # starts TensorFlow

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        task.save(folder / "input.npz")
        _say(f"{task.name}: compiling ours")
        ours = _ours.Ours(task)
        peers = [_peers.Peer(name, peer_python, folder, task) for name in _peers.PROGRAMS]
        contenders: list[_ours.Ours | _peers.Peer] = [ours, *peers]
        pairs: list[PairResult] = []
        for number in range(rounds):
            _say(f"{task.name}: round {number + 1} of {rounds}, descent")
            for contender in contenders:
                _neighbours.wait_until_quiet(patience)
                watch = _neighbours.Watch()
                contender.measure(REPEATS)
                contender.result.others.append(watch.share())
            for i, (gamma, alpha) in enumerate(PAIRS):
                _say(f"{task.name}: round {number + 1} of {rounds}, flow at gamma {gamma:g}")
                _neighbours.wait_until_quiet(patience)
                flow = _ours.solve(task, gamma, alpha, flow=True)
                if number:
                    pairs[i].flow.seconds += flow.seconds
                else:
                    pairs.append(PairResult(gamma, alpha, flow))
        for pair in pairs if task.descent_runs else ():
            _say(f"{task.name}: descent to t = {task.end_time:g} at gamma {pair.gamma:g}")
            pair.descent = _ours.solve(task, pair.gamma, pair.alpha, flow=False)
        _compare(peers, *_ours.weights_after(task, task.check_steps))
    return TaskResult(
        name=task.name,
        shape=task.shape,
        end_time=task.end_time,
        learning_rate=LEARNING_RATE,
        check_steps=task.check_steps,
        descents=[ours.result, *(peer.result for peer in peers)],
        pairs=pairs,
    )


def _compare(peers: Sequence[_peers.Peer], before: np.ndarray, ours: np.ndarray) -> None:
    """Notes how far the peers' weights are from ours."""
    for peer in peers:
        if peer.weights is not None:
            difference = np.linalg.norm(peer.weights - ours)
            peer.result.weight_difference = float(difference / np.linalg.norm(ours))
            peer.result.change_difference = float(difference / np.linalg.norm(ours - before))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    machine = _machine.describe()
    options = arguments.rounds, arguments.peer_python, arguments.patience
    names = [arguments.only] if arguments.only else list(TASKS)
    results = [measure(TASKS[name](), *options) for name in names]
    faults = _report.disagreements(results)
    parts = [
        "\n".join(f"{name}: {value}" for name, value in machine.items()),
        f"Time per step of full-batch gradient descent\n\n{_report.step_table(results)}",
        f"Time to t of gradient flow\n\n{_report.flow_table(results)}",
        _report.notes(results, arguments.rounds),
        _report.targets(results),
        *_report.warnings(results),
        *faults,
    ]
    print("\n\n".join(parts))
    if arguments.json:
        numbers = {"machine": machine, "tasks": [dataclasses.asdict(r) for r in results]}
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 1 if faults else 0


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
