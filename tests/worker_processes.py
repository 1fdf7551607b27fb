"""Starts the processes of a strategy on this machine and collects what they say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def tf_configs(count: int = 2) -> list[str]:
    """TF_CONFIG of each of `count` workers, on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for server in sockets:
        server.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}})
        for i in range(count)
    ]


def start(arguments, *, tf_config: str | None = None, cwd=None) -> subprocess.Popen:
    """A Python process with the packages and the tests' modules on its path."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    environment |= {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    if tf_config is not None:
        environment["TF_CONFIG"] = tf_config
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(processes, seconds: float = 120) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each process, which end within so many seconds."""
    try:
        results = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, results, strict=True)]
