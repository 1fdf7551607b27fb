"""Starts and stops the two front ends on one store."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf
from aiohttp import web

from serving import addresses, commands
from serving.preview.metrics import Metrics
from serving.preview.rest import Rest
from serving.preview.rpc import make_server
from serving.preview.servable import Servable
from serving.preview.store import Store
from serving.preview.warming import warm

logger = logging.getLogger("serving.preview")

_TO_REFUSE = 4  # threads beyond `grpc_max_threads`, which refuse calls while all others work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a preview server runs.

    Attributes:
        host: address of both front ends.
        rest_port, grpc_port: 0 for any free one.
        threads: size of TensorFlow's thread pools. None: the number of cores.
        grpc_max_threads: most gRPC calls at the same time. Further ones are refused.
        timeout: seconds that a request may take to arrive, and then again to run.
        max_bytes: largest size of a request.
        poll_seconds: seconds between two looks for new versions. 0: it looks once, at the start.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    threads: int | None = None
    grpc_max_threads: int = 64
    timeout: float = 30.0
    max_bytes: int = 256 * 2**20
    poll_seconds: float = 1.0


class PreviewServer:
    """A preview of TensorFlow Serving, started and stopped within an event loop.

    Args:
        config: `tensorflow_serving.config.ModelServerConfig`.
        options: addresses and limits.
        reread: function that reads the configuration again. None: it does not change.

    Attributes:
        store: the models.
        rest_port, grpc_port: the bound ports, once started.
    """

    def __init__(self, config: Any, options: Options, reread: Callable[[], Any] | None = None):
        cores = os.cpu_count() or 1
        threads = options.threads or cores
        workers = max(8, 4 * cores)  # 4 times the cores is the model server's default
        self.store = Store(config, lambda path: _load(path, threads), reread)
        metrics = _metrics()
        self.rest_port, self.grpc_port = options.rest_port, options.grpc_port
        self._options = options
        calls = options.grpc_max_threads
        sizes = {"rest": workers, "grpc": calls + _TO_REFUSE}
        self._executors = [ThreadPoolExecutor(size, name) for name, size in sizes.items()]
        limits: dict[str, Any] = {"timeout": options.timeout, "max_bytes": options.max_bytes}
        limits["metrics"] = metrics
        self._runner = Rest(self.store, self._executors[0], **limits).runner()
        self._grpc = make_server(self.store, self._executors[1], **limits, max_calls=calls)

    async def start(self) -> None:
        """Loads the models, then binds the ports.

        Raises:
            RuntimeError: No model could be loaded, or a port is in use (gRPC).
            OSError: A port is in use (REST).
        """
        tf.get_logger().setLevel(logging.ERROR)  # it warns that the TF1 loader is deprecated
        host = addresses.bare(self._options.host)
        self.store.start(self._options.poll_seconds)
        await self._runner.setup()
        site: web.BaseSite = web.TCPSite(self._runner, host, self.rest_port)
        if (
            host == "::" and socket.has_dualstack_ipv6()
        ):  # asyncio alone would not listen on IPv4 then; gRPC does
            every = socket.create_server(
                (host, self.rest_port), family=socket.AF_INET6, dualstack_ipv6=True
            )
            site = web.SockSite(self._runner, every)
        await site.start()
        self.rest_port = self._runner.addresses[0][1]
        self.grpc_port = self._grpc.add_insecure_port(addresses.joined(host, self.grpc_port))
        self._grpc.start()
        logger.warning("This is a preview of TensorFlow Serving, for development and tests only.")

    async def stop(self) -> None:
        """Waits until requests under way have ended, and closes everything."""
        ended = self._grpc.stop(self._options.timeout)
        await self._runner.cleanup()
        await asyncio.to_thread(ended.wait)
        await asyncio.to_thread(self.store.stop)
        for executor in self._executors:
            executor.shutdown(wait=False, cancel_futures=True)


def _metrics() -> Metrics | None:
    try:
        return Metrics()
    except ModuleNotFoundError as error:
        logger.warning("no metrics for Prometheus: %s", error)
        return None


def _load(path: Path, threads: int) -> Servable:
    servable = Servable(path, threads)
    try:
        warm(servable, path)
    except BaseException:
        servable.close()
        raise
    return servable


def serve(
    config: Any,
    options: Options,
    announce: Callable[[PreviewServer], None],
    reread: Callable[[], Any] | None = None,
) -> None:
    """Runs until SIGINT, SIGTERM or SIGHUP.

    Args:
        config: `tensorflow_serving.config.ModelServerConfig`.
        options: addresses and limits.
        announce: is called with the server once it answers.
        reread: function that reads the configuration again, before each look for new versions.
    """

    async def main() -> None:
        stop = asyncio.Event()
        for number in commands.ending_signals():
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = PreviewServer(config, options, reread)
        await server.start()
        announce(server)
        await stop.wait()
        await server.stop()

    asyncio.run(main())
