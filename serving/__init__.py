"""Serving with TensorFlow Serving: export, the server, its preview, clients and a demo.

    python -m serving.export RUN --keep 100 --refit --name mnist_gamma0_k100
    python -m serving.export my.keras --name fraud --to saved_models
    python -m serving.serve --models saved_models --preview
    python -m serving.client predict --model mnist_gamma0_k100 --input digit.png

`export_model` is the export in Python. `package` makes of a run a network that takes raw values,
and `export` a SavedModel of it or of any Keras model; `serve` starts a server, `client` asks it,
and `demo` shows it in a browser. Packages of the extra `serving` are imported when they are used.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "export_model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported when it is used: most of what is in this package needs neither Keras nor an export.
    return importlib.import_module(f"{__name__}.export").export_model
