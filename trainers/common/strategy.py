"""`--strategy`: makes the `tf.distribute.Strategy`, and tells which worker this process is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from trainers.common import peers

logger = logging.getLogger("trainers")

# Even on a busy machine, workers load their libraries in this time.
WAIT_SECONDS = 120.0
_NAME_SECONDS = 20.0  # in which a worker's own name has to become known
_EXAMPLE = (
    '{"cluster": {"worker": ["127.0.0.1:12345", "127.0.0.1:12346"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Task:
    """The place of this process among the workers: what TF_CONFIG says, or the only one."""

    index: int = 0
    addresses: tuple[str, ...] = ("",)

    @property
    def is_first(self) -> bool:
        """Whether this process owns the run folder."""
        return self.index == 0


def read_task(strategy: str) -> Task:
    """This process's place under `--strategy`, without loading TensorFlow.

    Raises:
        ValueError: `multiworker` without a TF_CONFIG that names the workers and this task.
    """
    if strategy != "multiworker":
        return Task()
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        workers, kind, index = cluster["worker"], task["type"], task["index"]
    except (KeyError, TypeError, ValueError):
        raise _unusable("its JSON object with cluster and task", text or "none") from None
    if cluster.keys() != {"worker"} or kind != "worker":
        raise _unusable("workers alone", f"the jobs {sorted(cluster)} and task type {kind!r}")
    if not (
        isinstance(workers, list)
        and workers
        and all(isinstance(a, str) and _is_port(a.rpartition(":")[2]) for a in workers)
        and len(set(workers)) == len(workers)
    ):
        raise _unusable("a list of different addresses host:port", repr(workers))
    if not (type(index) is int and 0 <= index < len(workers)):
        raise _unusable(f"a task index from 0 to {len(workers) - 1}", repr(index))
    return Task(index, tuple(workers))


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65536


def _unusable(expected: str, received: str) -> ValueError:
    return ValueError(
        f"--strategy multiworker: expected in the environment variable TF_CONFIG {expected}, "
        f"received {received}. For two workers on one machine, start worker 0 with\n"
        f"  TF_CONFIG='{_EXAMPLE}'\nand worker 1 with index 1 (docs/distributed.md)."
    )


def make_strategy(name: str, task: Task):
    """Makes the strategy; None for `none`.

    It has to be called after the device is chosen and before TensorFlow runs any operation. It
    waits for the other workers, at most WAIT_SECONDS.

    Raises:
        OSError: This worker's port is in use, or its host is unknown.
    """
    if name == "none":
        return None
    if name == "multiworker":
        _require_own_address(task)
    import tensorflow as tf

    if name == "multiworker":
        handler = signal.getsignal(signal.SIGTERM)
        with _watched(task):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow has put its own handler there, under which SIGTERM would not end the run.
        signal.signal(signal.SIGTERM, handler)
        replicas = strategy.num_replicas_in_sync
        logger.info("worker %d of %d, %d replicas", task.index, len(task.addresses), replicas)
        return strategy
    gpus = tf.config.list_logical_devices("GPU")
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    )
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        logger.info("--strategy mirrored: one replica only, on one device: no faster than none")
    else:
        logger.info("%d replicas", replicas)
    return strategy


def _require_own_address(task: Task, patience: float = _NAME_SECONDS) -> None:
    """Checks this worker's address, since TensorFlow tells of a bad one late or not at all.

    Raises:
        OSError: This worker's own host has no address, or its port is in use.
    """
    address = task.addresses[task.index]
    host, _, port = address.rpartition(":")
    own = f"--strategy multiworker: expected this worker's own address in TF_CONFIG, {address},"
    end = time.monotonic() + patience
    while True:
        try:
            socket.getaddrinfo(host.strip("[]"), int(port))
            break
        except socket.gaierror as error:  # a container's name may be known only after its start
            if time.monotonic() >= end:
                raise OSError(
                    f"{own} to have a host name that is known, received: {error.strerror}. "
                    "Correct the name, or give the IP address of the host."
                ) from error
        time.sleep(1.0)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))  # TensorFlow listens on every address of the machine
        except OSError as error:
            raise OSError(
                f"{own} to have a free port, received: {error.strerror}. Another program has it, "
                f"or a worker with the same index, {task.index}."
            ) from error


@contextlib.contextmanager
def _watched(task: Task) -> Iterator[None]:
    """Starts a process that ends this one if the block takes too long."""
    arguments = [os.getpid(), WAIT_SECONDS, task.index, *task.addresses]
    watcher = subprocess.Popen(
        [sys.executable, "-IS", str(Path(peers.__file__)), *map(str, arguments)],
        stdin=subprocess.PIPE,
    )
    try:
        yield
    finally:
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait()
