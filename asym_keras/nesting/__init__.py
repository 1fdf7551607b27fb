"""Nested widths: one network whose first k nodes are a network of their own, for several k.

many = nested(model, widths=(20, 50, 200, 2000))
many.fit(x, y)  # the log has accuracy_20, accuracy_50, ...
"""

from asym_keras.nesting.loss import NestedLoss, prefix_weights
from asym_keras.nesting.metrics import PrefixMetric, prefix_metrics
from asym_keras.nesting.model import find_readout, nested
from asym_keras.nesting.readout import NestedReadout, auto_widths
from asym_keras.nesting.sure import FirstSure

__all__ = [
    "FirstSure",
    "NestedLoss",
    "NestedReadout",
    "PrefixMetric",
    "auto_widths",
    "find_readout",
    "nested",
    "prefix_metrics",
    "prefix_weights",
]
