"""A stand-in for TF Serving's REST server, and aiohttp applications run beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from aiohttp import web
from loopback import loop_thread

PIXELS = 784
WEIGHTS = np.random.default_rng(0).normal(size=(PIXELS, 10)) / PIXELS


def scores(pixels, *, sign: int = 1) -> np.ndarray:
    """What the stand-in answers: a fixed linear map of the pixels."""
    return sign * np.asarray(pixels, float) @ WEIGHTS


class FakeServing:
    """Models by name, each with its sign; keeps what it was asked, and can misbehave.

    Attributes:
        asked: method, path, headers and body of each request.
        state: of version 3 of every model; version 2 is always END.
        delay: seconds before each answer.
        instead: makes the answer to `:predict` where it is not None.
    """

    def __init__(self, **signs: int):
        self.signs = signs
        self.asked: list[tuple[str, str, dict, bytes]] = []
        self.state = "AVAILABLE"
        self.delay = 0.0
        self.instead: Callable[[], web.Response] | None = None
        self.dim = PIXELS

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/v1/models/{name}", self._status)
        app.router.add_get("/v1/models/{name}/metadata", self._metadata)
        app.router.add_post("/v1/models/{name}:predict", self._predict)
        return app

    def bodies(self) -> list[dict]:
        """Parsed bodies of the POSTs."""
        return [json.loads(body) for method, _, _, body in self.asked if method == "POST"]

    def drawing(self, name: str) -> np.ndarray:
        """Pixels `(784,)` of the last drawing that a model was asked about."""
        path = f"/v1/models/{name}:predict"
        body = next(body for _, asked, _, body in reversed(self.asked) if asked == path)
        (row,) = json.loads(body)["instances"]
        return np.array(row)

    async def _heard(self, request: web.Request) -> web.Response | None:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        await asyncio.sleep(self.delay)
        name = request.match_info["name"]
        if name in self.signs:
            return None
        message = f"Servable not found for request: Latest({name})"
        return web.json_response({"error": message}, status=404)

    async def _status(self, request: web.Request) -> web.Response:
        fault = await self._heard(request)
        status = {"error_code": "OK", "error_message": ""}
        versions = [
            {"version": version, "state": state, "status": status}
            for version, state in (("3", self.state), ("2", "END"))
        ]
        return fault or web.json_response({"model_version_status": versions})

    async def _metadata(self, request: web.Request) -> web.Response:
        fault = await self._heard(request)
        signatures = {
            "serving_default": {"inputs": {"inputs": _tensor(self.dim)}},
            "features": {"outputs": {"features": _tensor(50)}},
        }
        content = {"metadata": {"signature_def": {"signature_def": signatures}}}
        return fault or web.json_response(content)

    async def _predict(self, request: web.Request) -> web.Response:
        fault = await self._heard(request)
        if fault or self.instead:
            return fault or self.instead()
        sign = self.signs[request.match_info["name"]]
        rows = scores(self.bodies()[-1]["instances"], sign=sign)
        predictions = [{"scores": list(row), "classes": int(row.argmax())} for row in rows]
        return web.json_response({"predictions": predictions})


def _tensor(columns: int) -> dict:
    return {"tensor_shape": {"dim": [{"size": "-1"}, {"size": str(columns)}]}}


@contextlib.contextmanager
def running(app: web.Application, port: int = 0) -> Iterator[str]:
    """The URL of `app`, served on loopback by a thread of its own for as long as this lasts."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        return runner.addresses[0][1]

    with loop_thread() as run:
        try:
            yield f"http://127.0.0.1:{run(start())}"
        finally:
            run(runner.cleanup())


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def write_model(folder: Path, name: str, *, kept: int = 50, version: int = 3, **changes) -> None:
    """A version's folder as an export leaves it, as far as the demo reads it."""
    card = {
        "name": name,
        "task": "classification",
        "title": f"MNIST, {kept} nodes",
        "inputs": {"kind": "image", "dim": PIXELS, "shape": [28, 28], "low": 0, "high": 255},
        "outputs": {"classes": [str(k) for k in range(10)], "target": None},
        "kept": kept,
        "width": 2000,
        "metrics": {"pruned": {"test_accuracy": 0.75}, "refit": {"test_accuracy": 0.82}},
        **changes,
    }
    place = folder / name / str(version)
    (place / "variables").mkdir(parents=True)
    (place / "assets.extra").mkdir()
    (place / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (place / "saved_model.pb").write_bytes(bytes(1000 * kept))
    (place / "variables" / "variables.index").write_bytes(bytes(500))
    (place / "assets.extra" / "tf_serving_warmup_requests").write_bytes(bytes(9999))
