"""The client behind a gateway: what it asks again, and what it tells of another's answers."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from serving.client import ModelVersion, ServingError, connect

BODY = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}'
RIGHT = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
WRONG = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
MOVED = b"HTTP/1.1 308 Moved\r\nlocation: https://m.org/\r\ncontent-length: 0\r\n\r\n"


@contextlib.contextmanager
def client_of(*answers, **options):
    """A client of a server that gives one answer to each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with connect(url, model="m", **options) as client:
            yield client


def test_a_gateway_whose_server_restarts_is_tried_again():
    with client_of(WRONG, RIGHT) as client:
        assert client.status() == [ModelVersion(1, "AVAILABLE", "OK", "")]


def test_a_gateway_that_stays_without_its_server_is_unavailable():
    with client_of(WRONG, retries=0) as client:
        with pytest.raises(ServingError, match="UNAVAILABLE: HTTP status 502 <html>"):
            client.status()


def test_a_redirection_says_where_to():
    with client_of(MOVED) as client:
        with pytest.raises(ServingError, match=r"status 308 leads to https://m\.org/; ask"):
            client.status()
