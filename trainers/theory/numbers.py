"""What the theorems say of one network on its training data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.ntg import Activation, mean_ntg, ntg_variance
from asym_keras.theory import (
    AssumptionReport,
    GlobalConvergence,
    InitialEigenvalueBound,
    NTGVelocity,
    check_assumptions,
    expected_ntg_velocity,
    expected_weight_velocity,
)
from asym_keras.theory.assumptions import NORM_SLACK

Float64Array = npt.NDArray[np.float64]

# A relative error; those of quadratures and sums are far smaller.
ROUND_OFF = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theory:
    """Bounds and expectations for a network.

    Attributes:
        assumptions: Assumptions 2.1 to 2.3 on the data.
        mean: `Theta*`, Eq. (9), (n, n). kappa_n: its smallest eigenvalue, Eq. (10).
        scalings: lambda (m,).
        initial: Proposition C.1; None where Assumption 2.1(a) or 2.2 fails.
        convergence: Theorem 4.1 or 4.2; None likewise.
        silence: why there is no bound, or None where there is.
        variance: `E ||Theta_0 - Theta*||_F^2`.
        weight_velocity: `E sum_j dw_j/dt` (d,) at t = 0; None where Assumption 2.2 fails.
        ntg_velocity: `E dTheta/dt` at t = 0; None likewise, and for ReLU.
    """

    assumptions: AssumptionReport
    mean: Float64Array
    kappa_n: float
    gamma: float
    scalings: Float64Array
    initial: InitialEigenvalueBound | None
    convergence: GlobalConvergence | None
    silence: str | None
    variance: float
    weight_velocity: Float64Array | None
    ntg_velocity: NTGVelocity | None

    @property
    def width(self) -> int:
        """Hidden nodes m."""
        return len(self.scalings)

    @property
    def promised(self) -> bool:
        """Whether (a) to (d) are promised: the theorem speaks, and the width is large enough."""
        four = self.convergence
        return self.silence is None and four is not None and four.applies(self.width)

    def end_time(self, decay: float, longest: int) -> int:
        """Time of our clock at which bound (b) is exp(-decay), at most `longest`.

        Where gamma is 0 there is no bound, and 1 takes its place; where kappa_n is 0, the smallest
        eigenvalue above round-off does.
        """
        eigenvalues = np.linalg.eigvalsh(self.mean)
        n = len(eigenvalues)
        positive = eigenvalues[eigenvalues > n * np.finfo(np.float64).eps * eigenvalues[-1]]
        rate = (self.gamma or 1.0) * (self.kappa_n or positive.min(initial=np.inf)) / n
        return max(1, math.ceil(min(decay / rate, longest)))

    def weight_scale(self, residuals: Float64Array, t: float) -> float:
        """Root mean square of how far the weights of the most scaled node move by time t.

        In the kernel regime the residuals (n,) decay by `exp(-2 Theta* t / n)`, the squared
        change of all weights is `sum_k (u_k . r)^2 (1 - exp(-2 mu_k t / n))^2 / mu_k` over the
        eigenpairs of `Theta*`, and node j has the share lambda_j of it.
        """
        values, vectors = np.linalg.eigh(self.mean)
        values = np.maximum(values, np.finfo(np.float64).tiny)
        reached = -np.expm1(-2.0 * values * t / len(values))
        change = np.sum((vectors.T @ residuals) ** 2 * reached**2 / values)
        return math.sqrt(self.scalings.max() * change / self.assumptions.input_dim)


def theory_of(
    x: Float64Array,
    y: Float64Array,
    *,
    gamma: float,
    delta: float,
    scalings: Float64Array,
    activation: Activation,
    seed: int,
) -> Theory:
    """The theory for inputs x (n, d) and targets y (n,); `seed` is for its Monte Carlo estimate."""
    assumptions = check_assumptions(x, y, activation=activation)
    mean = mean_ntg(x, activation=activation)
    kappa = float(np.linalg.eigvalsh(mean)[0])
    initial = convergence = silence = None
    if activation.violation is not None:
        silence = "Assumption 2.2 fails"
    elif assumptions.largest_norm > 1.0 + NORM_SLACK:
        silence = "Assumption 2.1(a) fails; --scale max would repair it"
    else:
        network: dict[str, Any] = {"gamma": gamma, "delta": delta, "activation": activation}
        initial = InitialEigenvalueBound.from_data(x, **network)
        convergence = GlobalConvergence.from_data(x, y, **network)
        kappa = convergence.kappa_n
        if not gamma:
            silence = "gamma = 0"
        elif not kappa:
            silence = "kappa_n = 0"
    weights = ntg = None
    if activation.violation is None:
        weights = expected_weight_velocity(x, scalings, activation=activation).sum(axis=1)
        # For an odd activation this is zero, but the quadrature leaves round-off.
        if np.linalg.norm(weights) < ROUND_OFF * 2.0 / x.shape[1] * np.mean(x**2):
            weights = np.zeros_like(weights)
        if activation.assumption == "smooth":
            ntg = expected_ntg_velocity(x, scalings, activation=activation, seed=seed)
    rounding = len(x) * np.finfo(np.float64).eps * float(mean.diagonal().max())
    return Theory(
        assumptions=assumptions,
        mean=mean,
        kappa_n=kappa if kappa > rounding else 0.0,
        gamma=gamma,
        scalings=scalings,
        initial=initial,
        convergence=convergence,
        silence=silence,
        variance=ntg_variance(x, scalings, activation=activation),
        weight_velocity=weights,
        ntg_velocity=ntg,
    )
