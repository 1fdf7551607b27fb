"""Compose file, Kubernetes manifests and the rollout in the docs, by schemas and by each other."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path

import deploy_schemas
import pytest
import yaml
from deploy_schemas import RELEASES, compose_faults, load_all

from serving import launch, model_config

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="no kubernetes-validate: pip install kubernetes-validate"
)

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "serving" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
# What tensorflow_model_server knows of what is used here: an unknown flag ends it at the start.
FLAGS = {
    "port",
    "rest_api_port",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "monitoring_config_file",
    "tensorflow_session_parallelism",
    "rest_api_num_threads",
    "grpc_max_threads",
}


def load(name):
    return load_all(DEPLOY / name)


def kustomization():
    return load("kubernetes/kustomization.yaml")[0]


def objects():
    """Every object of the kustomization and the loader, by kind and name."""
    names = [*kustomization()["resources"], "loader.yaml"]
    found = [item for name in names for item in load(f"kubernetes/{name}")]
    found = {(item["kind"], item["metadata"]["name"]): item for item in found}
    for replacement in kustomization()["replacements"]:
        replace(found, replacement)
    return found


def replace(objects, replacement, **values):
    """What kustomize does with one of its replacements, as far as it is used here."""
    source = replacement["source"]
    literals = {
        generated["name"]: dict(text.split("=", 1) for text in generated["literals"])
        for generated in kustomization()["configMapGenerator"]
        if "literals" in generated
    }
    assert source["kind"] == "ConfigMap"
    key = source["fieldPath"].removeprefix("data.")
    value = (literals[source["name"]] | values)[key]
    for target in replacement["targets"]:
        item = objects[target["select"]["kind"], target["select"]["name"]]
        delimiter, index = target["options"]["delimiter"], target["options"]["index"]
        for path in target["fieldPaths"]:
            *steps, last = path.split(".")
            place = item
            for step in steps:
                if match := re.fullmatch(r"\[name=(.+)\]", step):
                    [place] = [part for part in place if part["name"] == match[1]]
                else:
                    place = place[step]
            parts = place[last].split(delimiter)
            parts[index] = value
            place[last] = delimiter.join(parts)


OBJECTS = objects()
COMPOSE = load("compose.yaml")[0]


def template():
    return OBJECTS["Deployment", "tf-serving"]["spec"]["template"]


def container():
    (only,) = template()["spec"]["containers"]
    return only


def flags(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def change(tree, path, value):
    """A copy of `tree` with another value at `path`; None removes what is there."""
    tree = copy.deepcopy(tree)
    *parents, last = path
    place = tree
    for step in parents:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return tree


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", OBJECTS, ids="/".join)
def test_manifests_fit_the_schemas_of_kubernetes(key, release):
    assert kubernetes_validate.validate(OBJECTS[key], release, strict=True) == release


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ["spec", "selector"], None),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "imagePullPolice"], "Always"),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "args"], "--port=8500"),
        ("Deployment", ["spec", "template", "spec", "containers", 0, "livenessProbe", "port"], 1),
        ("Service", ["spec", "ports", 0, "port"], "rest"),
        ("HorizontalPodAutoscaler", ["spec", "maxReplicas"], None),
        ("HorizontalPodAutoscaler", ["spec", "minReplicas"], "two"),
        ("PodDisruptionBudget", ["spec", "minReplica"], 1),
    ],
)
def test_schemas_of_kubernetes_see_a_fault(kind, path, value):
    broken = change(OBJECTS[kind, "tf-serving"], path, value)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASES[-1], strict=True)


def test_compose_file_fits_its_schema(tmp_path):
    assert compose_faults(COMPOSE, tmp_path) == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["services", "tf-serving", "imag"], "x"),
        (["services", "tf-serving", "volumes"], "models"),
        (["services", "tf-serving", "healthcheck", "retries"], [3]),
    ],
)
def test_schema_of_compose_sees_a_fault(tmp_path, path, value):
    assert path[-1] in compose_faults(change(COMPOSE, path, value), tmp_path)


def test_every_reference_has_its_object():
    labels = template()["metadata"]["labels"]
    for (kind, name), item in OBJECTS.items():
        spec = item["spec"]
        if kind == "Service":
            assert spec["selector"].items() <= labels.items()
            ports = {port["targetPort"] for port in spec["ports"]}
            assert ports <= {port["name"] for port in container()["ports"]}, name
        if kind in ("PodDisruptionBudget", "Deployment"):
            assert spec["selector"]["matchLabels"].items() <= labels.items()
        if kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert OBJECTS[target["kind"], target["name"]]["apiVersion"] == target["apiVersion"]
            assert "cpu" in container()["resources"]["requests"]  # what utilisation is a share of
            assert "replicas" not in OBJECTS["Deployment", target["name"]]["spec"]
    generated, _ = kustomization()["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in template()["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in OBJECTS
    loader = OBJECTS["Pod", "models-loader"]["spec"]["volumes"][0]
    assert loader["persistentVolumeClaim"]["claimName"] == claim
    assert {mount["name"] for mount in container()["volumeMounts"]} == set(volumes)
    assert {path.name for path in KUBERNETES.iterdir()} == {
        "kustomization.yaml",
        "loader.yaml",
        *kustomization()["resources"],
        *generated["files"],
    }


def test_servers_find_their_files_and_know_their_flags():
    given = flags(container()["args"])
    assert set(given) <= FLAGS
    generated, _ = kustomization()["configMapGenerator"]
    for flag in ("model_config_file", "monitoring_config_file"):
        folder, _, name = given[flag].rpartition("/")
        assert folder == "/config"
        assert name in generated["files"]
    ports = {port["name"]: str(port["containerPort"]) for port in container()["ports"]}
    assert ports == {"grpc": given["port"], "rest": given["rest_api_port"]}
    cpu = container()["resources"]["limits"]["cpu"]
    assert given["tensorflow_session_parallelism"] == cpu
    assert given["grpc_max_threads"] == str(launch.Settings(models=".").grpc_max_threads)

    service = COMPOSE["services"]["tf-serving"]
    given = flags(service["command"])
    assert set(given) <= FLAGS
    limits = service["deploy"]["resources"]["limits"]
    assert given["tensorflow_session_parallelism"] == limits["cpus"]
    assert given["grpc_max_threads"] == str(launch.Settings(models=".").grpc_max_threads)
    mounts = dict(volume.rsplit(":", 2)[:2][::-1] for volume in service["volumes"])
    assert given["model_config_file"].rpartition("/")[0] in mounts
    monitoring = mounts[given["monitoring_config_file"]]
    assert (DEPLOY / monitoring).is_file()
    assert (DEPLOY / "../../saved_models").resolve() == ROOT / "saved_models"
    assert mounts["/models"] == "${SAVED_MODELS:-../../saved_models}"


def test_metrics_are_where_prometheus_is_told_to_look():
    path = template()["metadata"]["annotations"]["prometheus.io/path"]
    assert (KUBERNETES / "monitoring.config").read_text() == model_config.monitoring_text()
    assert path == model_config.METRICS_PATH


def test_images_are_pinned_and_the_same():
    image = COMPOSE["services"]["tf-serving"]["image"]
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", image)
    assert container()["image"] == image
    loader = OBJECTS["Pod", "models-loader"]["spec"]["containers"][0]["image"]
    assert re.fullmatch(r"busybox:\d+\.\d+", loader)


def test_nothing_runs_as_root_or_writes_to_its_image():
    for pod in (template()["spec"], OBJECTS["Pod", "models-loader"]["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
        (only,) = pod["containers"]
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["allowPrivilegeEscalation"] is False
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    service = COMPOSE["services"]["tf-serving"]
    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_probes_ask_for_a_model_that_is_served():
    config = deploy_schemas.read_models_config(KUBERNETES / "models.config")
    served = {model.name for model in config.model_config_list.config}
    for model in config.model_config_list.config:
        assert model.base_path == f"/models/{model.name}"
        assert model.model_platform == "tensorflow"
        assert dict(model.version_labels) == {"stable": 1, "canary": 1}
        assert list(model.model_version_policy.specific.versions) == [1]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container()[kind]["httpGet"]
        assert get["port"] == "rest"
        assert get["path"].removeprefix("/v1/models/") in served
    assert deploy_schemas.variables(DEPLOY / ".env")["SERVED_MODEL"] in served
    # What SIGTERM cuts off has been answered before: the wait is shorter than the grace period.
    wait = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 2 * wait <= template()["spec"]["terminationGracePeriodSeconds"]


def test_one_line_names_another_model():
    """Of the manifests one literal, of the Compose file one variable; nothing else has a name."""
    model = "fraud"
    found = {(o["kind"], o["metadata"]["name"]): o for o in load("kubernetes/deployment.yaml")}
    text = (KUBERNETES / "deployment.yaml").read_text()
    assert text.count("SERVED_MODEL") == 3
    for replacement in kustomization()["replacements"]:
        replace(found, replacement, name=model)
    [only] = found["Deployment", "tf-serving"]["spec"]["template"]["spec"]["containers"]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert only[kind]["httpGet"]["path"] == f"/v1/models/{model}"
    for name in ("compose.yaml", "kubernetes/deployment.yaml", "kubernetes/service.yaml"):
        assert "mnist" not in (DEPLOY / name).read_text()
    for name in (".env", "kubernetes/kustomization.yaml"):
        assert (DEPLOY / name).read_text().count("mnist") == 1


def test_kustomization_builds_what_the_files_say():
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on PATH")
    command = ["kubectl", "kustomize", str(KUBERNETES)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    built = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(text)}
    files = built.pop(("ConfigMap", "tf-serving-config"))["data"]
    assert files == {name: (KUBERNETES / name).read_text() for name in files}
    assert set(files) == {"models.config", "monitoring.config"}
    assert built == {key: item for key, item in OBJECTS.items() if key[0] != "Pod"}
