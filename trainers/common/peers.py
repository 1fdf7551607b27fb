"""Ends a process that waits for its peers in vain.

    python peers.py PID SECONDS INDEX HOST:PORT...

TensorFlow waits for other workers without a limit and holds the interpreter's lock meanwhile: in
the waiting process no thread runs, and no signal is handled. So this process watches over it. It
ends when its standard input closes, which is when the wait or the waiting process ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

# This is enough: a peer that waits, too, answers at once.
_ANSWER_SECONDS = 2.0
# Where TensorFlow's gRPC looks for a proxy, in this order.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def watch(pid: int, seconds: float, index: int, addresses: list[str]) -> None:
    """Kills `pid` after `seconds`, and says which of `addresses` don't answer.

    Ctrl-C, SIGTERM and SIGHUP kill `pid` at once, since it can't handle them while it waits.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        if select.select([sys.stdin], [], [], seconds)[0]:
            return
        silent = [
            f"worker {i} ({address}: {fault})"
            for i, address in enumerate(addresses)
            if i != index and (fault := _fault(address))
        ]
        told = ", ".join(silent) or "none; each listens, but to another TF_CONFIG, it seems"
        proxy = next((name for name in _PROXIES if os.environ.get(name)), None)
        if proxy and not silent:
            told += f", or {proxy} stands between: then name the hosts in no_proxy"
        message = (
            f"error: --strategy multiworker: expected {len(addresses)} workers to start within "
            f"{seconds:g} seconds, received no answer from: {told}. Start them all at about the "
            "same time, each with its own task index and the same cluster in TF_CONFIG."
        )
    except KeyboardInterrupt:
        message = "\ninterrupted while waiting for the other workers"
    print(message, file=sys.stderr, flush=True)
    os.kill(pid, signal.SIGKILL)


def _fault(address: str) -> str:
    """Why nobody answers at an address; empty if somebody does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS):
            return ""
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
