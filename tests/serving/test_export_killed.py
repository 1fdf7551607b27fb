"""kill -9 during an export, at many moments: no half version is ever visible."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.card import verify
from serving.versions import find_versions

ROOT = Path(__file__).resolve().parents[2]

# Exports again and again; the first has loaded and compiled what there is to.
EXPORTER = """
import sys
import packaged_models as pm
from serving.export import export_model

model, _, card, _ = pm.case("image", dim=784, units=200)
while True:
    print(export_model(model, card, sys.argv[1]).name, flush=True)
"""


class Watch(threading.Thread):
    """Looks for versions all the time, as a model server does, and verifies each at once."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.seen, self.faults, self.over = folder, set(), [], threading.Event()

    def run(self):
        while not self.over.is_set():
            for number, path in find_versions(self.folder).items():
                if number not in self.seen:
                    self.seen.add(number)
                    try:
                        verify(path)
                    except (OSError, ValueError) as error:
                        self.faults.append(error)


@pytest.mark.drill
def test_kill_during_export_never_leaves_a_half_version(tmp_path):
    watch = Watch(tmp_path / "small")
    watch.start()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", EXPORTER, str(tmp_path)]
    hidden = 0
    try:
        for delay in (0.02, 0.15, 0.3, 0.45, 0.7):
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout.readline(), "expected an exporter that works"
                watch.over.wait(delay)
                process.kill()
            hidden += bool(list((tmp_path / "small").glob(".*")))
    finally:
        watch.over.set()
        watch.join()
    assert not watch.faults
    assert watch.seen >= set(range(1, 6))
    for path in find_versions(tmp_path / "small").values():
        verify(path)
    assert hidden >= 3  # most kills did meet an export that was under way
