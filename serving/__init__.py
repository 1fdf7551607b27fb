"""Serving with TensorFlow Serving: export, the server, its preview, clients and a demo.

    python -m serving.export RUN --keep 100 --refit --name mnist_gamma0_k100
    python -m serving.export my.keras --name fraud --to saved_models
    python -m serving.serve --models saved_models --preview
    python -m serving.client predict --model mnist_gamma0_k100 --input digit.png

`export_model` is the export in Python. `package` makes of a run a network that takes raw values,
and `export` a SavedModel of it or of any Keras model; `serve` starts a server, `client` asks it,
and `demo` shows it in a browser. Packages of the extra `serving` are imported when they are used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.export import export_model as export_model


def __getattr__(name: str) -> Any:
    if name == "export_model":  # imported when it is used: `--help` of a command needs it not
        from serving.export import export_model

        return export_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
