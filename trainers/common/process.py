"""What a process does first: sets up threads, logging and signals, and ends with its parent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

from asym_keras.streams import open_closed_streams

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def prepare_process() -> None:
    """Logs to stderr, with TensorFlow's warnings only, and makes SIGTERM act as Ctrl-C does.

    Requests to this machine go past proxies.
    """
    open_closed_streams()
    _spare_loopback_the_proxy()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    handler = BesideBars(sys.stderr)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)


def _spare_loopback_the_proxy() -> None:
    """Keeps KerasTuner's and TensorFlow's gRPC from calling this machine through a proxy.

    They read `no_grpc_proxy` or `no_proxy`, in lower case, when they connect.
    """
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for name, without in (
        ("no_proxy", given),
        ("no_grpc_proxy", os.environ.get("no_grpc_proxy", "")),
    ):
        entries = [entry.strip() for entry in without.split(",") if entry.strip()]
        missing = [host for host in _LOOPBACK if host not in entries]
        if "*" not in entries and (entries or name == "no_proxy"):
            os.environ[name] = ",".join(entries + missing)


class BesideBars(logging.StreamHandler):
    """Writes log lines above the progress bars that are there, and not into them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm.std")  # where it is not loaded, there is no bar
        if tqdm is None:
            super().emit(record)
            return
        with tqdm.tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def share_of_threads(processes: int) -> dict[str, str]:
    """Environment variables that give a process its share of the cores; those set already stay."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    return {name: os.environ.get(name, threads) for name in _THREADS}


def follow_parent(wait: Callable[[], object]) -> None:
    """Ends this process as soon as `wait` returns, which waits for the end of its parent.

    The folder is then free for another command. This process ignores Ctrl-C, which reaches every
    process of the terminal: the parent handles it, and tells the others by SIGTERM.
    """

    def watch() -> None:
        wait()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


def _as_keyboard_interrupt(signum, frame):
    raise KeyboardInterrupt
