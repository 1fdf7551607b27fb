"""Sends prepared requests with as little work as possible, so that the server is measured.

Bodies are made beforehand, and answers are not parsed. REST goes through aiohttp, which takes
0.08 ms of processor time for a request; httpx takes 0.3 to 1.5 ms, and the server of a small model
0.3 ms.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from serving import extra
from serving.client import json_tensors, protos, rpc
from serving.client.endpoint import Endpoint
from serving.client.rest import model_path, tls_context
from serving.codes import code_of_status

Send = Callable[[float], Awaitable[str]]  # timeout in seconds -> "OK", or the code of the error

OK = "OK"
_CHANNELS = 8  # many clients would wait for each other on one HTTP/2 connection


@contextlib.asynccontextmanager
async def sender(
    endpoint: Endpoint,
    batches: Sequence[Mapping[str, npt.NDArray]],
    *,
    signature: str,
    connections: int,
) -> AsyncIterator[Send]:
    """Yields a function that sends the next of `batches`, in a circle, and returns a code."""
    if endpoint.is_rest:
        bodies = [json_tensors.encode_request(batch, signature=signature) for batch in batches]
        context = _rest(endpoint, bodies, connections)
    else:
        messages = protos.load()
        bodies = [
            rpc.predict_request(messages, endpoint, batch, signature=signature).SerializeToString()
            for batch in batches
        ]
        context = _grpc(endpoint, bodies, connections)
    async with context as send:
        yield send


@contextlib.asynccontextmanager
async def _rest(endpoint: Endpoint, bodies: list[bytes], connections: int) -> AsyncIterator[Send]:
    aiohttp = extra.load("aiohttp", wanted_by="bench")
    url = f"{endpoint.scheme}://{endpoint.target}{model_path(endpoint)}:predict"
    secure: Any = tls_context(endpoint) if endpoint.is_secure else True
    connector = aiohttp.TCPConnector(limit=connections, ssl=secure)
    headers = {"content-type": "application/json", **endpoint.headers}
    turn = itertools.cycle(bodies)
    from yarl import URL

    target = URL(url, encoded=True)  # the model's name is quoted already
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def send(timeout: float) -> str:
            limit = aiohttp.ClientTimeout(total=timeout)
            try:
                async with session.post(
                    target, data=next(turn), timeout=limit, proxy=endpoint.proxy
                ) as answer:
                    await answer.read()
                    return OK if answer.status == 200 else code_of_status(answer.status)
            except TimeoutError:
                return "DEADLINE_EXCEEDED"
            except aiohttp.ClientError:
                return "UNAVAILABLE"

        yield send


@contextlib.asynccontextmanager
async def _grpc(endpoint: Endpoint, bodies: list[bytes], connections: int) -> AsyncIterator[Send]:
    import grpc

    options = [*rpc.channel_options(endpoint), ("grpc.use_local_subchannel_pool", 1)]
    turn = itertools.cycle(bodies)
    metadata = tuple(endpoint.headers.items())
    async with contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(min(connections, _CHANNELS)):
            if endpoint.is_secure:
                credentials = grpc.ssl_channel_credentials(endpoint.authorities())
                channel = grpc.aio.secure_channel(endpoint.target, credentials, options)
            else:
                channel = grpc.aio.insecure_channel(endpoint.target, options)
            await stack.enter_async_context(channel)
            # Without serializers: bytes in, bytes out.
            calls.append(channel.unary_unary("/tensorflow.serving.PredictionService/Predict"))
        next_call = itertools.cycle(calls)

        async def send(timeout: float) -> str:
            try:
                await next(next_call)(next(turn), timeout=timeout, metadata=metadata)
                return OK
            except grpc.aio.AioRpcError as error:
                return error.code().name

        yield send
