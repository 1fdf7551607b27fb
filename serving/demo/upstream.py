"""Asks the model server over its REST API, within the demo's limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from serving.demo.settings import Settings

_CONNECT_SECONDS = 5.0
# Servers keep an idle connection longer than this. A POST on a connection that the server has just
# closed would fail, and nothing would repeat it.
_KEEP_ALIVE_SECONDS = 5.0


class Answer(NamedTuple):
    """Status, content type and body of an answer, as the server sent them."""

    status: int
    content_type: str
    body: bytes


class UpstreamError(Exception):
    """The server did not answer. `status` is the HTTP status for that: 502 or 504."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Upstream:
    """The one model server, asked within one event loop."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=settings.timeout, sock_connect=_CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """The server's answer, whatever its status.

        Args:
            method: "GET" or "POST".
            path: From `/v1/` on, encoded as it is sent; the caller has checked it.
            body: JSON of a POST.

        Raises:
            UpstreamError: The server is not reachable, or its answer is late or too long.
        """
        server = self._settings.server
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = URL(server + path, encoded=True)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                chunks = [chunk async for chunk in self._bounded(answer)]
                return Answer(answer.status, answer.content_type, b"".join(chunks))
        except TimeoutError as error:
            message = f"the model server at {server} did not answer within its time"
            raise UpstreamError(504, message) from error
        except aiohttp.ClientError as error:
            message = f"no model server is reachable at {server} ({error})"
            raise UpstreamError(502, message) from error

    async def _bounded(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        limit, received = self._settings.answer_limit, 0
        async for chunk in answer.content.iter_any():
            received += len(chunk)
            if received > limit:
                raise UpstreamError(502, f"the model server's answer is longer than {limit} bytes")
            yield chunk

    async def ask_json(self, path: str) -> Any:
        """The parsed answer to a GET, whatever its status.

        Raises:
            UpstreamError: As for `ask`.
            ValueError: The answer is no JSON.
        """
        return json.loads((await self.ask("GET", path)).body)
