"""Serving with TensorFlow Serving: export, the server, its preview, clients and a demo.

    python -m serving.export RUN --keep 100 --refit --name mnist_gamma0_k100
    python -m serving.export my.keras --name fraud --to saved_models
    python -m serving.serve --models saved_models --preview
    python -m serving.client predict --model mnist_gamma0_k100 --input digit.png

`export_model` is the export in Python. `package` turns a run into a network that takes raw values,
`export` turns it, or any Keras model, into a SavedModel, `serve` starts a server, `client` asks it,
and `demo` shows it in a browser. Packages of the extra `serving` are imported when they are used.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "export_model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported only on use, since most modules of this package need neither Keras nor an export.
    return importlib.import_module(f"{__name__}.export").export_model
