"""The REST front end: TF Serving's paths, bodies and errors, on aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TypeAlias
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from serving.preview import core, describe, json_in, json_out
from serving.preview.errors import ServingError, invalid
from serving.preview.metrics import PATH, Metrics
from serving.preview.store import Store
from serving.versions import MAX_VERSION

logger = logging.getLogger("serving.preview")

Spec: TypeAlias = tuple[str, int | None, str | None]  # a model's name, version and label

SERVER = "asym_keras-preview"
# Bodies that are larger than this, or of unknown size, take turns: at most two are read at the same
# time, since a body takes ten times its size in memory while it becomes numbers.
_LARGE = 8 * 2**20
_LARGE_AT_ONCE = 2
_MODEL = (
    r"(?i:/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<number>[0-9]+)|/labels/(?P<label>[^/:]+))?)"
)
_CALL = re.compile(_MODEL + ":(?P<method>classify|regress|predict)")
# As in the server, the path may end in "metadata" in any letter case, but only "/metadata" in lower
# case gives the metadata. All others give the status.
_FACTS = re.compile(_MODEL + "(?P<last>/(?i:metadata))?")
_NOT_FOUND = "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>"


class Rest:
    """Answers requests from a store.

    Args:
        store: the models.
        executor: threads that parse requests, run them and write answers.
        timeout: seconds that a client may take to send a request, and again a run to answer it.
        max_bytes: largest size of a body, unpacked.
        metrics: counts the requests. None: they are not counted, and there is no page of metrics.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        *,
        timeout: float,
        max_bytes: int,
        metrics: Metrics | None = None,
    ):
        self._store = store
        self._metrics = metrics
        self._executor = executor
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    def runner(self) -> web.AppRunner:
        """Returns the runner that starts and stops the front end.

        It closes connections that send no whole request in time.
        """
        app = web.Application(client_max_size=self._max_bytes)
        app.router.add_route("*", "/{path:.*}", self._respond)
        return web.AppRunner(
            app,
            auto_decompress=False,  # aiohttp would refuse codings that TF Serving ignores
            access_log=None,
            keepalive_timeout=self._timeout,
            lingering_time=min(self._timeout, 10.0),
            shutdown_timeout=self._timeout,
        )

    async def _respond(self, request: web.Request) -> web.Response:
        path = request.raw_path
        if path == PATH and self._metrics:
            return _response(200, self._metrics.page(), content_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return _response(404, _NOT_FOUND, content_type="text/html", close=True)
        try:
            return _response(200, await self._answer(request, path))
        except ServingError as error:
            return _error(error.http_status, error.message)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"Body is larger than {self._max_bytes} bytes", close=True)
        except TimeoutError:
            return _error(408, f"Body did not come within {self._timeout} seconds", close=True)
        except (web.RequestPayloadError, HttpProcessingError) as error:
            return _error(400, f"Body can't be read: {error}", close=True)
        except ConnectionError:
            raise  # the client went away
        except Exception as error:  # an error of one request must not stop the server
            logger.exception("%s %s failed", request.method, path)
            return _error(500, f"{type(error).__name__}: {error}")

    async def _answer(self, request: web.Request, path: str) -> str:
        if request.method == "OPTIONS":
            raise invalid("")
        if request.method == "POST" and (match := _CALL.fullmatch(path)):
            length = request.content_length
            if (length or 0) > self._max_bytes:
                raise web.HTTPRequestEntityTooLarge(self._max_bytes, length or 0)
            large = length is None or length > _LARGE or "Content-Encoding" in request.headers
            spec = _spec(match)
            async with self._large if large else contextlib.nullcontext():
                with self._counted(spec[0], match["method"]):
                    return await self._call(request, spec, match["method"])
        if request.method == "GET" and path.lower() == "/v1/models":
            raise invalid("Missing model name in request.")
        if request.method == "GET" and (match := _FACTS.fullmatch(path)):
            name, number, label = _spec(match)
            if match["last"] == "/metadata":
                with self._store.lease(name, number, label) as version:
                    return json.dumps(describe.metadata_json(version), indent=1)
            status = describe.as_json(describe.status(self._store, name, number))
            return json.dumps(status, indent=1)
        raise invalid(f"Malformed request: {request.method} {path}")

    @contextlib.contextmanager
    def _counted(self, model: str, method: str) -> Iterator[None]:
        start, code = time.perf_counter(), "OK"
        try:
            yield
        except ServingError as error:
            code = error.code
            raise
        except BaseException:
            code = "UNKNOWN"
            raise
        finally:
            if self._metrics:
                seconds = time.perf_counter() - start
                self._metrics.count(model, code, api=method, entrypoint="REST", seconds=seconds)

    async def _call(self, request: web.Request, spec: Spec, method: str) -> str:
        body = await asyncio.wait_for(request.read(), self._timeout)
        function = self._predict if method == "predict" else self._infer
        loop = asyncio.get_running_loop()
        if "gzip" in request.headers.get("Content-Encoding", ""):
            body = await loop.run_in_executor(self._executor, _unpacked, body, self._max_bytes)
        call = loop.run_in_executor(self._executor, function, spec, body, method)
        try:
            return await asyncio.wait_for(call, self._timeout)
        except TimeoutError as error:
            problem = "Timed out waiting for notification"
            raise ServingError("DEADLINE_EXCEEDED", problem) from error

    def _predict(self, spec: Spec, body: bytes, _: str) -> str:
        document = json_in.parse(body)  # before it looks for the model, as TF Serving does
        name = document.get("signature_name") or core.DEFAULT_SIGNATURE
        with self._store.lease(*spec) as version:
            signature = version.servable.signatures.get(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            if not signature.inputs:
                raise invalid(f"Failed to get input map for signature: {name}")
            inputs, by_row = json_in.to_inputs(document, signature.inputs)
            outputs = core.predict(version.servable, name, inputs, timeout=self._timeout)
        return json_out.predictions(outputs) if by_row else json_out.columns(outputs)

    def _infer(self, spec: Spec, body: bytes, method: str) -> str:
        document = json_in.parse(body)
        examples = json_in.to_examples(document)
        signature_name = document.get("signature_name", "")
        with self._store.lease(*spec) as version:
            if method == "classify":
                result = core.classify(version.servable, signature_name, examples, self._timeout)
                return json_out.classifications(result)
            result = core.regress(version.servable, signature_name, examples, self._timeout)
            return json_out.regressions(result)


def _unpacked(body: bytes, limit: int) -> bytes:
    """The content of a body in gzip, of at most `limit` bytes.

    Without the limit a small body could unpack to one that fills all memory.
    """
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # accepts gzip only
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise web.RequestPayloadError(f"it is no gzip: {error}") from error
    if len(content) > limit:
        raise web.HTTPRequestEntityTooLarge(limit, len(content))
    if not unpacker.eof:
        raise web.RequestPayloadError("it is gzip that ends too early")
    return content


def _spec(match: re.Match[str]) -> Spec:
    """Name, version and label in the path of a URL.

    The name is only compared with the names of the models, so it may hold dots and slashes.
    """
    number = int(match["number"]) if match["number"] else None
    if number is not None and number > MAX_VERSION:
        raise invalid("")  # TF Serving answers with an empty body
    label = unquote(match["label"]) if match["label"] else None
    return unquote(match["name"]), number, label


def _error(status: int, message: str, *, close: bool = False) -> web.Response:
    text = json.dumps({"error": message}, ensure_ascii=False, indent=4) if message else ""
    return _response(status, text, close=close)


def _response(
    status: int, text: str, *, content_type: str = "application/json", close: bool = False
) -> web.Response:
    body, headers = text.encode("utf-8", "surrogateescape"), {"Server": SERVER}
    response = web.Response(status=status, body=body, content_type=content_type, headers=headers)
    if close:
        response.force_close()
    return response
