"""Small servers for the clients' tests: one known model, faults on demand, a log of requests.

They speak TF Serving's REST and gRPC, and are far simpler than the preview server on purpose: what
a client sends is looked at here without any code of `serving`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from pathlib import Path

import numpy as np
from loopback import loop_thread

MODEL = "m"
WEIGHTS = np.array([[1, -1, 0.5], [0.25, 2, 0], [0, 0, 1], [-3, 1, 1]], np.float32)  # d = 4, K = 3
VERSION = 7
SIGNATURES = {
    "serving_default": (
        {"inputs": ("DT_FLOAT", [-1, 4])},
        {"scores": ("DT_FLOAT", [-1, 3]), "classes": ("DT_INT64", [-1])},
        "tensorflow/serving/predict",
    ),
    "features": (
        {"inputs": ("DT_FLOAT", [-1, 4])},
        {"features": ("DT_FLOAT", [-1, 3])},
        "tensorflow/serving/predict",
    ),
    "serving_uint8": (
        {"inputs": ("DT_UINT8", [-1, 4])},
        {"features": ("DT_FLOAT", [-1, 3])},
        "tensorflow/serving/predict",
    ),
    "two": (
        {"a": ("DT_FLOAT", [-1, 4]), "b": ("DT_FLOAT", [-1, 4])},
        {"features": ("DT_FLOAT", [-1, 3])},
        "tensorflow/serving/predict",
    ),
    "__saved_model_init_op": ({}, {"init": ("DT_INVALID", [])}, ""),
}


class Refusal(Exception):
    """An answer that is an error: the name of a gRPC status, and a text."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code
        self.text = text


class Model:
    """What both servers answer with.

    Attributes:
        faults: answers to the next requests for predictions: ("CODE", "text") or seconds to wait.
        requests: what came: (call, headers, arrays).
        over: set when its server ends, and with it all waits.
    """

    def __init__(self):
        self.faults: list = []
        self.requests: list = []
        self.over = threading.Event()

    def calls(self, name: str) -> list:
        return [request for request in self.requests if request[0] == name]

    def receive(self, call, headers, arrays=None, *, spec=None) -> None:
        self.requests.append((call, dict(headers), arrays))
        if spec is not None:
            name, version, label = spec
            if name != MODEL or version not in (None, VERSION):
                raise Refusal("NOT_FOUND", f"Servable not found for request: Latest({name})")
            if label not in (None, "stable") and call != "status":  # which looks at no label
                raise Refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        if call == "predict" and self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, tuple):
                raise Refusal(*fault)
            self.over.wait(fault)

    def predict(self, signature: str, arrays) -> dict:
        x = arrays["a"] + arrays["b"] if signature == "two" else arrays["inputs"]
        if x.ndim != 2 or x.shape[1] != 4:
            raise Refusal("INVALID_ARGUMENT", f"Matrix size-incompatible: In[0]: {x.shape}")
        with np.errstate(invalid="ignore"):
            scores = x.astype(np.float32) @ WEIGHTS
        if signature == "serving_default":
            return {"scores": scores, "classes": scores.argmax(axis=1)}
        return {"features": scores}


# --- REST

_STATUS = {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400, "UNAVAILABLE": 503, "INTERNAL": 500}


def _metadata_json() -> dict:
    def tensors(specs):
        return {
            alias: {
                "dtype": dtype,
                "tensor_shape": {
                    "dim": [{"size": str(n), "name": ""} for n in shape],
                    "unknown_rank": False,
                },
                "name": f"{alias}:0",
            }
            for alias, (dtype, shape) in specs.items()
        }

    definitions = {
        name: {"inputs": tensors(i), "outputs": tensors(o), "method_name": method}
        for name, (i, o, method) in SIGNATURES.items()
    }
    return {
        "model_spec": {"name": MODEL, "signature_name": "", "version": str(VERSION)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _rest_app(model: Model):
    from aiohttp import web

    async def answer(request):
        parts = request.rel_url.raw_path.split("/")[3:]
        name, _, verb = parts[-1].partition(":")
        parts[-1] = name
        call = verb or ("metadata" if parts[-1] == "metadata" else "status")
        version = int(parts[2]) if parts[1:2] == ["versions"] else None
        label = parts[2] if parts[1:2] == ["labels"] else None
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        return await asyncio.to_thread(
            reply, call, request.headers, body, (parts[0], version, label)
        )

    def reply(call, headers, body, spec):
        try:
            model.receive(call, headers, body, spec=spec)
            return web.json_response(content(call, body))
        except Refusal as refusal:
            if refusal.text.startswith("<"):  # as a proxy says it
                return web.Response(text=refusal.text, status=_STATUS[refusal.code])
            return web.json_response({"error": refusal.text}, status=_STATUS[refusal.code])

    def content(call, body):
        if call == "status":
            state = {"version": str(VERSION), "state": "AVAILABLE"}
            state["status"] = {"error_code": "OK", "error_message": ""}
            return {"model_version_status": [state]}
        if call == "metadata":
            return _metadata_json()
        if call == "classify":
            return {"results": [[["a", 0.25], ["b", e["inputs"][0]]] for e in body["examples"]]}
        if call == "regress":
            return {"results": [sum(e["inputs"]) for e in body["examples"]]}
        name = body["signature_name"]
        dtypes = {"DT_FLOAT": np.float32, "DT_UINT8": np.uint8}
        arrays = {
            alias: np.array(value, dtypes[SIGNATURES[name][0][alias][0]])
            for alias, value in body["inputs"].items()
        }
        outputs = {alias: a.tolist() for alias, a in model.predict(name, arrays).items()}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


@contextlib.contextmanager
def rest_server(model: Model, *, port: int = 0, certificate: tuple[Path, Path] | None = None):
    """Serves `model` over REST; gives the port."""
    import ssl

    from aiohttp import web

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        return runner.addresses[0][1]

    with loop_thread() as run:
        runner = web.AppRunner(_rest_app(model), shutdown_timeout=0.1)
        try:
            yield run(start())
        finally:
            model.over.set()
            run(runner.cleanup())


# --- a certificate of our own


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key for localhost and 127.0.0.1, by openssl."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
