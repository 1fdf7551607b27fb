"""The NTG as a probe of a training run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from asym_keras.ntg.empirical import empirical_ntg
from asym_keras.ntg.shallow import find_shallow_layer
from asym_keras.ntg.spectrum import minimum_eigenvalue, spectral_norm


class NTGProbe:
    """NTG change (spectral norm) and minimum NTG eigenvalue on `x`.

    Args:
        x: examples (n, ...).
        output: which output of the model, as for `empirical_ntg`, but not "all".
        method: of `empirical_ntg`. The closed form is computed in float64.
    """

    def __init__(self, x: Any, *, output: int | str | tuple = 0, method: str = "auto"):
        self._x, self._output, self._method = x, output, method
        self._initial: np.ndarray | None = None

    def start(self, model: keras.Model) -> None:
        self._initial = self._ntg(model)

    def __call__(self, model: keras.Model) -> dict[str, float]:
        if self._initial is None:
            self.start(model)
        ntg = self._ntg(model)
        return {
            "ntg_change": spectral_norm(ntg - self._initial),
            "ntg_min_eigenvalue": minimum_eigenvalue(ntg),
        }

    def _ntg(self, model: keras.Model) -> np.ndarray:
        closed = self._method in ("auto", "closed_form") and find_shallow_layer(model) is not None
        options: dict[str, Any] = {"output": self._output, "method": self._method}
        options["dtype"] = "float64" if closed else None
        return empirical_ntg(model, self._x, **options).numpy().astype("float64")
