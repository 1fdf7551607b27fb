"""The servers of the tests start, fail and end in bounded time."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from client_servers import Model, rest_server
from loopback import loop_thread, refused_port


def test_a_fault_at_start_reaches_the_test():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = rest_server(Model(), port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"):
            server.__enter__()


def test_a_server_may_end_as_soon_as_it_has_started():
    for _ in range(50):
        with rest_server(Model()) as port:
            assert port


def test_a_loop_that_hangs_is_named():
    loops = []

    async def hang():
        loops.append(asyncio.get_running_loop())
        time.sleep(1)

    def hung():
        with loop_thread(seconds=0.1) as run:
            with pytest.raises(TimeoutError):
                run(hang())

    with pytest.raises(TimeoutError, match=r"within 0\.1 s: it hangs"):
        hung()
    while loops[0].is_running():  # until it has slept: nobody else closes it
        time.sleep(0.01)
    loops[0].close()


def test_a_port_that_refuses():
    with refused_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
