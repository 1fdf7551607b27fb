"""The paper's theorems as numbers: assumptions, widths, rates, bounds and first changes."""

from asym_keras.theory.assumptions import AssumptionReport, check_assumptions
from asym_keras.theory.checks import paper_time
from asym_keras.theory.convergence import GlobalConvergence, smooth_second_moment
from asym_keras.theory.feature_learning import (
    NTGVelocity,
    expected_ntg_velocity,
    expected_weight_velocity,
)
from asym_keras.theory.initial_eigenvalue import InitialEigenvalueBound

__all__ = [
    "AssumptionReport",
    "GlobalConvergence",
    "InitialEigenvalueBound",
    "NTGVelocity",
    "check_assumptions",
    "expected_ntg_velocity",
    "expected_weight_velocity",
    "paper_time",
    "smooth_second_moment",
]
