"""Calls a model behind TensorFlow Serving, over REST or gRPC.

    from serving.client import connect

    with connect("http://localhost:8501", model="mnist_gamma0_k100") as client:
        answers = client.predict(images)

On the command line: `python -m serving.client predict|status|metadata|bench --help`.

Names are imported when they are first used, so that `--help` of the commands is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

_MODULE_OF = {
    "Client": "client",
    "ModelVersion": "status",
    "ServingError": "errors",
    "connect": "client",
}

__all__ = [*_MODULE_OF]

if TYPE_CHECKING:
    from serving.client.client import Client as Client
    from serving.client.client import connect as connect
    from serving.client.errors import ServingError as ServingError
    from serving.client.status import ModelVersion as ModelVersion


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
