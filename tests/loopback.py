"""Servers of the tests on this machine: an event loop in a thread, a port that refuses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


@contextlib.contextmanager
def loop_thread(seconds: float = 10) -> Iterator[Callable[[Coroutine], Any]]:
    """A function that runs a coroutine in the loop: it gives its result and raises its fault.

    The loop is stopped from within, while it runs: so it can't miss the stop.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(seconds)

    try:
        yield run
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError(f"expected the server's loop to stop within {seconds:g} s: it hangs")
        loop.close()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port on which nothing listens, and that nobody else gets for as long as this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
