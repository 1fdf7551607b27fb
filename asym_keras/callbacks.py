"""Keras callbacks: what the paper follows through a training run, inside `model.fit`."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.backend import require_tensorflow
from asym_keras.checks import is_whole
from asym_keras.ntg.empirical import METHODS
from asym_keras.ntg.probe import NTGProbe
from asym_keras.training.probes import WeightChange

logger = logging.getLogger(__name__)

COLUMNS = ("ntg_change", "ntg_min_eigenvalue", "weight_change")


class NTGHistory(keras.callbacks.Callback):
    """Records how NTG and weights change since the start of training.

    At the end of an epoch it adds to Keras's `logs`, for the progress bar, for `History` and for
    the callbacks that come after it (put `CSVLogger` after it):

    - `ntg_change`: spectral norm of Theta_t - Theta_0 on `x`;
    - `ntg_min_eigenvalue`: of Theta_t, which decides on convergence (Theorem 4.1);
    - `weight_change`: `max_j ||w_tj - w_0j||` over the nodes.

    They are NaN at epochs without a record, because `CSVLogger` keeps the columns of its first
    epoch; those of the NTG also, with a warning, where a diverged run leaves no finite NTG.
    Training itself is not touched: it takes the same steps, bit by bit, as without the callback.

    The initial NTG and weights are noted when training begins. A second `fit` with the same
    callback goes on from there, its records added; with a new callback, or another model, it
    begins anew. Before this callback belongs what sets weights when training begins, such as
    `BackupAndRestore`.

    Args:
        x: examples (n, ...), for the NTG; a structure of arrays for several inputs.
        every: record every so many epochs, and at the last one of `fit`.
        output: int, which output of the model; `"trace"`: the mean over outputs; of several
            outputs as for `empirical_ntg`.
        method: of `empirical_ntg`.
        layer: name of the layer whose kernel (..., m) is followed; None: as for
            `training.WeightChange`.

    Attributes:
        epochs: list of int, epochs of the records, counted from 0 as `History.epoch` is.
        node_weight_change: float64 (records, m), `||w_tj - w_0j||`.

    Raises:
        ValueError: No examples, every below 1, an unknown method or output; when training
            begins: a model that is not built, no such layer, no such output.

    Example:
        >>> model, x = asym_keras.shallow_network(3, width=8, seed=0), np.eye(3, dtype="float32")
        >>> model.compile("sgd", "mse")
        >>> record = asym_keras.callbacks.NTGHistory(x, every=2)
        >>> history = model.fit(x, x[:, :1], epochs=4, callbacks=[record], verbose=0)
        >>> record.epochs, record.node_weight_change.shape
        ([1, 3], (2, 8))
    """

    def __init__(
        self,
        x: Any,
        *,
        every: int = 1,
        output: int | str | tuple = 0,
        method: str = "auto",
        layer: str | None = None,
    ):
        super().__init__()
        require_tensorflow("NTGHistory")
        arrays = [x] if hasattr(x, "shape") else tf.nest.flatten(x)
        if not arrays or any(np.shape(array)[:1] == (0,) for array in arrays):
            raise ValueError("NTGHistory: expected at least one example in x, received none.")
        if not is_whole(every, 1):
            raise ValueError(
                f"NTGHistory: expected every to be an integer of at least 1, received {every!r}."
            )
        if output == "all" or not (isinstance(output, (str, tuple)) or is_whole(output, 0)):
            raise ValueError(
                "NTGHistory: expected output to be the index or name of an output, or 'trace', "
                f"received {output!r}."
            )
        if method not in METHODS:
            raise ValueError(f"NTGHistory: expected method in {METHODS}, received {method!r}.")
        self._every, self._layer = int(every), layer
        self._ntg = NTGProbe(x, output=output, method=method)
        self._weights = WeightChange(layer)
        self._begun: keras.Model | None = None
        self._node_changes: list[np.ndarray] = []
        self.epochs: list[int] = []

    @property
    def node_weight_change(self) -> np.ndarray:
        """Weight change of each node at each record, float64 (records, m); (0, 0) at first."""
        return np.stack(self._node_changes) if self._node_changes else np.empty((0, 0))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.model is self._begun:
            return
        if not self.model.built:
            raise ValueError(
                f"NTGHistory: expected a built model, received {self.model.name!r} without "
                "weights. Call it on an example, or give it an Input."
            )
        if self._layer is not None and not hasattr(self.model.get_layer(self._layer), "kernel"):
            raise ValueError(
                f"NTGHistory: expected layer to name one with a kernel, received {self._layer!r}."
            )
        self._ntg.start(self.model)
        self._weights.start(self.model)
        self._begun, self._node_changes, self.epochs = self.model, [], []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = dict.fromkeys(COLUMNS, float("nan"))
        last = (self.params or {}).get("epochs")
        if (epoch + 1) % self._every == 0 or epoch + 1 == last:
            weights = self._weights(self.model)
            self._node_changes.append(weights.pop("node_weight_change"))
            self.epochs.append(epoch)
            row |= weights
            try:
                row |= self._ntg(self.model)
            except ValueError as error:  # all else was refused when training began
                logger.warning("NTGHistory: no NTG at epoch %d, which is NaN: %s", epoch, error)
        if logs is not None:
            logs.update(row)
