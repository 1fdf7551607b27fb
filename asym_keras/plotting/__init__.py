"""Curves of runs, their means over seeds, and figures. matplotlib is imported with the first."""

from asym_keras.plotting.bounds import theory_bounds
from asym_keras.plotting.curves import QUANTITIES, Quantity, curve, has_curve
from asym_keras.plotting.means import MeanCurve, by_seed, differing_settings, mean_curve
from asym_keras.plotting.one_run import learning_curves
from asym_keras.plotting.paper_figures import PAPER_FIGURES, PaperPanel, paper_figure
from asym_keras.plotting.run_groups import several_runs

__all__ = [
    "PAPER_FIGURES",
    "QUANTITIES",
    "MeanCurve",
    "PaperPanel",
    "Quantity",
    "by_seed",
    "curve",
    "differing_settings",
    "has_curve",
    "learning_curves",
    "mean_curve",
    "paper_figure",
    "several_runs",
    "theory_bounds",
]
