"""Keras model zoo for shallow networks with asymmetrical node scaling.

    import asym_keras as ak

    model = ak.shallow_network(784, 10, width=2000, gamma=0.5, alpha=0.5, seed=0)
    ak.training.train(model, x, y, method=ak.training.GradientFlow(), end_time=1e5)

Names are imported when first used, so that importing the package is immediate.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULE_OF = {
    "AsymScaledDense": "layers",
    "NestedLoss": "nesting",
    "NestedReadout": "nesting",
    "anytime": "staged",
    "empirical_ntg": "ntg",
    "from_preset": "presets",
    "list_presets": "presets",
    "load_run": "runs",
    "load_runs": "runs",
    "nested": "nesting",
    "node_importance": "importance",
    "node_scalings": "scaling",
    "preset_card": "presets",
    "prune": "pruning",
    "save_run": "runs",
    "shallow_network": "models",
}
_SUBMODULES = (
    "callbacks",
    "datasets",
    "importance",
    "initializers",
    "nesting",
    "ntg",
    "plotting",
    "presets",
    "pruning",
    "runs",
    "scaling",
    "staged",
    "theory",
    "training",
    "transfer",
)

__all__ = [*_MODULE_OF, *_SUBMODULES, "__version__"]

if TYPE_CHECKING:
    from asym_keras.importance import node_importance as node_importance
    from asym_keras.layers import AsymScaledDense as AsymScaledDense
    from asym_keras.models import shallow_network as shallow_network
    from asym_keras.nesting import NestedLoss as NestedLoss
    from asym_keras.nesting import NestedReadout as NestedReadout
    from asym_keras.nesting import nested as nested
    from asym_keras.ntg import empirical_ntg as empirical_ntg
    from asym_keras.presets import from_preset as from_preset
    from asym_keras.presets import list_presets as list_presets
    from asym_keras.presets import preset_card as preset_card
    from asym_keras.pruning import prune as prune
    from asym_keras.runs import load_run as load_run
    from asym_keras.runs import load_runs as load_runs
    from asym_keras.runs import save_run as save_run
    from asym_keras.scaling import node_scalings as node_scalings
    from asym_keras.staged import anytime as anytime


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
