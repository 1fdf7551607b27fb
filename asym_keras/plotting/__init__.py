"""Curves of runs, their means over seeds, and figures. matplotlib is imported with the first."""

from asym_keras.plotting.bounds import theory_bounds as theory_bounds
from asym_keras.plotting.curves import QUANTITIES as QUANTITIES
from asym_keras.plotting.curves import Quantity as Quantity
from asym_keras.plotting.curves import curve as curve
from asym_keras.plotting.curves import has_curve as has_curve
from asym_keras.plotting.means import MeanCurve as MeanCurve
from asym_keras.plotting.means import by_seed as by_seed
from asym_keras.plotting.means import differing_settings as differing_settings
from asym_keras.plotting.means import mean_curve as mean_curve
from asym_keras.plotting.one_run import learning_curves as learning_curves
from asym_keras.plotting.paper_figures import PAPER_FIGURES as PAPER_FIGURES
from asym_keras.plotting.paper_figures import PaperPanel as PaperPanel
from asym_keras.plotting.paper_figures import paper_figure as paper_figure
from asym_keras.plotting.run_groups import plot_curve as plot_curve
from asym_keras.plotting.run_groups import several_runs as several_runs
from asym_keras.plotting.styles import Style as Style
from asym_keras.plotting.styles import style_of as style_of
from asym_keras.plotting.styles import style_of_pair as style_of_pair
