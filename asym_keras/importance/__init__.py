"""Node importance: which hidden nodes of a network matter, by one of four rules."""

from asym_keras.importance.graph import find_layer as find_layer
from asym_keras.importance.rules import PROTOCOL_RULES as PROTOCOL_RULES
from asym_keras.importance.rules import RULES as RULES
from asym_keras.importance.rules import importance_order as importance_order
from asym_keras.importance.rules import node_importance as node_importance
