"""The peers, each a program of its own in another environment: see `benchmarks/peers`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import Array, machine
from benchmarks.training.results import Descent
from benchmarks.training.tasks import Task

PROGRAMS = {"PyTorch": "torch_loop.py", "JAX": "jax_loop.py"}


@dataclasses.dataclass
class Peer:
    """One peer on one task; after a failure it is not started again.

    Args:
        name: framework, a key of `PROGRAMS`.
        python: interpreter of the peers' environment.
        folder: where the task's `input.npz` lies.
        task: what to run.
    """

    name: str
    python: str
    folder: Path
    task: Task

    def __post_init__(self) -> None:
        self.result = Descent(self.name)
        self.weights: Array | None = None  # after the task's `check_steps`

    def measure(self, repeats: int) -> None:
        """Adds `repeats` measurements to `result`, or says there why it can't."""
        if self.result.missing:
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            weights = Path(scratch) / "weights.npy"
            try:
                told = self._run(weights, repeats)
                self.weights = np.load(weights)
                self.result.framework = f"{self.name} {told['version']} ({told['device']})"
                self.result.step_seconds += told["step_seconds"]
                self.result.product_seconds += told["product_seconds"]
            except (OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
                self.result.missing = machine.reason(error)

    def _run(self, weights: Path, repeats: int) -> dict:
        program = Path(__file__).parents[1] / "peers" / PROGRAMS[self.name]
        options = {
            "input": self.folder / "input.npz",
            "steps": self.task.steps,
            "repeats": repeats,
            "check-steps": self.task.check_steps,
            "weights": weights,
            "threads": machine.cores(),
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [self.python, str(program), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
