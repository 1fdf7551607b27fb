"""Pruning: networks cut to their most important nodes, and risks by the number of nodes left.

small = prune(model, keep=100, refit=(x, y))
rows = pruning_curve(model, x_train, y_train, x_test, y_test, refit=True)
"""

from asym_keras.pruning.curve import pruning_curve
from asym_keras.pruning.logistic import LogitRefit, refit_logits
from asym_keras.pruning.refit import Refit, refit_readouts
from asym_keras.pruning.refit_memory import REFIT_BYTES, refit_bytes, widest_refit
from asym_keras.pruning.surgery import prune

__all__ = [
    "REFIT_BYTES",
    "LogitRefit",
    "Refit",
    "prune",
    "pruning_curve",
    "refit_bytes",
    "refit_logits",
    "refit_readouts",
    "widest_refit",
]
