"""The stabilised Runge-Kutta-Chebyshev methods of order two (RKC2), by their damping.

B. Sommeijer, L. Shampine, J. Verwer, "RKC: an explicit solver for parabolic PDEs",
J. Comput. Appl. Math. 88 (1998) 315-326.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class RKC2:
    """The methods of every number of stages whose Chebyshev polynomials are damped alike."""

    damping: float  # (w0 - 1) stages**2, w0 being where the polynomials are taken
    stability: float  # length of the real stability interval per `stages**2 - 1`

    def stages_for(self, step: float, spectral_radius: float) -> int:
        """Smallest stage number, at least 2, for which `step` is stable."""
        return max(2, math.ceil(math.sqrt(1.0 + step * spectral_radius / self.stability)))

    def largest_step(self, stages: int, spectral_radius: float) -> float:
        """Largest stable step with `stages` stages."""
        return self.stability * (stages**2 - 1) / spectral_radius

    def coefficients(self, stages: int) -> np.ndarray:
        """Coefficients of the s-stage method, float64 (s, 5).

        Row 0 is `(0, 0, 0, mu~_1, 0)`: `Y_1 = Y_0 + mu~_1 h F_0`. Row j - 1, j = 2..s, is
        `(1 - mu_j - nu_j, mu_j, nu_j, mu~_j, gamma~_j)` of `Y_j = (1 - mu_j - nu_j) Y_0 +
        mu_j Y_{j-1} + nu_j Y_{j-2} + mu~_j h F_{j-1} + gamma~_j h F_0`.
        """
        return _coefficients(stages, self.damping)


# The usual damping: it allows the longest steps, and leaves two thirds of a stiff part after each.
USUAL = RKC2(2.0 / 13.0, (2.0 / 3.0) * (1.0 - 2.0 / 15.0 * 2.0 / 13.0))
# A fifth of a stiff part is left after a step. What a jump of the slope within a step leads to is
# half as large, and so is the error of smooth solutions. A step takes 1.4 times as many stages.
DAMPED = RKC2(10.0, 0.345)


@functools.lru_cache(maxsize=1024)
def _coefficients(stages: int, damping: float) -> np.ndarray:
    w0 = 1.0 + damping / stages**2
    # Chebyshev polynomials T_j(w0) and their first two derivatives, by recurrence.
    t, dt, d2t = np.zeros((3, stages + 1))
    t[:2], dt[1] = (1.0, w0), 1.0
    for j in range(2, stages + 1):
        t[j] = 2 * w0 * t[j - 1] - t[j - 2]
        dt[j] = 2 * t[j - 1] + 2 * w0 * dt[j - 1] - dt[j - 2]
        d2t[j] = 4 * dt[j - 1] + 2 * w0 * d2t[j - 1] - d2t[j - 2]
    w1 = dt[stages] / d2t[stages]
    b = np.empty(stages + 1)
    b[2:] = d2t[2:] / dt[2:] ** 2
    b[:2] = b[2]
    a = 1.0 - b * t
    table = np.zeros((stages, 5))
    table[0, 3] = b[1] * w1
    ratio = b[2:] / b[1:-1]
    mu, nu, mu_tilde = 2 * w0 * ratio, -b[2:] / b[:-2], 2 * w1 * ratio
    table[1:] = np.stack([1 - mu - nu, mu, nu, mu_tilde, -a[1:-1] * mu_tilde], axis=1)
    return table
