"""Where plain descent ends: the runs that the flow is compared with, kept in a file."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from asym_keras.files import write_text

FILE = Path(__file__).parents[1] / "flow_reference.json"
PAIRS = ((0.0, 0.4), (0.2, 0.5), (0.5, 0.7), (1.0, 0.4))
# Steps at the end whose risks tell how far descent goes back and forth by itself.
TAIL = 20


@dataclasses.dataclass(frozen=True)
class Case:
    """One run of protocol `authors`.

    Attributes:
        task: `"simulated"`, `"mnist"` or a UCI set.
        end_time: also the number of steps of descent at rate 1.
    """

    task: str
    gamma: float
    alpha: float
    seed: int
    end_time: float

    @property
    def name(self) -> str:
        """By which the file keeps it."""
        return f"{self.task} {self.gamma:g} {self.alpha:g} {self.seed}"

    def data(self):
        """The `Dataset`."""
        from asym_keras import datasets

        if self.task == "simulated":
            return datasets.load_simulated(noise=0.1)
        return datasets.load_mnist() if self.task == "mnist" else datasets.load_uci(self.task)


CASES = [
    *(
        Case(task, *pair, seed, 100_000.0)
        for task in ("energy", "concrete", "airfoil")
        for seed in range(3)
        for pair in PAIRS
    ),
    Case("plant", 0.0, 0.4, 0, 100_000.0),
    *(Case("simulated", *pair, 0, 50_000.0) for pair in PAIRS),
    Case("mnist", 0.0, 0.4, 0, 2_000.0),
]


def run(case: Case, method, *, dtype: str, times=None) -> tuple[dict, float, np.ndarray]:
    """Last record of a run of `method`, its seconds, and the risks of all records."""
    import asym_keras as ak
    from asym_keras.training import RiskProbe, WeightChange, train

    data = case.data()
    arrays = (data.x_train, data.y_train, data.x_test, data.y_test)
    x, y, x_test, y_test = (np.asarray(a, dtype) for a in arrays)
    model = ak.shallow_network(
        *(data.input_dim, data.outputs),
        gamma=case.gamma,
        alpha=case.alpha,
        protocol="authors",
        seed=case.seed,
        dtype=dtype,
    )
    probes = {
        "train": RiskProbe("train", x, y),
        "test": RiskProbe("test", x_test, y_test),
        "weights": WeightChange(),
    }
    options = {"method": method, "end_time": case.end_time, "times": times or [case.end_time]}
    began = time.perf_counter()
    history = train(model, x, y, probes=probes, progress=False, **options)
    return history[-1], time.perf_counter() - began, history.column("train_risk")


def read() -> dict[str, dict]:
    """What descent came to, by name of the case."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def compute(case: Case) -> dict:
    """Runs descent at rate 1 in float64, and keeps what it comes to."""
    from asym_keras.training import GradientDescent

    times = [case.end_time - step for step in reversed(range(TAIL))]
    last, seconds, risks = run(case, GradientDescent(1.0), dtype="float64", times=times)
    steps = np.arange(TAIL)
    line = np.polyval(np.polyfit(steps, risks, 1), steps)  # it falls meanwhile
    kept = {name: last[name] for name in ("train_risk", "test_risk", "weight_change")}
    kept |= {"chatter": float(np.abs(risks / line - 1).max()), "seconds": round(seconds, 1)}
    write_text(FILE, json.dumps({**read(), case.name: kept}, indent=1, sort_keys=True) + "\n")
    return kept
