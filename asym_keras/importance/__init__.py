"""Node importance: which hidden nodes of a network matter, by one of four rules."""

from asym_keras.importance.graph import find_layer
from asym_keras.importance.rules import (
    PROTOCOL_RULES,
    RULES,
    importance_order,
    node_importance,
)

__all__ = ["PROTOCOL_RULES", "RULES", "find_layer", "importance_order", "node_importance"]
