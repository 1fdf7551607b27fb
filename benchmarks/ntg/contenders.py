"""Who computes the NTG, and in which ways: each a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import Array, machine
from benchmarks.ntg.cases import Case
from benchmarks.ntg.results import OURS, TAPE, Outcome

# A product of full gradients above this many operations takes minutes on a few cores.
MOST_OPERATIONS = 1e13
MOST_SECONDS = 400  # of a process, all of it
_ROOT = Path(__file__).resolve().parents[2]
# Option that names the interpreter, the environment's folder, and what is installed there.
ENVIRONMENTS = {
    "peers.torch_ntg": ("peer_python", ".venv-bench", "requirements.txt"),
    "peers.neural_tangents_ntg": (
        "neural_tangents_python",
        ".venv-neural-tangents",
        "requirements-neural-tangents.txt",
    ),
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to compute the matrix, a process of its own.

    Attributes:
        framework: whose code it is.
        method: which of its ways; as the program's `--method` knows it.
        program: module in `benchmarks`.
        full: whether it multiplies full gradients with each other.
        kinds: networks it is for.
    """

    framework: str
    method: str
    program: str
    full: bool = False
    kinds: tuple[str, ...] = ("shallow", "mlp", "cnn")

    def why_not(self, case: Case) -> str | None:
        """Why it is not run on `case`, or None if it is."""
        if self.full and case.gradient_operations > MOST_OPERATIONS:
            return (
                f"{case.gradient_operations:.0e} operations in the product of full gradients "
                f"(at most {MOST_OPERATIONS:.0e} are waited for)"
            )
        return None


OUR_PROGRAM = "ntg.ours"
TORCH, TORCH_FUNC, NEURAL_TANGENTS = "PyTorch", "torch.func", "neural-tangents"
CONTENDERS = (
    Contender(OURS, "closed_form", OUR_PROGRAM, kinds=("shallow",)),
    Contender(OURS, "structured", OUR_PROGRAM),
    Contender(OURS, "jacobian", OUR_PROGRAM, full=True),
    Contender(TAPE, "tape.jacobian", OUR_PROGRAM, full=True),
    Contender(TORCH, "backward", "peers.torch_ntg", full=True),
    Contender(TORCH_FUNC, "jacobian", "peers.torch_ntg", full=True),
    Contender(TORCH_FUNC, "vector_products", "peers.torch_ntg", full=True),
    Contender(NEURAL_TANGENTS, "jacobian_contraction", "peers.neural_tangents_ntg", full=True),
    Contender(NEURAL_TANGENTS, "ntk_vector_products", "peers.neural_tangents_ntg", full=True),
    Contender(NEURAL_TANGENTS, "structured_derivatives", "peers.neural_tangents_ntg"),
)


def interpreters(arguments) -> dict[str, str]:
    """The interpreter of each program."""
    options = {program: option for program, (option, _, _) in ENVIRONMENTS.items()}
    peers = {program: getattr(arguments, option) for program, option in options.items()}
    return {OUR_PROGRAM: sys.executable, **peers}


def how_to_make(program: str) -> str:
    """The command that makes a program's environment."""
    _, folder, requirements = ENVIRONMENTS[program]
    return (
        f"python -m venv {folder} && "
        f"{folder}/bin/python -m pip install --requirement benchmarks/{requirements}"
    )


def start(contender: Contender, case: Case, python: str) -> Outcome:
    """An outcome without numbers yet, or with the reason why there will be none."""
    outcome = Outcome(contender.framework, contender.method)
    outcome.missing = contender.why_not(case)
    if shutil.which(python) is None:
        outcome.missing = f"no {python}; make it: {how_to_make(contender.program)}"
    return outcome


def run(
    contender: Contender, case: Case, python: str, folder: Path, outcome: Outcome
) -> Array | None:
    """Adds what a fresh process measures, or why it can't; returns the matrix."""
    ntg = folder / "ntg.npy"
    ntg.unlink(missing_ok=True)
    options = {
        "input": folder / "input.npz",
        "network": case.kind,
        "method": contender.method,
        "ntg": ntg,
        "threads": machine.cores(),
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    found = os.path.abspath(shutil.which(python) or python)  # the process runs elsewhere
    command = [found, "-m", f"benchmarks.{contender.program}", *words]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, check=True, timeout=MOST_SECONDS
        )
        told = json.loads(done.stdout)
        outcome.version, outcome.device = told["version"], told["device"]
        outcome.seconds += told["seconds"]
        outcome.product_seconds += told["product_seconds"]
        outcome.peaks.append(told["peak_bytes"])
        return np.load(ntg)
    except subprocess.TimeoutExpired:
        outcome.missing, outcome.failed = f"not ready after {MOST_SECONDS} s", True
    except (OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
        outcome.missing, outcome.failed = machine.reason(error), True
    return None
