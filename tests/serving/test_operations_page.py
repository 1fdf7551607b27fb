"""docs/serving_operations.md from top to bottom, on a preview server.

Every command of the page runs as printed, by bash. Stand-ins for `kubectl` and `docker` do to a
local folder what those do to a cluster's volume, its ConfigMap and its servers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docs_pages
import fake_servers
import httpx
import pytest
import serving_models

from serving import config_file

pytestmark = pytest.mark.slow

PAGE = Path("docs/serving_operations.md")
MODEL = "mnist_gamma0_k100"
MODELS = ("mnist_gamma0_k20", "mnist_gamma0_k50", MODEL)

# The volume is the folder VOLUME, which pods see as /models; the ConfigMap is the file CONFIG.
KUBECTL = """
    import os, pathlib, shutil, sys, urllib.request
    volume, config = pathlib.Path(os.environ["VOLUME"]), pathlib.Path(os.environ["CONFIG"])
    arguments = sys.argv[1:]
    here = lambda path: volume / path.partition("/models/")[2]
    for file in (a for a in arguments if a.endswith(".yaml")):
        assert pathlib.Path(file).is_file(), file
    match arguments:
        case ["apply", "-k", folder]:
            assert (pathlib.Path(folder) / "kustomization.yaml").is_file()
            beside = config.with_suffix(".new")
            shutil.copyfile(pathlib.Path(folder) / "models.config", beside)
            os.replace(beside, config)
        case ["cp", source, target]:
            assert target.startswith("models-loader:/models/"), target
            shutil.copytree(source, here(target))
        case ["exec", "models-loader", "--", "mv", source, target]:
            os.rename(here(source), here(target))
        case ["get", "pods", *_]:
            print("pod/tf-serving-1")
        case ["get", "--raw", path]:
            assert path.startswith("/api/v1/namespaces/default/pods/tf-serving-1:8501/proxy/"), path
            print(urllib.request.urlopen(os.environ["REST"] + path.partition("/proxy")[2]).read())
        case ["apply" | "wait" | "delete" | "rollout", *_]:
            pass
        case _:
            sys.exit(f"kubectl: expected a known command, received {arguments}")
"""
OTHERS = """
    import sys
    print("stand-in for", *sys.argv)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What the commands need of a checkout, with two versions of one model."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(docs_pages.ROOT / "serving" / "deploy", folder / "serving" / "deploy")
    for name in MODELS:
        target = folder / "saved_models" / name
        shutil.copytree(docs_pages.ROOT / "saved_models" / name / "1", target / "1")
    shutil.copytree(folder / "saved_models" / MODEL / "1", folder / "saved_models" / MODEL / "2")
    fake_servers.executable(folder / "bin" / "docker", OTHERS)
    fake_servers.executable(folder / "bin" / "kubectl", KUBECTL)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "volume").mkdir()
    return folder


def section(title):
    """The blocks of commands under a heading, up to the next one."""
    text = docs_pages.read(PAGE)
    start = re.search(rf"^##+ {title}$", text, re.MULTILINE)
    assert start, title
    rest = text[start.end() :]
    end = re.search(r"^##+ ", rest, re.MULTILINE)
    return [block.text for block in docs_pages.blocks(rest[: end.start() if end else None], "")]


class Shell:
    """Runs lines in the checkout, with the stand-ins first on PATH."""

    def __init__(self, checkout):
        self.folder = checkout
        self.served = checkout / "configmap" / "models.config"
        self.served.parent.mkdir(exist_ok=True)
        paths = [str(docs_pages.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **os.environ,
            "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(paths),
            "VOLUME": str(checkout / "volume"),
            "CONFIG": str(self.served),
        }

    def run(self, script, **variables):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def read(self):
        return config_file.read(self.served, models=self.folder / "volume")


@pytest.fixture
def shell(checkout):
    return Shell(checkout)


def test_one_machine(shell, checkout):
    start, *_ = section("One machine")
    config, compose, curl = start.splitlines()
    shell.run(config)
    assert "compose.yaml up --wait" in shell.run(compose)
    written = config_file.read(
        checkout / "saved_models" / "models.config", models=checkout / "saved_models"
    )
    assert {model.name for model in written.model_config_list.config} == set(MODELS)
    with serving_models.running_preview(checkout, reread=lambda: written) as server:
        asked = curl.replace("curl localhost:8501", server.rest)
        assert httpx.get(asked).json()["model_version_status"][0]["state"] == "AVAILABLE"


def test_every_flag_of_the_page_is_one_of_the_command():
    shown = subprocess.run(
        [sys.executable, "-m", "serving.serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=docs_pages.ROOT,
    ).stdout
    lines = [
        line for line in docs_pages.read(PAGE).splitlines() if "python -m serving.serve" in line
    ]
    flags = {flag for line in lines for flag in re.findall(r"--[a-z-]+", line)}
    assert {"--skip-damaged", "--preview", "--config"} <= flags
    assert not {flag for flag in flags if f"{flag} " not in shown and f"{flag}\n" not in shown}


def test_kubernetes_roll_out_and_back(shell, checkout):
    """The models come to the volume, a version is loaded, tried, promoted and taken back."""
    (install,) = section("Kubernetes")
    shell.run(install)
    assert {path.name for path in (checkout / "volume").iterdir()} == set(MODELS)
    shutil.rmtree(checkout / "volume" / MODEL / "2")  # it is what is new
    with serving_models.running_preview(checkout, reread=shell.read) as server:

        def state():
            status = httpx.get(f"{server.rest}/v1/models/{MODEL}").json()["model_version_status"]
            return sorted(int(v["version"]) for v in status if v["state"] == "AVAILABLE")

        def answers(label):
            path = f"{server.rest}/v1/models/{MODEL}/labels/{label}:predict"
            answer = httpx.post(path, json={"instances": [[0.0] * 784]})
            assert answer.status_code == 200, answer.text
            return httpx.get(f"{server.rest}/v1/models/{MODEL}/labels/{label}/metadata").json()[
                "model_spec"
            ]["version"]

        assert state() == [1]
        copy, steps, loop = section("A new version, and back")
        shell.run(copy)
        assert (checkout / "volume" / MODEL / "2" / "saved_model.pb").is_file()
        head = [line for line in steps.splitlines() if not line.startswith("config --")]
        lines = [line for line in steps.splitlines() if line.startswith("config --")]
        assert len(lines) == 5

        def step(word):
            (line,) = [line for line in lines if line.endswith(f"# {word}")]
            shell.run("\n".join([*head, line]))

        def until(versions, stable, canary):
            serving_models.until(lambda: state() == versions)
            serving_models.until(
                lambda: (answers("stable"), answers("canary")) == (str(stable), str(canary))
            )

        step("as it was")
        until([1], 1, 1)
        step("load")
        until([1, 2], 1, 1)
        status = shell.run(loop, REST=server.rest)
        assert status.count("AVAILABLE") == 2
        step("canary")
        until([1, 2], 1, 2)
        step("load")  # back from canary
        until([1, 2], 1, 1)
        step("canary")
        until([1, 2], 1, 2)
        step("promote")
        until([1, 2], 2, 2)
        step("load")  # back from promote
        until([1, 2], 1, 1)
        step("promote")
        until([1, 2], 2, 2)
        step("retire")
        until([2], 2, 2)
        step("promote")  # back from retire: first both versions, ...
        until([1, 2], 2, 2)
        step("load")  # ... then the labels
        until([1, 2], 1, 1)


def test_alerts_ask_for_metrics_that_there_are(checkout):
    pytest.importorskip("prometheus_client", reason="no prometheus_client: make venv installs it")
    (alerts,) = section("What to watch")
    names = set(re.findall(r":tensorflow:serving:\w+", alerts))
    assert names == {
        ":tensorflow:serving:request_count",
        ":tensorflow:serving:request_latency_bucket",
    }
    models = checkout / "saved_models"
    with serving_models.running_preview(models, versions=["latest"]) as server:
        for rows, code in ([[0.0] * 784], 200), ([[0.0] * 3], 400):
            path = f"{server.rest}/v1/models/{MODEL}:predict"
            assert httpx.post(path, json={"instances": rows}).status_code == code
        page = httpx.get(f"{server.rest}/monitoring/prometheus/metrics").text
    assert all(f"\n{name}{{" in page for name in names)
    assert f'request_count{{model_name="{MODEL}",status="INVALID_ARGUMENT"}} 1.0' in page
    assert f'request_count{{model_name="{MODEL}",status="OK"}} 1.0' in page
