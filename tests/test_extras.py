"""The command that error messages name: of the checkout, of the wheel, of neither."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from asym_keras import extras

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    file
    for folder in ("asym_keras", "trainers", "serving")
    for file in (ROOT / folder).rglob("*.py")
]
CALL = re.compile(r"install_command\([\"'](\w+)[\"']\)")


class Noted:
    """A distribution as pip left it."""

    version = "1.2.3"

    def __init__(self, url: str | None):
        self.url = url

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return json.dumps({"url": self.url, "archive_info": {}}) if self.url else None


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel leaves it: no pyproject.toml above, and what pip noted of it."""
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages/asym_keras/extras.py"))

    def note(url: str | None) -> list[str]:
        monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda name: Noted(url))
        return shlex.split(extras.install_command("tune"))

    return note


def test_checkout_is_installed_again_where_it_stands():
    command = shlex.split(extras.install_command("serving"))
    assert command == [sys.executable, *"-m pip install --editable".split(), f"{ROOT}[serving]"]


def test_wheel_is_named_by_the_path_that_pip_noted(tmp_path, installed):
    wheel = tmp_path / "with space" / "asym_keras-1.2.3-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    assert installed(wheel.as_uri()) == [sys.executable, "-m", "pip", "install", f"{wheel}[tune]"]


@pytest.mark.parametrize("url", [None, "file:///gone/asym_keras.whl", "https://example.org/a.whl"])
def test_wheel_that_is_not_at_hand_is_named_without_a_folder(installed, url):
    assert installed(url)[-1] == "asym_keras-1.2.3-py3-none-any.whl[tune]"


def test_messages_take_the_command_from_one_place_and_name_extras_that_there_are():
    texts = {file: file.read_text(encoding="utf-8") for file in SOURCES}
    assert not [file for file, text in texts.items() if "asym-keras[" in text]
    named = {name for text in texts.values() for name in CALL.findall(text)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"serving", "tune", "cifar", "tensorboard", "gpu"} <= named
    assert named <= set(project["optional-dependencies"])
