"""The gRPC one of the small servers for the clients' tests; see `client_servers`."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from concurrent import futures

import numpy as np
from client_servers import MODEL, SIGNATURES, VERSION, Refusal

from serving.client import protos as client_protos

_NUMPY = {1: np.float32, 4: np.uint8}  # DT_FLOAT, DT_UINT8


class _Answers:
    """Both services, TensorProto read and written by hand."""

    def __init__(self, model, pool):
        import grpc

        self._grpc = grpc
        self._pool = threading.Semaphore(pool)
        self.refused = 0
        self._model = model
        self._protos = client_protos.load()

    def _receive(self, call, request, context, arrays=None):
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        headers = dict(context.invocation_metadata())
        self._model.receive(
            call, headers, arrays, spec=(spec.name, version, spec.version_label or None)
        )

    def _guarded(self, context, body):
        # TensorFlow Serving refuses what its pool of threads has no room for.
        if not self._pool.acquire(blocking=False):
            self.refused += 1
            code = self._grpc.StatusCode.RESOURCE_EXHAUSTED
            context.abort(code, "Server Threadpool Exhausted")
        try:
            return body()
        except Refusal as refusal:
            context.abort(self._grpc.StatusCode[refusal.code], refusal.text)
        finally:
            self._pool.release()

    def Predict(self, request, context):
        def body():
            arrays = {
                alias: np.frombuffer(t.tensor_content, _NUMPY[t.dtype]).reshape(
                    [d.size for d in t.tensor_shape.dim]
                )
                for alias, t in request.inputs.items()
            }
            self._receive("predict", request, context, arrays)
            answer = self._protos.predict.PredictResponse()
            outputs = self._model.predict(request.model_spec.signature_name, arrays)
            for alias, array in outputs.items():
                tensor = answer.outputs[alias]
                for n in array.shape:
                    tensor.tensor_shape.dim.add(size=n)
                if array.dtype == np.float32:
                    tensor.dtype = 1
                    tensor.float_val.extend(array.ravel().tolist())
                else:
                    tensor.dtype = 9
                    tensor.int64_val.extend(array.ravel().tolist())
            return answer

        return self._guarded(context, body)

    def Classify(self, request, context):
        def body():
            self._receive("classify", request, context, request)
            answer = self._protos.classification.ClassificationResponse()
            for example in request.input.example_list.examples:
                row = answer.result.classifications.add()
                row.classes.add(label="a", score=0.25)
                values = example.features.feature["inputs"].float_list.value
                row.classes.add(label="b", score=values[0])
            return answer

        return self._guarded(context, body)

    def Regress(self, request, context):
        def body():
            self._receive("regress", request, context, request)
            answer = self._protos.regression.RegressionResponse()
            for example in request.input.example_list.examples:
                values = example.features.feature["inputs"].float_list.value
                answer.result.regressions.add(value=sum(values))
            return answer

        return self._guarded(context, body)

    def GetModelMetadata(self, request, context):
        def body():
            assert list(request.metadata_field) == ["signature_def"]
            self._receive("metadata", request, context)
            types, module = self._protos.types, self._protos.metadata
            signatures = module.SignatureDefMap()
            for name, (inputs, outputs, method) in SIGNATURES.items():
                definition = signatures.signature_def[name]
                definition.method_name = method
                for side, specs in ((definition.inputs, inputs), (definition.outputs, outputs)):
                    for alias, (dtype, shape) in specs.items():
                        side[alias].dtype = types.DataType.Value(dtype)
                        for n in shape:
                            side[alias].tensor_shape.dim.add(size=n)
            answer = module.GetModelMetadataResponse()
            answer.model_spec.name = MODEL
            answer.model_spec.version.value = VERSION
            answer.metadata["signature_def"].Pack(signatures)
            return answer

        return self._guarded(context, body)

    def GetModelStatus(self, request, context):
        def body():
            self._receive("status", request, context)
            answer = self._protos.status.GetModelStatusResponse()
            answer.model_version_status.add(version=VERSION, state=30)
            return answer

        return self._guarded(context, body)


@contextlib.contextmanager
def grpc_server(model, *, port: int = 0, certificate=None, pool: int = 64):
    """Serves `model` over gRPC; gives the port. Refuses more than `pool` calls at once."""
    import grpc

    protos = client_protos.load()
    server = grpc.server(
        futures.ThreadPoolExecutor(pool + 8),  # some threads to refuse with
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    answers = _Answers(model, pool)
    for add in (
        protos.prediction_service.add_PredictionServiceServicer_to_server,
        protos.model_service.add_ModelServiceServicer_to_server,
    ):
        add(_Rest(answers), server)
    if certificate:
        chain, key = (path.read_bytes() for path in certificate)
        credentials = grpc.ssl_server_credentials([(key, chain)])
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    else:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        model.over.set()
        server.stop(0).wait()


@contextlib.contextmanager
def breaking_server(how: str):
    """A port whose connections break once a request is there, and a list with an item for each.

    Args:
        how: "close"; "reset", as when a server is killed; "goaway", as when it is stopped; "early":
            the connection closes before anything is read.
    """
    requests: list = []
    settings, acknowledged = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
    goaway = b"\0\0\x08\7\0\0\0\0\0" + struct.pack(">II", 1, 0)

    def answer(connection):
        stream = connection.makefile("rb")
        stream.read(24)  # HTTP/2's preface
        connection.sendall(settings + acknowledged)
        while len(head := stream.read(9)) == 9:
            stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == 0 and head[4] & 1:  # the last DATA of a request
                requests.append(head)
                if how == "goaway":
                    connection.sendall(goaway)
                if how == "reset":
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return

    def serve():
        with contextlib.suppress(OSError):  # the listener is closed in the end
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    if how == "early":
                        requests.append(None)
                    else:
                        answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], requests


class _Rest:
    """`answers`, and nothing for the methods that it has not."""

    def __init__(self, answers):
        self._answers = answers

    def __getattr__(self, name):
        return getattr(self._answers, name, None)
