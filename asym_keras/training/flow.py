"""Gradient flow `dW/dt = -grad L(W)` by an adaptive stabilised Runge-Kutta method."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from asym_keras.training.flow_run import FlowRun
from asym_keras.training.objective import Objective

# How far kinks are rounded at most, per root of the absolute tolerance.
ROUNDING_SHARE = 0.02


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradient flow, integrated to a tolerance instead of a learning rate.

    Where a step is bound by stability, the Runge-Kutta-Chebyshev method of order two (RKC2,
    see `rkc`) with as many stages as the step and an estimate of the spectral radius ask for;
    where it is bound by accuracy, the Bogacki-Shampine pair. Both estimate their error; the
    step follows it (Watts' predictive control). Records between steps come from an interpolant
    and cost no gradients. Along rounded kinks steps are damped more, and an error may not change
    the risk by more than a share of it (`rounded_stepper`).

    Args:
        rtol, atol: tolerance per step; the error is the root mean square over a node's
            weights, each divided by `atol + rtol |w|`, and the largest over nodes counts.
        rounding: how wide the ramps are along which the slope of piecewise linear activations,
            such as ReLU, changes at a kink, for the solver alone: their inputs move so far when
            each weight moves by this at random. Lowered where it would bias the risk. "auto":
            `0.02 sqrt(atol)`; 0: kinks stay sharp. Where there are none it changes nothing.
            See docs/training.md.
        time_step: time t that one step of the table stands for (a descent's learning rate).
        batch_size: must be None: a flow has no mini-batches.
        jit_compile: True, False or "auto" (by the size of a gradient).
    """

    rtol: float = 1e-2
    atol: float = 1e-2
    rounding: float | str = "auto"
    time_step: float = 1.0
    batch_size: None = None
    jit_compile: bool | str = "auto"

    # Records come at any time.
    whole_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "time_step"):
            value = getattr(self, name)
            if not value > 0 or not np.isfinite(value):
                raise ValueError(f"GradientFlow: expected a positive {name}, received {value}.")
        size = -1.0 if isinstance(self.rounding, str) else self.rounding
        if self.rounding != "auto" and not 0 <= size < np.inf:
            raise ValueError(
                "GradientFlow: expected rounding of at least 0, or 'auto', received "
                f"{self.rounding!r}."
            )
        if self.batch_size is not None:
            raise ValueError(
                f"GradientFlow: expected no mini-batches, received batch_size={self.batch_size}. "
                "A flow follows the gradient of the whole risk; use GradientDescent(batch_size=...)"
            )

    @property
    def first_rounding(self) -> float:
        """`rounding` as a number: that at the start of a run."""
        return ROUNDING_SHARE * self.atol**0.5 if self.rounding == "auto" else float(self.rounding)

    def start(self, objective: Objective, snapshot: Any = None) -> FlowRun:
        """Begins a run at the model's weights, or goes on from `snapshot`."""
        if objective.stateful_layers:
            raise ValueError(
                "GradientFlow: expected a model whose risk is a function of its weights alone, "
                f"received one with {', '.join(objective.stateful_layers)}, which draw numbers or "
                "update averages while training. Remove or freeze them, or use GradientDescent."
            )
        if objective.constrained:
            raise ValueError(
                "GradientFlow: expected weights without a constraint, which a flow does not keep, "
                f"received {', '.join(objective.constrained)}. Leave the constraint out, or use "
                "GradientDescent, which applies it after each step."
            )
        dtypes = {v.dtype for v in objective.variables}
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            raise ValueError(
                "GradientFlow: expected all weights in float32, or all in float64, received "
                f"{', '.join(sorted(dtypes))}, in which steps are not as exact as the error that "
                "they are chosen by. Build the model with dtype='float32' (or 'mixed_bfloat16', "
                "which keeps float32 weights), or use GradientDescent."
            )
        smallest = 10 * float(np.finfo(objective.weights()[0].dtype.as_numpy_dtype).eps)
        if min(self.rtol, self.atol) < smallest:
            raise ValueError(
                f"GradientFlow: expected rtol and atol of at least {smallest:.1e}, ten units of "
                f"round-off of the weights' dtype, received {self.rtol:.1e} and {self.atol:.1e}. "
                "Use a float64 model."
            )
        options = {"rtol": self.rtol, "atol": self.atol, "rounding": self.first_rounding}
        return FlowRun(objective, snapshot, **options)
