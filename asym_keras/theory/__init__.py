"""The paper's theorems as numbers: assumptions, widths, rates, bounds and first changes."""

from asym_keras.theory.assumptions import AssumptionReport as AssumptionReport
from asym_keras.theory.assumptions import check_assumptions as check_assumptions
from asym_keras.theory.checks import paper_time as paper_time
from asym_keras.theory.convergence import GlobalConvergence as GlobalConvergence
from asym_keras.theory.convergence import smooth_second_moment as smooth_second_moment
from asym_keras.theory.feature_learning import NTGVelocity as NTGVelocity
from asym_keras.theory.feature_learning import expected_ntg_velocity as expected_ntg_velocity
from asym_keras.theory.feature_learning import expected_weight_velocity as expected_weight_velocity
from asym_keras.theory.initial_eigenvalue import InitialEigenvalueBound as InitialEigenvalueBound
