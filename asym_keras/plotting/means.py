"""Runs that differ in their seed alone: which they are, and the mean of their curves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from asym_keras.plotting.curves import curve
from asym_keras.run_settings import OPERATIONAL
from asym_keras.runs import Run
from asym_keras.runs.several import differing_settings as differing_settings


@dataclasses.dataclass(frozen=True, eq=False)
class MeanCurve:
    """Mean and spread of a curve over runs.

    Attributes:
        x: float64 (points,).
        mean, std: float64 (points,); `std` of the sample (ddof 1), nan for a single run.
        runs: number of runs.
    """

    x: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    runs: int


def mean_curve(runs: Sequence[Run], quantity: str, *, refit: bool = False) -> MeanCurve:
    """Mean of `curve(run, quantity, refit=refit)` over runs, at the first run's points.

    Other runs are interpolated linearly, and the mean ends where the first of them ends: nothing
    is extrapolated.

    Raises:
        ValueError: No run, a run without the curve, or runs with no point in common.
    """
    if not runs:
        raise ValueError("expected at least one run, received none.")
    curves = [curve(run, quantity, refit=refit) for run in runs]
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    points = curves[0][0]
    points = points[(points >= first) & (points <= last)]
    if not points.size:
        names = ", ".join(str(run.path) for run in runs)
        raise ValueError(
            f"expected runs that overlap in {quantity}, received none that do: {names}"
        )
    values = np.stack([np.interp(points, x, y) for x, y in curves])
    return MeanCurve(points, values.mean(axis=0), sample_std(values), len(runs))


def sample_std(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis with ddof 1; nan of a single value."""
    if len(values) == 1:
        return np.full(values.shape[1:], np.nan)
    return values.std(axis=0, ddof=1)


def by_seed(runs: Iterable[Run], *, ignore: Collection[str] = ()) -> list[list[Run]]:
    """Groups runs of the same data and settings, whatever their seed.

    Settings that only say how a run was carried out (`asym_keras.runs.OPERATIONAL`), such as
    `resume`, `out_dir` and `jobs`, may differ within a group.

    Args:
        runs: in any order.
        ignore: further settings that may differ within a group.

    Returns:
        The groups, in order of their first run; in each, runs by seed.

    Raises:
        ValueError: Two runs of a group have the same seed: a mean would count one result twice.
    """
    groups: dict[str, list[Run]] = {}
    apart = {"seed", *OPERATIONAL, *ignore}
    for run in runs:
        settings = {k: v for k, v in run.config.items() if k not in apart}
        data = run.facts["dataset"].get("fingerprint")
        key = repr((run.task, data, sorted(settings.items())))
        groups.setdefault(key, []).append(run)
    ordered = [sorted(group, key=_seed) for group in groups.values()]
    for run, other in itertools.chain.from_iterable(map(itertools.pairwise, ordered)):
        if _seed(run) == _seed(other):
            raise ValueError(
                "expected one run of each seed for a mean over seeds, received two of "
                f"{run.task}, {run.label}, seed {run.config.get('seed')}, with the same settings: "
                f"{run.path} and {other.path}. Leave one out."
            )
    return ordered


def _seed(run: Run) -> int:
    """The seed of a run; -1 if it was saved without one."""
    seed = run.config.get("seed")
    return -1 if seed is None else seed
