"""The messages of TensorFlow Serving, without TensorFlow.

The generated modules of tensorflow-serving-api import those of `tensorflow.core`. That imports the
whole of TensorFlow, which takes 2 to 3.5 seconds and 0.5 GB, though a client only packs numbers and
these modules do not need it: below an empty package `tensorflow` they load in 0.15 s. If TensorFlow
is loaded already, they are imported as usual. If it is imported later, it uses the same messages.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator

from serving import extra

_NAMES = {
    "classification": "tensorflow_serving.apis.classification_pb2",
    "metadata": "tensorflow_serving.apis.get_model_metadata_pb2",
    "model_service": "tensorflow_serving.apis.model_service_pb2_grpc",
    "prediction_service": "tensorflow_serving.apis.prediction_service_pb2_grpc",
    "predict": "tensorflow_serving.apis.predict_pb2",
    "regression": "tensorflow_serving.apis.regression_pb2",
    "status": "tensorflow_serving.apis.get_model_status_pb2",
    "tensor": "tensorflow.core.framework.tensor_pb2",
    "types": "tensorflow.core.framework.types_pb2",
}


def load() -> types.SimpleNamespace:
    """The modules of messages and stubs, by short names: `load().predict.PredictRequest()`.

    Raises:
        ModuleNotFoundError: grpcio or tensorflow-serving-api is not installed.
    """
    extra.load("grpc", wanted_by="gRPC")
    with contextlib.nullcontext() if "tensorflow" in sys.modules else _bare_tensorflow():
        modules = {name: extra.load(path, wanted_by="gRPC") for name, path in _NAMES.items()}
    return types.SimpleNamespace(**modules)


@contextlib.contextmanager
def _bare_tensorflow() -> Iterator[None]:
    """Puts an empty package in the place of `tensorflow`; its modules come from the real folder."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        expected = "gRPC: expected the package tensorflow, whose messages it shares, received none."
        raise ModuleNotFoundError(f"{expected} Install it with: pip install tensorflow")
    bare = types.ModuleType("tensorflow")
    bare.__path__ = list(spec.submodule_search_locations)
    before = set(sys.modules)
    sys.modules["tensorflow"] = bare
    try:
        yield
    finally:
        # The modules of messages stay, since protobuf refuses to define a message twice. The
        # packages go, so that a later import of TensorFlow runs the real ones.
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "tensorflow" and not name.endswith("_pb2"):
                del sys.modules[name]
