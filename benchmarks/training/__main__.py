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
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import neighbours, program
from benchmarks.training import report
from benchmarks.training.peers import PROGRAMS, Peer
from benchmarks.training.results import PairResult, TaskResult
from benchmarks.training.tasks import LEARNING_RATE, PAIRS, TASKS, Task

REPEATS = 4  # measurements of each contender in a round


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("training", __doc__)
    parser.add_argument("--only", choices=TASKS, help="one task instead of all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the best counts (5)")
    parser.add_argument(
        "--peer-python",
        default=".venv-bench/bin/python",
        help="interpreter of the peers' environment (.venv-bench/bin/python)",
    )
    parser.add_patience()
    parser.add_json()
    return parser.parse(argv)


def measure(task: Task, rounds: int, peer_python: str, patience: float) -> TaskResult:
    """Measures one task: all contenders in turn, round by round."""
    from benchmarks.training.ours import Ours, solve, weights_after  # starts TensorFlow

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        task.save(folder / "input.npz")
        program.say(f"{task.name}: compiling ours")
        ours = Ours(task)
        peers = [Peer(name, peer_python, folder, task) for name in PROGRAMS]
        contenders: list[Ours | Peer] = [ours, *peers]
        pairs: list[PairResult] = []
        for number in range(rounds):
            program.say(f"{task.name}: round {number + 1} of {rounds}, descent")
            for contender in contenders:
                neighbours.wait_until_quiet(patience)
                watch = neighbours.Watch()
                contender.measure(REPEATS)
                contender.result.others.append(watch.share())
            for i, (gamma, alpha) in enumerate(PAIRS):
                program.say(f"{task.name}: round {number + 1} of {rounds}, flow at gamma {gamma:g}")
                neighbours.wait_until_quiet(patience)
                flow = solve(task, gamma, alpha, flow=True)
                if number:
                    pairs[i].flow.seconds += flow.seconds
                else:
                    pairs.append(PairResult(gamma, alpha, flow))
        for pair in pairs if task.descent_runs else ():
            program.say(f"{task.name}: descent to t = {task.end_time:g} at gamma {pair.gamma:g}")
            pair.descent = solve(task, pair.gamma, pair.alpha, flow=False)
        _compare(peers, *weights_after(task, task.check_steps))
    return TaskResult(
        name=task.name,
        shape=task.shape,
        end_time=task.end_time,
        learning_rate=LEARNING_RATE,
        check_steps=task.check_steps,
        descents=[ours.result, *(peer.result for peer in peers)],
        pairs=pairs,
    )


def _compare(peers: Sequence[Peer], before: np.ndarray, ours: np.ndarray) -> None:
    """Notes how far the peers' weights are from ours."""
    for peer in peers:
        if peer.weights is not None:
            difference = np.linalg.norm(peer.weights - ours)
            peer.result.weight_difference = float(difference / np.linalg.norm(ours))
            peer.result.change_difference = float(difference / np.linalg.norm(ours - before))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    machine = program.start()
    options = arguments.rounds, arguments.peer_python, arguments.patience
    names = [arguments.only] if arguments.only else list(TASKS)
    results = [measure(TASKS[name](), *options) for name in names]
    faults = report.disagreements(results)
    parts = [
        f"Time per step of full-batch gradient descent\n\n{report.step_table(results)}",
        f"Time to t of gradient flow\n\n{report.flow_table(results)}",
        report.notes(results, arguments.rounds),
        report.targets(results),
        *report.warnings(results),
        *faults,
    ]
    print("\n\n".join(parts))
    tasks = [dataclasses.asdict(result) for result in results]
    program.write_numbers(arguments, machine=machine, tasks=tasks)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
