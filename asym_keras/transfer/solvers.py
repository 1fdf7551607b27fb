"""Training of the external networks: by the protocol's descent, or by the flow it follows."""

from __future__ import annotations

import contextlib
import logging

import numpy as np

from asym_keras.training import GradientDescent, GradientFlow, Objective, TrainingError, train
from asym_keras.transfer.networks import TransferNetworks, summed_risk

logger = logging.getLogger(__name__)

METHODS = ("auto", "descent", "flow")


class TransferTraining:
    """Trains `networks` in place on features and targets; see `transfer_curve`.

    Args:
        networks: at their initial weights.
        phi: features (n, largest k), best first.
        y: targets (n, K).
        steps, learning_rate: of the descent; a flow goes to t = steps x learning_rate.
        progress: show a progress bar.
    """

    def __init__(
        self, networks: TransferNetworks, phi, y, *, steps: int, learning_rate: float, progress=True
    ):
        self._networks, self._phi, self._y = networks, phi, y
        self._steps, self._rate = steps, learning_rate
        self._progress = progress
        data = networks.inputs(phi), networks.targets(y)
        self._objective = Objective(networks.model, *data, loss=summed_risk)

    def run(self, method: str) -> None:
        """Trains by `method`, one of `METHODS`.

        Raises:
            TrainingError: A descent diverged; says which networks did, and what to do.
        """
        if method == "flow":
            self._train(GradientFlow(time_step=self._rate))
        else:
            self._descend()

    def _descend(self) -> None:
        before = self._networks.risks(self._phi, self._y)
        try:
            self._train(GradientDescent(self._rate))
        except TrainingError as error:
            raise TrainingError(
                f"Transfer by gradient descent diverged for {self._diverging()} features. Expected "
                "a learning_rate below 2 / (largest Hessian eigenvalue), received "
                f"{self._rate}: use a smaller one with more steps, or method='flow'."
            ) from error
        after = self._networks.risks(self._phi, self._y)
        worse = [
            k for k, a, b in zip(self._networks.features, after, before, strict=True) if not a <= b
        ]
        if worse:
            logger.warning(
                "transfer: descent at learning rate %g ended, for %s features, with a training "
                "risk above the one it began with: it is unstable there, and its risks mean "
                "nothing. Use a smaller rate with more steps, or method='flow'.",
                self._rate,
                worse,
            )

    def _train(self, solver) -> None:
        train(
            self._networks.model,
            self._objective.x,
            self._objective.y,
            method=solver,
            end_time=self._steps * self._rate,
            loss=summed_risk,
            times=[0.0],
            progress=self._progress,
        )

    def _diverging(self) -> list[int]:
        """Feature numbers of the networks that a failed descent carries to infinity.

        The model holds the last good state; from there the networks are watched one by one.
        """
        run = GradientDescent(self._rate).start(self._objective)
        with contextlib.suppress(TrainingError):
            for _ in range(self._steps):
                run.advance(run.time + self._rate)
        _, gradient, _ = self._objective.gradient(run.weights, [])
        stepped = [w - self._rate * g for w, g in zip(run.weights, gradient, strict=True)]
        for weights in (run.weights, stepped):
            self._objective.assign(weights, [])
            risks = self._networks.risks(self._phi, self._y).astype(self._objective.risk_dtype)
            # A sum may overflow before any of its terms does.
            bad = ~np.isfinite(risks)
            if bad.any():
                break
        else:
            bad = risks == risks.max()
        self._objective.assign(run.weights, [])
        return [k for k, b in zip(self._networks.features, bad, strict=True) if b]
