"""Compose files and Kubernetes manifests against the schemas that the developers' tools bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

RELEASES = ("1.30", "1.37")  # of Kubernetes, the oldest and the newest


def load_all(path):
    """Every document of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def compose_faults(content, folder):
    """What check-jsonschema says against the compose-spec schema that it bundles."""
    pytest.importorskip(
        "check_jsonschema", reason="no check-jsonschema: pip install check-jsonschema"
    )
    file = folder / "compose.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def read_models_config(path: Path):
    """The `ModelServerConfig` that a models.config file holds."""
    config = model_server_config_pb2.ModelServerConfig()
    return text_format.Parse(path.read_text(encoding="utf-8"), config)


def variables(path: Path) -> dict[str, str]:
    """What an .env file sets."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
