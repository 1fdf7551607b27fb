"""Small runs of the trainers that several tests share."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainers import mnist
from trainers.common import cli

SMALL = ("--width", "20", "--steps", "50", "--records", "4", "--ntg-examples", "5", "--quiet")


def small_data(path, *, kind="vectors"):
    """A `.npz` file with 14 training and 9 test examples."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 14), ("test", 9)):
        x = generator.normal(size=(n, 6)).astype("float32")
        labels = np.arange(n) % 3
        if kind == "images":
            x = generator.integers(0, 256, (n, 3, 2)).astype("uint8")
        y = np.sin(x.sum(1)) if kind == "regression" else labels
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    np.savez(path, **arrays)
    return str(path)


def refuses_an_earlier_version(folder, config, match):
    """Opens `folder`; what is there goes on, and does not once its methods are those of before."""
    folder.open(config, {"command": "python ...", "dataset": {"fingerprint": "0"}})
    folder.check(config)
    content = folder.read("config.json")
    del content["methods"]
    folder.write("config.json", content)
    with pytest.raises(ValueError, match=match):
        folder.check(config)


def parse(*argv):
    """The configuration that flags make."""
    return cli.parse_config(mnist.Config, argv, module=mnist.MODULE, description=None)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_run(folder, *argv, fingerprint="0", **files):
    """What a run with these flags leaves when it is killed at once, and further JSON files."""
    from trainers.common.folder import RunFolder

    run = RunFolder(folder)
    run.open(parse(*argv), {"command": "python ...", "dataset": {"fingerprint": fingerprint}})
    for name, content in files.items():
        run.write(f"{name}.json", content)
    return run
