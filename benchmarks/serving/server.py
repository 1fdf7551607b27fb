"""The server at hand, in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

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
        seconds: from its start until all models answered.
    """

    kind: str
    urls: dict[str, str]
    pid: int
    seconds: float

    def memory(self) -> float:
        """Bytes that the server holds now, without the launcher."""
        return sum(process.memory_info().rss for process in self._servers())

    def peak_memory(self) -> float:
        """Most bytes that it has held; NaN where the system does not tell."""
        try:
            texts = [Path(f"/proc/{p.pid}/status").read_text("utf-8") for p in self._servers()]
        except OSError:  # not Linux
            return float("nan")
        return 1024.0 * sum(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) for text in texts)

    def _servers(self) -> list[psutil.Process]:
        launcher = psutil.Process(self.pid)
        if self.kind == PREVIEW:
            return [launcher]
        children = launcher.children(recursive=True)
        found = [process for process in children if process.name().startswith(BINARY[:15])]
        if not found:
            raise RuntimeError(f"expected {BINARY} among the launcher's processes, found none")
        return found

    def cpu_seconds(self) -> float:
        """Processor time that it and the programs it started have used; NaN if not known."""
        return _cpu_seconds(self.pid)


def server_kind() -> str:
    """Which server `running` starts here."""
    return BINARY if shutil.which(BINARY) else PREVIEW


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
    kind = server_kind()
    command = [sys.executable, "-m", "serving.serve", "--models", str(models)]
    command += ["--rest-port", "0", "--grpc-port", "0", *["--preview"] * (kind == PREVIEW)]
    start = time.monotonic()
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
            kind,
            {
                "REST": f"http://{where}:{ready['rest_port']}",
                "gRPC": f"grpc://{where}:{ready['grpc_port']}",
            },
            process.pid,
            time.monotonic() - start,
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
