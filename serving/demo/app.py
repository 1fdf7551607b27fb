"""The demo's web application: its page, the list of models, and the way to the model server.

TF Serving sends no CORS headers, so a browser does not let the page's script ask it. Hence the page
asks this server, which passes on `/v1/models/...`, and nothing else, to the one model server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from serving.demo.catalogue import catalogue
from serving.demo.settings import NAME, Settings
from serving.demo.upstream import Upstream, UpstreamError

STATIC = Path(__file__).with_name("static")

_MODEL = rf"/v1/models/{NAME}(?:/versions/\d{{1,19}}|/labels/\w{{1,100}})?"
_ALLOWED = {
    "GET": re.compile(rf"{_MODEL}(?:/metadata)?", re.ASCII),
    "POST": re.compile(rf"{_MODEL}:(?:predict|classify|regress)", re.ASCII),
}
# The page needs nothing from elsewhere, and these headers make the browser refuse anything else.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_SETTINGS = web.AppKey("settings", Settings)
_UPSTREAM = web.AppKey("upstream", Upstream)


def make_app(settings: Settings) -> web.Application:
    """The aiohttp application: `/`, its files, `/models.json`, and `/v1/models/...` passed on."""
    app = web.Application(client_max_size=settings.body_limit)
    app[_SETTINGS] = settings
    app.cleanup_ctx.append(_open_upstream)
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/", _page)
    app.router.add_get("/models.json", _models)
    app.router.add_static("/static", STATIC)
    app.router.add_route("*", "/v1/{rest:.*}", _pass_on)
    return app


async def _open_upstream(app: web.Application) -> AsyncIterator[None]:
    app[_UPSTREAM] = Upstream(app[_SETTINGS])
    async with contextlib.aclosing(app[_UPSTREAM]):
        yield


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


async def _page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


async def _models(request: web.Request) -> web.Response:
    return web.json_response(await catalogue(request.app[_SETTINGS], request.app[_UPSTREAM]))


async def _pass_on(request: web.Request) -> web.Response:
    # The path goes on as it came, since a decoded one could mean something else to the server.
    path = request.raw_path
    allowed = _ALLOWED.get(request.method)
    if allowed is None or not allowed.fullmatch(path):
        return _error(400, f"Malformed request: {request.method} {path}")
    try:
        body = await _body(request) if request.method == "POST" else None
        start = time.perf_counter()
        answer = await request.app[_UPSTREAM].ask(request.method, path, body)
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"expected a body of at most {request.app[_SETTINGS].body_limit} bytes")
    except TimeoutError:
        return _error(408, "the request's body did not arrive in time")
    except (aiohttp.ClientPayloadError, web.RequestPayloadError) as error:
        return _error(400, f"the request's body cannot be read ({error})")
    except UpstreamError as error:
        return _error(error.status, str(error))
    milliseconds = 1e3 * (time.perf_counter() - start)
    headers = {"Server-Timing": f"server;dur={milliseconds:.3f}"}
    status, content_type, content = answer
    return web.Response(status=status, content_type=content_type, body=content, headers=headers)


async def _body(request: web.Request) -> bytes:
    return await asyncio.wait_for(request.read(), request.app[_SETTINGS].timeout)


def _error(status: int, message: str) -> web.Response:
    """An error in the form of TF Serving's own."""
    return web.json_response({"error": message}, status=status)
