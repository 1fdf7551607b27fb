"""Which part this process has in a sweep, by KerasTuner's environment variables."""

from __future__ import annotations

import os
import socket
import time

from trainers.common.process import follow_parent
from trainers.sweep.config import Config

TUNER_ID = "KERASTUNER_TUNER_ID"
ORACLE_IP = "KERASTUNER_ORACLE_IP"
ORACLE_PORT = "KERASTUNER_ORACLE_PORT"
# The process number of the launcher, which writes the results instead of its chief.
LAUNCHED = "ASYM_KERAS_SWEEP_LAUNCHED"

_ALONE = "tuner0"  # the id that KerasTuner gives to a process that searches alone
_PATIENCE = 60.0  # seconds in which a chief has to answer; it may have ended for good


def role(config: Config) -> str:
    """`"alone"`, `"chief"` or `"worker"`.

    As for KerasTuner, a process is a chief if its id contains "chief".

    Raises:
        ValueError: Some of the variables are set and others not, or flags don't fit the role.
    """
    names = (TUNER_ID, ORACLE_IP, ORACLE_PORT)
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return "alone"
    if missing:
        raise ValueError(
            f"expected {', '.join(names)} all set, or none, received none for {', '.join(missing)}."
        )
    part = "chief" if "chief" in os.environ[TUNER_ID] else "worker"
    if config.crew() and not is_launched():
        raise ValueError(
            f"--workers: expected no {TUNER_ID} in the environment, received "
            f"{os.environ[TUNER_ID]!r}. Start workers by hand or by the flag, not both."
        )
    if config.overwrite and part == "worker":
        raise ValueError(
            "--overwrite: expected it at the chief alone, received it at the worker "
            f"{os.environ[TUNER_ID]!r}, which would delete the others' results. Leave it out."
        )
    return part


def is_launched() -> bool:
    """Whether a launcher started this process."""
    return bool(os.environ.get(LAUNCHED))


def variables(port: int) -> dict[str, str]:
    """Environment variables of the processes that this one launches; `port` is the chief's."""
    return {ORACLE_IP: "127.0.0.1", ORACLE_PORT: str(port), LAUNCHED: str(os.getpid())}


def follow_launcher() -> None:
    """Ends this process when its launcher has ended."""
    launcher = int(os.environ[LAUNCHED])

    def wait() -> None:
        while os.getppid() == launcher:
            time.sleep(0.2)

    follow_parent(wait)


def own_id() -> str:
    """The id that KerasTuner knows this process by."""
    return os.environ.get(TUNER_ID) or _ALONE


def chief_answers(patience: float = _PATIENCE) -> bool:
    """Whether a process listens at the chief's address within `patience` seconds."""
    address = (os.environ[ORACLE_IP].strip("[]"), int(os.environ[ORACLE_PORT]))
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(address, timeout=5.0).close()
            return True
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(min(1.0, patience))


def worker_ids(count: int) -> list[str]:
    """Ids of the workers that a launcher starts."""
    return [f"worker{i}" for i in range(count)]


def known_ids(config: Config, role: str) -> set[str] | None:
    """Ids of all processes that run trials; None where they were started by hand."""
    if role == "alone":
        return {_ALONE}
    return set(worker_ids(config.crew())) if config.crew() else None
