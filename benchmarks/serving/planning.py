"""What a model server needs: memory by the size and the number of models, and time to start."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import program
from benchmarks.common.report import number, table
from benchmarks.serving import models
from benchmarks.serving.models import Served
from benchmarks.serving.server import PREVIEW, Server, running
from serving.client import connect

WIDTHS = (50, 2000, 20_000)  # one model each
COUNTS = (4, 16)  # models of COPIED nodes
COPIED = 2000
_PATIENCE = 120.0  # seconds for a new version
_CALLS = 5  # before memory is read: the first of each signature makes it grow


@dataclasses.dataclass(frozen=True)
class Need:
    """What a server with some models needed.

    Attributes:
        width: nodes of each model.
        count: models.
        size: bytes of all on disk, warm-up requests aside.
        start: seconds from the start of the program until all models answer.
        memory: bytes that the server holds after some requests.
        peak: most bytes that it held, also while it took a new version; of one model alone.
    """

    width: int
    count: int
    size: int
    start: float
    memory: float
    peak: float


def measure_all(folder: Path) -> Iterator[Need]:
    """Starts a server for each case, one after the other; `folder` takes the models."""
    for width in WIDTHS:
        one = models.export(folder / str(width), (width,))[0]
        counts = (1, *COUNTS) if width == COPIED else (1,)
        for count in counts:
            copies(folder / str(width), one.name, count)
            program.say(f"a server of {count} x {width} nodes")
            yield measure(folder / str(width), one, count)


def copies(folder: Path, name: str, count: int) -> None:
    """Makes the model `name` there `count` models, each with one version."""
    for place in range(1, count):
        target = folder / f"{name}_{place}" / "1"
        if not target.exists():
            shutil.copytree(folder / name / "1", target)


def measure(folder: Path, one: Served, count: int) -> Need:
    """One server of the models in a folder, all like `one`."""
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == count
    with running(folder) as server:
        for name in names:
            _ask(server, name)
        memory, peak = server.memory(), math.nan
        if count == 1:
            new = folder / one.name / "2"
            shutil.copytree(folder / one.name / "1", new.with_name(".2"))
            new.with_name(".2").rename(new)
            _wait_for(server, one.name, 2)
            peak = server.peak_memory()
            shutil.rmtree(new)
    return Need(one.width, count, one.size * count, server.seconds, memory, peak)


def _ask(server: Server, name: str) -> None:
    rows = np.zeros((64, models.DIM), np.float32)
    for url in server.urls.values():
        with connect(url, model=name) as client:
            for _ in range(_CALLS):
                client.predict(rows)


def _wait_for(server: Server, name: str, version: int) -> None:
    end = time.monotonic() + _PATIENCE
    with connect(server.urls["REST"], model=name) as client:
        while [v.version for v in client.status() if v.is_available] != [version]:
            if time.monotonic() > end:
                raise RuntimeError(f"expected version {version} of {name} within {_PATIENCE} s")
            time.sleep(0.05)


def need_table(needs: Sequence[Need]) -> str:
    """Every case."""
    head = ("models", "nodes", "MB on disk", "start s", "memory MB", "peak MB, new version")
    rows = [
        [str(n.count), str(n.width), _mb(n.size), number(n.start), _mb(n.memory), _mb(n.peak)]
        for n in needs
    ]
    return table(head, rows)


def rules(needs: Sequence[Need]) -> str:
    """What to plan with: the server alone, what a MB of model adds, and what a model adds."""
    alone = [need for need in needs if need.count == 1]
    copied = [need for need in needs if need.width == COPIED]
    by_size, server = np.polyfit([n.size for n in alone], [n.memory for n in alone], 1)
    by_count, _ = np.polyfit([n.count for n in copied], [n.memory for n in copied], 1)
    start, _ = np.polyfit([n.count for n in copied], [n.start for n in copied], 1)
    return (
        f"The server alone: {_mb(server)} MB. Each MB of a model on disk: {by_size:.1f} MB. Each "
        f"further model of {COPIED} nodes: {_mb(by_count)} MB, {number(start)} s at the start.\n"
        "By least squares; one start of each. Memory is what the process holds (resident) after\n"
        f"{_CALLS} requests of 64 rows over each protocol; the peak is the most it held since\n"
        "its start, while it took a new version, too."
    )


def kind_note(kind: str) -> str:
    """Whose numbers these are."""
    if kind != PREVIEW:
        return f"Server: {kind}."
    own = "tensorflow_model_server has numbers of its own"
    return f"Server: {kind}, Python and TensorFlow as a whole; {own}."


def _mb(size: float) -> str:
    return number(size / 1e6)
