"""SavedModels in sessions of TensorFlow 1, which is how the model server loads them, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import tensorflow as tf


class SavedModelSession:
    """A SavedModel in a session of its own; use it in a `with` statement, or close it.

    Args:
        folder: holds `saved_model.pb`.
        threads: size of TensorFlow's two thread pools. 0: TensorFlow chooses.

    Attributes:
        meta: the `MetaGraphDef` message.

    Raises:
        OSError: No SavedModel is there.
        Exception: Almost any, where the SavedModel is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], *, threads: int = 0):
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph, config=config)
            try:
                self.meta = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], os.fspath(folder)
                )
            except BaseException:
                self._session.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, fetches: Any, feeds: Mapping[str, Any], options: Any = None) -> Any:
        """Values of the tensors named in `fetches`, in the form of `fetches`."""
        return self._session.run(fetches, feeds, options=options)

    def close(self) -> None:
        """Frees the model. No run may be under way."""
        self._session.close()
