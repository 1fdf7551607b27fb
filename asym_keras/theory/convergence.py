"""Global convergence of the gradient flow: Theorems 4.1 and 4.2.

All times and rates are those of our clock (see `paper_time`). The paper has one output.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array, check_examples
from asym_keras.theory.checks import (
    FINE,
    check_scalings,
    check_targets,
    normal_rule,
    paper_time,
    theorem_activation,
)
from asym_keras.theory.initial_eigenvalue import (
    check_field,
    check_setting,
    chernoff_width,
    inputs_setting,
)


@dataclasses.dataclass(frozen=True)
class GlobalConvergence:
    """Theorem 4.1 (ReLU) or 4.2 (smooth activation) as numbers.

    At a width of at least `required_width`, with probability at least 1 - delta over the
    initialisation, for all times t >= 0: (a) `min_eigenvalue` bounds the smallest NTG
    eigenvalue from below; (b) `risk`, (c) `weight_change` and (d) `ntg_change` bound the
    training risk, the change of each node's weights and the spectral norm of the NTG change
    from above. With gamma = 0 or kappa_n = 0 the theorems say nothing: `required_width`,
    `weight_change` and `ntg_change` are infinite.

    The constants are those that are printed in the theorems, checked against Appendices C to F:
    (a) to (d) and Theorem 4.2's width follow as printed. In Theorem 4.1 the second and third
    width terms count the 2 of `D_0**2 = 2 C**2 + 2 / d` twice: Appendix E needs `2**24` and
    `2**34` where `2**25` and `2**35` are printed. The theorem is right at both; the printed
    numbers are kept. (Its proof writes `d**2` for `d` under the root in (c), without effect on
    the result, and halves (c) in passing; so does that of Theorem 4.2.)

    Args:
        examples, input_dim: n and d.
        kappa_n: Eq. (10), at least 0.
        target_bound: C = max |y|, at least 0.
        gamma: symmetric share, in [0, 1]. delta: probability of failure, in (0, 1).
        second_moment: C_1 of Eq. (13). None: ReLU, Theorem 4.1.
        curvature_bound: M, the bound on |sigma''|. Given together with `second_moment`.

    Raises:
        ValueError: An argument lies outside its range.
    """

    examples: int
    input_dim: int
    kappa_n: float
    target_bound: float
    gamma: float
    delta: float
    second_moment: float | None = None
    curvature_bound: float | None = None

    def __post_init__(self) -> None:
        check_setting(self)
        check_field(self, "target_bound", 0.0 <= self.target_bound < math.inf, "a number >= 0")
        if (self.second_moment is None) != (self.curvature_bound is None):
            raise ValueError(
                "GlobalConvergence: expected both second_moment and curvature_bound or neither, "
                f"received {self.second_moment} and {self.curvature_bound}; give both for a "
                "smooth activation, neither for ReLU"
            )
        for name in ("second_moment", "curvature_bound"):
            value = getattr(self, name)
            check_field(self, name, value is None or 0.0 <= value < math.inf, "a number >= 0")

    @classmethod
    def from_data(
        cls,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        gamma: float,
        delta: float,
        activation: Any = "relu",
    ) -> GlobalConvergence:
        """The theorem for training data, the one that the activation asks for.

        A smallest eigenvalue of the mean NTG within round-off of zero counts as zero: two
        inputs are parallel, or one is zero; `check_assumptions` names them.

        Args:
            x: inputs (n, d), of norm at most 1.
            y: targets (n,) or (n, 1).
            gamma, delta: as above.
            activation: name or function that keeps Assumption 2.2.

        Raises:
            ValueError: Bad shapes or numbers, inputs of norm above 1, several outputs, or an
                activation that breaks Assumption 2.2.
        """
        x = check_examples(x)
        y = check_targets(y, len(x))
        if y.shape[1] != 1:
            raise ValueError(
                f"y: expected one output, as in the paper, received {y.shape[1]}; pass one column"
            )
        described = theorem_activation(activation)
        smooth: dict[str, Any] = {}
        if described.assumption == "smooth":
            smooth["second_moment"] = smooth_second_moment(activation, x.shape[1])
            smooth["curvature_bound"] = described.curvature_bound
        bound = float(np.abs(y).max())
        setting = inputs_setting(x, activation)
        return cls(**setting, **smooth, target_bound=bound, gamma=gamma, delta=delta)

    @property
    def theorem(self) -> str:
        """Number of the theorem, "4.1" or "4.2"."""
        return "4.1" if self.second_moment is None else "4.2"

    @property
    @np.errstate(over="ignore", under="ignore", divide="ignore")
    def width_terms(self) -> tuple[float, float, float]:
        """The three widths of which the theorem asks for the largest."""
        if not self._speaks:
            return math.inf, math.inf, math.inf
        n, d, kappa, gamma, delta = self._constants()
        if self.curvature_bound is None:
            scale = self._moment / (gamma**2 * delta**5)
            second = 2**25 * n**4 / (kappa**4 * d**3) * scale
            third = 2**35 * n**6 / (kappa**6 * d**5) * scale
        else:
            scale = self.curvature_bound**2 * self._moment / (gamma**2 * delta)
            second = 2**10 * n**3 / (kappa**3 * d**3) * scale
            third = 2**15 * n**4 / (kappa**4 * d**4) * scale
        share = delta / 4 if self.second_moment is None else delta / 2
        return chernoff_width(n, d, kappa, share), float(second), float(third)

    @property
    def required_width(self) -> float:
        """Width from which the theorem holds; inf where gamma or kappa_n is 0."""
        return max(self.width_terms)

    def applies(self, width: int) -> bool:
        """Whether the theorem speaks of networks of this width."""
        return width >= self.required_width

    @property
    def min_eigenvalue(self) -> float:
        """(a) `gamma kappa_n / 4`, a lower bound at all times."""
        return self.gamma * self.kappa_n / 4.0

    @property
    def rate(self) -> float:
        """Rate of (b) per unit of our t: `gamma kappa_n / n`."""
        return self.gamma * self.kappa_n / 2.0 * float(paper_time(1.0, self.examples))

    def risk(self, t: npt.ArrayLike, initial_risk: float) -> Float64Array:
        """(b) `exp(-rate t)` times the initial risk, at times t of our clock."""
        return initial_risk * np.exp(-self.rate * np.asarray(t, dtype=np.float64))

    @np.errstate(over="ignore", under="ignore", divide="ignore")
    def weight_change(self, scalings: npt.ArrayLike) -> Float64Array:
        """(c) Bound on `||w_tj - w_0j||` for each node, float64 (m,).

        Args:
            scalings: (m,), with the sum 1 and at least gamma / m each.
        """
        scalings = self._check_scalings(scalings)
        if not self._speaks:
            return np.full(len(scalings), math.inf)
        n, d, kappa, gamma, delta = self._constants()
        factor = 2**6 if self.second_moment is None else 2**7
        change = n / (kappa * d**0.5) * np.sqrt(factor * self._moment / (gamma**2 * delta))
        return change * np.sqrt(scalings)

    @np.errstate(over="ignore", under="ignore", divide="ignore")
    def ntg_change(self, scalings: npt.ArrayLike) -> float:
        """(d) Bound on the spectral norm of the NTG change; `scalings` as in `weight_change`."""
        scalings = self._check_scalings(scalings)
        if not self._speaks:
            return math.inf
        n, d, kappa, gamma, delta = self._constants()
        root = np.sqrt(self._moment)
        if self.curvature_bound is None:
            total = np.sum(scalings**1.5)
            first = 2**9 * n**2 * root / (kappa * d**1.5 * gamma * delta**2.5) * total
            second = 2**6 * n**1.5 * root**0.5 / (kappa**0.5 * d**1.25 * gamma**0.5 * delta**1.25)
        else:
            total, bend = np.sum(scalings**2), self.curvature_bound
            first = 2**7 * n**3 * (bend * root) ** 2 / (kappa**2 * d**3 * gamma**2 * delta) * total
            second = 2**5 * n**2 * bend * root / (kappa * d**2 * gamma * delta**0.5)
        return float(first + second * np.sqrt(total))

    @property
    def _moment(self) -> float:
        """`D_0**2 = 2 C**2 + 2 / d` of Theorem 4.1, `C**2 + C_1` of Theorem 4.2."""
        if self.second_moment is None:
            return 2.0 * self.target_bound**2 + 2.0 / self.input_dim
        return self.target_bound**2 + self.second_moment

    @property
    def _speaks(self) -> bool:
        return self.gamma > 0.0 and self.kappa_n > 0.0

    def _constants(self) -> tuple[np.float64, ...]:
        """n, d, kappa_n, gamma, delta: NumPy's floats overflow to inf, Python's raise."""
        names = (self.examples, self.input_dim, self.kappa_n, self.gamma, self.delta)
        return tuple(np.float64(value) for value in names)

    def _check_scalings(self, scalings: npt.ArrayLike) -> Float64Array:
        array = check_scalings(scalings)
        least = self.gamma / array.size
        if array.min() < least * (1.0 - 1e-5):
            raise ValueError(
                f"scalings: expected at least gamma / m = {least:.4g} each, Eq. (1), received "
                f"{array.min():.4g}; pass scalings of gamma = {self.gamma}"
            )
        return array


def smooth_second_moment(activation: Any, input_dim: int) -> float:
    """`C_1 = sup_{0 < c <= 1} E[sigma(c z / sqrt(d))**2]`, z standard normal, Eq. (13).

    Quadrature on a grid of c, refined about the best point. The supremum may lie at
    c -> 0 (a function that falls away from zero) or inside, so both ends count.

    Args:
        activation: name or function that keeps Assumption 2.2(b).
        input_dim: d, at least 1.

    Raises:
        ValueError: Another activation, or `input_dim` below 1.
    """
    if input_dim < 1:
        raise ValueError(f"input_dim: expected at least 1, received {input_dim}; pass d")
    from scipy.optimize import minimize_scalar

    sigma = theorem_activation(activation, smooth=True).function
    (nodes,), weights = normal_rule(FINE)

    def moment(c: float) -> float:
        return float(weights @ np.asarray(sigma(c / math.sqrt(input_dim) * nodes)) ** 2)

    grid = np.linspace(0.0, 1.0, 65)
    values = [moment(c) for c in grid]
    best = int(np.argmax(values))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    refined = minimize_scalar(lambda c: -moment(c), bounds=around, method="bounded")
    return max(values[best], -float(refined.fun))
