"""The server at hand, in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from serving import tether

BINARY = "tensorflow_model_server"
PREVIEW = "preview server of this project"
_PATIENCE = 180.0  # seconds to start, and to load all models


@dataclasses.dataclass(frozen=True)
class Server:
    """Where it listens.

    Attributes:
        kind: what it is, for the report.
        urls: address by protocol, "REST" and "gRPC".
        pid: of the process.
    """

    kind: str
    urls: dict[str, str]
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time that it and the programs it started have used; NaN if not known."""
        return _cpu_seconds(self.pid)


@contextlib.contextmanager
def running(models: Path) -> Iterator[Server]:
    """Serves the folder `models`: TensorFlow's model server if there is one, else the preview.

    Raises:
        RuntimeError: It ended, or was not ready in time; its log is in the message.
    """
    with tether.tied() as tie, _served(models, tie) as server:
        yield server


@contextlib.contextmanager
def _served(models: Path, tie: Callable[[int], None]) -> Iterator[Server]:
    preview = shutil.which(BINARY) is None
    command = [sys.executable, "-m", "serving.serve", "--models", str(models)]
    command += ["--rest-port", "0", "--grpc-port", "0", *["--preview"] * preview]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    tie(process.pid)
    log: list[str] = []
    lines: queue.Queue[str] = queue.Queue()
    readers = [
        threading.Thread(target=_drain, args=(process.stderr, log.append), daemon=True),
        threading.Thread(target=_drain, args=(process.stdout, lines.put), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        try:
            ready = json.loads(lines.get(timeout=_PATIENCE))
        except (queue.Empty, ValueError) as error:
            raise RuntimeError(
                f"expected a line of JSON from {' '.join(command)}, received none; its log:\n"
                + "".join(log[-20:])
            ) from error
        where = ready["host"]
        yield Server(
            PREVIEW if preview else BINARY,
            {
                "REST": f"http://{where}:{ready['rest_port']}",
                "gRPC": f"grpc://{where}:{ready['grpc_port']}",
            },
            process.pid,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_seconds(pid: int) -> float:
    try:
        # The name of the program, in brackets, may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [c for task in tasks for c in (task / "children").read_text("utf-8").split()]
    except OSError:  # not Linux
        return float("nan")
    own = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_seconds(int(child)) for child in children)


def _drain(stream, take) -> None:
    for line in stream:
        take(line)
    take("")  # the end, which is no JSON
