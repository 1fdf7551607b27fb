"""What of the package runs on which backend of Keras."""

from __future__ import annotations

import keras


def require_tensorflow(what: str) -> None:
    """Refuses another backend of Keras, by name.

    Args:
        what: the function or command that needs TensorFlow, for the message.

    Raises:
        RuntimeError: Keras runs on JAX, PyTorch or another backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{what}: expected Keras on TensorFlow, received the backend {backend!r}. The layer, "
            "pruning and presets work there; training by flow or descent, the NTG and exports "
            "need TensorFlow: set KERAS_BACKEND=tensorflow before Keras is imported."
        )
