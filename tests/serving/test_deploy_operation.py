"""The health check of the Compose file, and the rollout in the docs, carried out."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import deploy_schemas
import yaml
from fake_tf_serving import FakeServing, running
from loopback import refused_port

from serving import model_config

ROOT = Path(__file__).resolve().parents[2]


def test_health_check_of_compose_tells_a_ready_server_from_others():
    compose = yaml.safe_load((ROOT / "serving" / "deploy" / "compose.yaml").read_text())
    kind, *command = compose["services"]["tf-serving"]["healthcheck"]["test"]
    assert kind == "CMD"
    model = deploy_schemas.variables(ROOT / "serving" / "deploy" / ".env")["SERVED_MODEL"]
    command[-1] = re.sub(r"\$\{SERVED_MODEL:\?[^}]*\}", model, command[-1])
    assert not re.search(r"(?<!\$)\$(?!\$)", command[-1])  # Compose would fill it in
    serving = FakeServing(**{model: 1})

    def healthy(port):
        script = command[-1].replace("/8501", f"/{port}")
        return subprocess.run([*command[:-1], script], capture_output=True, timeout=10).returncode

    with running(serving.app()) as url:
        port = url.rpartition(":")[2]
        assert healthy(port) == 0
        serving.state = "LOADING"
        assert healthy(port) != 0
        serving.state, serving.signs = "AVAILABLE", {}
        assert healthy(port) != 0
    with refused_port() as port:
        assert healthy(port) != 0


def rollout_steps():
    """Arguments of each `config` line in the docs, in order."""
    text = (ROOT / "docs" / "serving_operations.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("config --")]
    model = re.search(r"^MODEL=(\w+)$", text, re.MULTILINE)[1]
    return model, [shlex.split(line.replace("$MODEL", model), comments=True)[1:] for line in lines]


def test_rollout_of_the_docs_obeys_the_rules_of_labels(tmp_path, capsys):
    model, steps = rollout_steps()
    for version in ("1", "2"):
        (tmp_path / model / version).mkdir(parents=True)
    seen, loaded, labelled = [], set(), {}
    for arguments in steps:
        model_config.main(["--models", str(tmp_path), "--mount", "/models", *arguments])
        file = tmp_path / "models.config"
        file.write_text(capsys.readouterr().out)
        (config,) = deploy_schemas.read_models_config(file).model_config_list.config
        versions = set(config.model_version_policy.specific.versions)
        labels = dict(config.version_labels)
        assert set(labels) == {"stable", "canary"}  # a client's label is never unknown
        assert set(labels.values()) <= versions
        for name, version in labels.items():
            # TF Serving moves a label only to a version that is loaded already, ...
            assert labelled.get(name, version) == version or version in loaded
        # ... and no version goes while a label points to it.
        assert set(labelled.values()) <= versions | set(labels.values())
        seen.append((sorted(versions), labels["stable"], labels["canary"]))
        loaded, labelled = versions, labels
    assert seen == [([1], 1, 1), ([1, 2], 1, 1), ([1, 2], 1, 2), ([1, 2], 2, 2), ([2], 2, 2)]
