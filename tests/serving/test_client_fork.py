"""A client that was used before its process was forked."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import worker_processes

from serving.client import connect

STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}


@contextlib.contextmanager
def server():
    """Its port, and the address that each request came from: one for each connection."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which keeps connections open

        def do_GET(self):
            asked.append(self.client_address)
            body = json.dumps(STATUS).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = True
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        yield serving.server_address[1], asked
        serving.shutdown()


def in_child(body) -> int:
    """Exit status of a forked process: 0 if `body` ends well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from Python 3.12 on
        child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            body()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_each_process_has_connections_of_its_own():
    with server() as (port, asked), connect(f"http://127.0.0.1:{port}", model="m") as client:

        def twice():
            client.status()
            client.status()

        twice()
        assert [in_child(twice), in_child(lambda: (twice(), client.close()))] == [0, 0]
        twice()
    parent, first, second = asked[0], asked[2], asked[4]
    assert asked == [parent, parent, first, first, second, second, parent, parent]
    assert len({parent, first, second}) == 3


def test_threads_of_a_child_share_one_transport():
    with server() as (port, asked), connect(f"http://127.0.0.1:{port}", model="m") as client:

        def many():
            seen = []
            threads = [
                threading.Thread(target=lambda: seen.append(client._transport)) for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert seen[0] is seen[1] is client._transports.own()
            assert len(client._transports._by_process) == 2

        assert in_child(many) == 0
    assert not asked


GRPC = """
import os, sys, threading
import numpy as np
from client_grpc_server import grpc_server
from client_servers import WEIGHTS, Model
from serving.client import connect

port, busy = int(sys.argv[1]), sys.argv[2] == "busy"
client = connect(f"grpc://127.0.0.1:{port}", model="m", timeout=20)

def right(seed):
    for k in range(20):
        x = np.random.default_rng([seed, k]).normal(size=(1, 4)).astype("f4")
        scores = client.predict(x)["scores"]
        np.testing.assert_allclose(scores, x @ WEIGHTS, rtol=1e-4, atol=1e-5)

right(0)
if busy:  # a call of another thread is under way
    threading.Thread(target=lambda: client.predict(np.zeros((1, 4))), daemon=True).start()
    from serving.client import rpc
    while not rpc._under_way:
        pass
for seed in range(1, 5):
    if not os.fork():
        try:
            right(seed)
            os.write(1, b"right\\n")
        except RuntimeError as error:
            os.write(1, b"refused\\n" if "forked while" in str(error) else str(error).encode())
        finally:
            os._exit(0)
for _ in range(4):
    os.wait()
right(5)
print("parent", flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "children"), [("idle", "right"), ("busy", "refused")])
def test_grpc_in_children(mode, children):
    from client_grpc_server import grpc_server
    from client_servers import Model

    model = Model()
    with grpc_server(model) as port:
        if mode == "busy":
            model.faults += [*[0.0] * 20, 3.0]
        process = worker_processes.start(["-c", GRPC, port, mode])
        [(status, out, errors)] = worker_processes.ended([process], 60)
    assert (status, out.split()) == (0, [children] * 4 + ["parent"]), errors
