"""Device and versions of a run. The GPU is a stand-in: these tests run without one."""

from __future__ import annotations

import re
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from trainers.common import environment


@pytest.fixture
def gpus(monkeypatch):
    """The GPUs that TensorFlow is made to see."""
    seen = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: seen)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "H200"}
    )
    return seen


def test_gpu_that_is_not_there_is_told(gpus):
    with pytest.raises(ValueError, match=r"--device gpu: expected a GPU .* use --device cpu"):
        environment.prepare_device("gpu")


@pytest.mark.parametrize("choice", ["auto", "cpu"])
def test_cpu_is_named_with_its_cores(gpus, choice):
    assert re.fullmatch(r"CPU \(.+, \d+ cores\)", environment.prepare_device(choice))


@pytest.mark.parametrize("choice", ["auto", "gpu"])
@pytest.mark.parametrize("late", [False, True])
def test_gpu_memory_grows_unless_tensorflow_has_run(gpus, choice, late, monkeypatch):
    grown = []

    def grow(gpu, enable):
        if late:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grown.append((gpu, enable))

    gpus.extend([types.SimpleNamespace(name="GPU:0"), types.SimpleNamespace(name="GPU:1")])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    assert environment.prepare_device(choice) == "GPU (H200)"
    assert grown == ([] if late else [(gpu, True) for gpu in gpus])


def test_cpu_choice_hides_the_gpus(gpus, monkeypatch):
    hidden = []
    gpus.append(types.SimpleNamespace(name="GPU:0"))
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *a: hidden.append(a))
    assert environment.prepare_device("cpu").startswith("CPU (")
    assert hidden == [([], "GPU")]


def test_versions_tell_settings_that_move_the_last_digits(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    facts = environment.versions()
    assert facts["onednn"] is False
    assert facts["threads"] == "3"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert environment.versions()["onednn"] is True


def commit(name):
    command = ["git", "rev-parse", f"{name}^{{commit}}"]
    folder = environment.Path(environment.__file__).parent
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


def test_git_revision_is_that_of_the_checkout_or_none(monkeypatch, tmp_path):
    revision = environment.versions()["git_revision"]
    if revision is not None:
        assert commit(revision.removesuffix("-dirty")) == commit("HEAD")
    installed = tmp_path / "site-packages" / "trainers" / "common" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(installed))
    assert environment.versions()["git_revision"] is None


def test_peak_memory_of_a_child_is_its_own():
    held = np.ones(2**25)  # 256 MiB of this process
    code = "from trainers.common import environment; print(environment.peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes < environment.peak_bytes()
