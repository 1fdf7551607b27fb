"""Connections over gRPC that break off within a request, and those that do not come about."""

from __future__ import annotations

import pytest
from client_grpc_server import breaking_server
from loopback import refused_port

from serving.client import ServingError, connect, rpc

SOON = 5.0  # seconds


@pytest.mark.parametrize("how", ["close", "reset", "goaway"])
def test_a_connection_that_breaks_off_is_not_tried_again(how):
    """The request may have run, and may have ended the server: it is sent once."""
    with breaking_server(how) as (port, requests):
        with connect(f"grpc://127.0.0.1:{port}", model="m", timeout=SOON) as client:
            with pytest.raises(ServingError, match="UNAVAILABLE") as error:
                client.status()
    assert len(requests) == 1
    assert not error.value.retryable


def test_a_connection_that_does_not_come_about_may_be_tried_again():
    with breaking_server("early") as (early, _), refused_port() as refused:
        for port in (early, refused):
            with connect(f"grpc://127.0.0.1:{port}", model="m", timeout=SOON, retries=0) as client:
                with pytest.raises(ServingError, match="UNAVAILABLE: failed to connect") as error:
                    client.status()
            assert error.value.retryable


@pytest.mark.parametrize(
    ("details", "again"),
    [
        ("Socket closed", False),
        ("recvmsg:Connection reset by peer", False),
        ("GOAWAY received", False),
        ("Broken pipe", False),
        ("failed to connect to all addresses; last error: UNAVAILABLE: Socket closed", True),
        ("errors resolving m.org:1", True),
        ("Servable is loading", True),
    ],
)
def test_words_of_broken_connections(details, again):
    """Those of other versions of gRPC, too."""
    assert (rpc._BROKEN.match(details) is None) is again
