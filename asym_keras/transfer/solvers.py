"""Training of the external networks: by the protocol's descent, or by the flow it follows."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import numpy as np

from asym_keras.training import GradientDescent, GradientFlow, Objective, TrainingError, train
from asym_keras.transfer.networks import TransferNetworks, summed_risk

logger = logging.getLogger(__name__)

METHODS = ("auto", "descent", "flow")


def train_networks(
    networks: TransferNetworks,
    phi: Any,
    y: Any,
    method: str,
    steps: int,
    rate: float,
    progress: bool,
) -> None:
    """Trains `networks` in place on features `phi` (n, largest k), best first, and targets (n, K).

    The other arguments are those of `transfer_curve`.

    Raises:
        TrainingError: A descent diverged; says which networks did, and what to do.
    """
    flow = method == "flow"
    solver = GradientFlow(time_step=rate) if flow else GradientDescent(rate)
    data = networks.inputs(phi), networks.targets(y)
    objective = Objective(networks.model, *data, loss=summed_risk)
    before = networks.risks(phi, y)
    try:
        train(
            networks.model,
            objective.x,
            objective.y,
            method=solver,
            end_time=steps * rate,
            loss=summed_risk,
            times=[0.0],
            progress=progress,
        )
    except TrainingError as error:
        if flow:
            raise
        diverging = _diverging(networks, objective, phi, y, steps, rate)
        raise TrainingError(
            f"Transfer by gradient descent diverged for {diverging} features. Expected a "
            "learning_rate below 2 / (largest Hessian eigenvalue), received "
            f"{rate}: use a smaller one with more steps, or method='flow'."
        ) from error
    after = networks.risks(phi, y)
    worse = [k for k, a, b in zip(networks.features, after, before, strict=True) if not a <= b]
    if worse and not flow:
        logger.warning(
            "transfer: descent at learning rate %g ended, for %s features, with a training "
            "risk above the one it began with: it is unstable there, and its risks mean "
            "nothing. Use a smaller rate with more steps, or method='flow'.",
            rate,
            worse,
        )


def _diverging(
    networks: TransferNetworks, objective: Objective, phi: Any, y: Any, steps: int, rate: float
) -> list[int]:
    """Feature numbers of the networks that a failed descent carries to infinity.

    The model holds the last good state; from there the networks are watched one by one.
    """
    run = GradientDescent(rate).start(objective)
    with contextlib.suppress(TrainingError):
        for _ in range(steps):
            run.advance(run.time + rate, run.time + rate)
    _, gradient, _ = objective.gradient(run.weights, [])
    stepped = [w - rate * g for w, g in zip(run.weights, gradient, strict=True)]
    for weights in (run.weights, stepped):
        objective.assign(weights, [])
        risks = networks.risks(phi, y).astype(objective.risk_dtype)
        # A sum may overflow before any of its terms does.
        bad = ~np.isfinite(risks)
        if bad.any():
            break
    else:
        bad = risks == risks.max()
    objective.assign(run.weights, [])
    return [k for k, b in zip(networks.features, bad, strict=True) if b]
