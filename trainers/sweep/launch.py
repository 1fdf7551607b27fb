"""A sweep by several processes on this machine: KerasTuner's chief and workers, kept alive."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trainers.common.cli import to_flags
from trainers.common.process import share_of_threads
from trainers.sweep import crew
from trainers.sweep.config import MODULE, Config
from trainers.sweep.folder import SweepFolder

logger = logging.getLogger("trainers")

CHIEF = "chief"
_POLL = 0.2
_GRACE = 20.0  # seconds in which a process has to end after SIGTERM
_LOG_LINES = 8


class CrewFailed(RuntimeError):
    """A process of the crew died more often than it may be started again."""


@dataclasses.dataclass
class Member:
    """A process that is started again under the same id when it dies.

    Attributes:
        name: its id.
        start: starts it; returns the process.
        log: where its output goes.
        done: counts the trials that it has ended; for a chief, those of all workers.
        restarts: how often it was started again since a trial ended.
    """

    name: str
    start: Callable[[], subprocess.Popen]
    log: Path
    done: Callable[[], int]
    restarts: int = 0
    process: subprocess.Popen | None = None
    done_before: int = 0

    def begin(self) -> None:
        """Starts the process."""
        self.done_before = self.done()
        self.process = self.start()
        logger.info("%s: process %d, log %s", self.name, self.process.pid, self.log)

    def last_words(self) -> str:
        """The end of its log."""
        if not self.log.is_file():
            return "  (no log)"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def supervise(chief: Member, workers: Sequence[Member], *, max_restarts: int) -> None:
    """Starts all processes; returns when every worker, or the chief, has ended with status 0.

    A process that dies is started again under its id, at most `max_restarts` times in a row,
    because KerasTuner does not do so, and its chief waits for ever for a worker with a trial. When
    all workers have ended, the chief is terminated, because it looks only every 20 s whether it may
    end. When the chief has ended, no worker has a trial left, and the workers are terminated,
    because they would wait an hour for its answer.

    Raises:
        CrewFailed: A process died once more than that; the others are ended first.
    """
    members = [chief, *workers]
    try:
        for member in members:
            member.begin()
        while _code(chief) != 0 and any(_code(worker) != 0 for worker in workers):
            for member in members:
                _bring_back(member, max_restarts)
            time.sleep(_POLL)
    finally:
        _end([member.process for member in members if member.process is not None])


def _code(member: Member) -> int | None:
    assert member.process is not None
    return member.process.poll()


def _bring_back(member: Member, max_restarts: int) -> None:
    code = _code(member)
    if code is None or code == 0:
        return
    # A trial that ended since the start makes the count begin anew. A long life does not: a process
    # that dies an hour into each trial would be started again for ever.
    if member.done() > member.done_before:
        member.restarts = 0
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    if member.restarts >= max_restarts:
        raise CrewFailed(
            f"expected {member.name} to run, received its end {how}, after {member.restarts} "
            f"restarts in a row. The end of {member.log}:\n{member.last_words()}\n"
            "Go on with --resume once the reason is gone, or allow more --max-restarts."
        )
    member.restarts += 1
    logger.warning("%s ended %s: restart %d of %d", member.name, how, member.restarts, max_restarts)
    member.begin()


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    end = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def launch(config: Config, folder: SweepFolder) -> None:
    """Runs a sweep by a chief and `config.crew()` workers on loopback.

    Args:
        config: flags of the sweep.
        folder: its folder, open.

    Raises:
        CrewFailed: A process died more often than it may be started again.
    """
    folder.logs.mkdir(exist_ok=True)
    deadline = None if config.max_time is None else time.monotonic() + config.max_time
    ids, port = crew.worker_ids(config.crew()), _free_port()
    # The processes share the device and divide the cores.
    environment = {**os.environ, **share_of_threads(len(ids)), **crew.variables(port)}

    def member(name: str) -> Member:
        log = folder.logs / f"{name}.log"

        def start() -> subprocess.Popen:
            own = dataclasses.replace(
                config,
                out_dir=str(folder.path),
                overwrite=False,
                resume=True,
                max_time=deadline and max(1e-3, deadline - time.monotonic()),
            )
            with open(log, "ab") as file:
                return subprocess.Popen(
                    [sys.executable, "-m", MODULE, *to_flags(own)],
                    env={**environment, crew.TUNER_ID: name},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )

        def done() -> int:
            return sum(name in (CHIEF, record.get("tuner")) for record in folder.records())

        return Member(name, start, log, done)

    supervise(member(CHIEF), [member(name) for name in ids], max_restarts=config.max_restarts)


def _free_port() -> int:
    """A port on loopback that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
