"""A sweep's Compose file, image and Kubernetes manifests, by schemas and by each other."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from deploy_schemas import RELEASES, compose_faults, load_all

import asym_keras
from trainers import sweep
from trainers.common import cli
from trainers.sweep import crew as sweep_crew

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="no kubernetes-validate: pip install kubernetes-validate"
)

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "trainers" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
(COMPOSE,) = load_all(DEPLOY / "compose.yaml")
(KUSTOMIZATION,) = load_all(KUBERNETES / "kustomization.yaml")
OBJECTS = {
    (item["kind"], item["metadata"]["name"]): item
    for name in [*KUSTOMIZATION["resources"], "reader.yaml"]
    for item in load_all(KUBERNETES / name)
}
JOBS = {"chief": OBJECTS["Job", "sweep-chief"], "worker": OBJECTS["Job", "sweep-workers"]}
PODS = [job["spec"]["template"]["spec"] for job in JOBS.values()]
PODS.append(OBJECTS["Pod", "sweep-reader"]["spec"])
SERVICES = COMPOSE["services"]
WORKERS = {name: service for name, service in SERVICES.items() if name != "chief"}


def container(part):
    (only,) = JOBS[part]["spec"]["template"]["spec"]["containers"]
    return only


def environment(part, index=0):
    """What a process finds, its index put in as the kubelet does: names that come before."""
    found = {}
    for item in container(part)["env"]:
        value = item.get("value")
        if value is None:
            field = item["valueFrom"]["fieldRef"]["fieldPath"]
            assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
            value = str(index)
        found[item["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found[m[1]], value)
    return found


def patched_arguments():
    """What the kustomization gives to both Jobs."""
    (patch,) = KUSTOMIZATION["patches"]
    assert patch["target"] == {"kind": "Job"}
    (step,) = yaml.safe_load(patch["patch"])
    assert (step["op"], step["path"]) == ("add", "/spec/template/spec/containers/0/args")
    assert not any("args" in container(part) for part in JOBS)
    return step["value"]


def parse(arguments):
    return cli.parse_config(sweep.Config, arguments, module=sweep.MODULE, description=None)


def parts():
    """Environments of all processes of both ways, by their names."""
    yield "compose", {name: service["environment"] for name, service in SERVICES.items()}
    count = JOBS["worker"]["spec"]["completions"]
    workers = {f"worker{i}": environment("worker", i) for i in range(count)}
    yield "kubernetes", {"chief": environment("chief"), **workers}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", OBJECTS, ids="/".join)
def test_manifests_fit_the_schemas_of_kubernetes(key, release):
    assert kubernetes_validate.validate(OBJECTS[key], release, strict=True) == release


@pytest.mark.parametrize("key", ["backoffLimitPerIndex", "podReplacementPolicy", "completionMode"])
def test_schemas_of_kubernetes_see_a_fault(key):
    broken = copy.deepcopy(JOBS["worker"])
    broken["spec"][key + "s"] = broken["spec"].pop(key)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASES[-1], strict=True)


def test_compose_file_fits_its_schema(tmp_path):
    assert compose_faults(COMPOSE, tmp_path) == ""
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["chief"]["restarts"] = "on-failure"
    assert "restarts" in compose_faults(broken, tmp_path)


def test_commands_are_those_of_the_program_and_never_overwrite():
    for arguments in (patched_arguments(), *(s["command"] for s in SERVICES.values())):
        config = parse(arguments)
        assert config.resume
        assert not config.overwrite
        assert config.crew() == 0  # the launcher's
        assert arguments == patched_arguments()  # so all have one out-dir and one sweep


@pytest.mark.parametrize(("way", "processes"), [*parts()], ids=["compose", "kubernetes"])
def test_each_process_has_its_part_and_an_id_of_its_own(way, processes, monkeypatch):
    ids = [found[sweep_crew.TUNER_ID] for found in processes.values()]
    assert len({*ids}) == len(ids) > 2
    assert {*ids} == {"chief", *sweep_crew.worker_ids(len(ids) - 1)}
    assert len({found[sweep_crew.ORACLE_PORT] for found in processes.values()}) == 1
    for name, found in processes.items():
        assert found[sweep_crew.TUNER_ID] == name
        for variable in (sweep_crew.TUNER_ID, sweep_crew.ORACLE_IP, sweep_crew.ORACLE_PORT):
            monkeypatch.setenv(variable, found[variable])
        part = sweep_crew.role(parse(patched_arguments()))
        assert part == ("chief" if name == "chief" else "worker")
        # The chief listens at all addresses of its own; the others call it by its name.
        host = {"compose": "chief", "kubernetes": "sweep-chief"}[way]
        assert found[sweep_crew.ORACLE_IP] == ("0.0.0.0" if part == "chief" else host)


def test_the_name_and_the_ports_are_the_chiefs():
    assert "chief" in SERVICES
    service = OBJECTS["Service", "sweep-chief"]
    labels = JOBS["chief"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    worker = JOBS["worker"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= worker.items()
    (port,) = service["spec"]["ports"]
    (own,) = container("chief")["ports"]
    assert port["targetPort"] == own["name"] == "oracle"
    assert container("chief")["readinessProbe"]["tcpSocket"]["port"] == own["name"]
    for part in JOBS:
        assert environment(part)[sweep_crew.ORACLE_PORT] == str(port["port"])
    assert own["containerPort"] == port["port"]
    # Neither passwords nor encryption: not a port to publish.
    assert not any("ports" in found for found in SERVICES.values())
    policy = OBJECTS["NetworkPolicy", "sweep-chief"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    ((source,), (open_port,)) = (policy["ingress"][0][key] for key in ("from", "ports"))
    assert source["podSelector"]["matchLabels"].items() <= worker.items()
    assert open_port["port"] == own["name"]
    policy = OBJECTS["NetworkPolicy", "sweep-workers"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= worker.items()
    assert "ingress" not in policy


def test_who_dies_is_brought_back_and_who_ends_well_is_not():
    assert {service["restart"] for service in SERVICES.values()} == {"on-failure"}
    assert not any("replicas" in service.get("deploy", {}) for service in SERVICES.values())
    workers = JOBS["worker"]["spec"]
    assert workers["completionMode"] == "Indexed"
    assert workers["completions"] == workers["parallelism"]
    for limit, spec in (("backoffLimit", JOBS["chief"]["spec"]), ("backoffLimitPerIndex", workers)):
        assert spec[limit] >= 20
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert spec["podReplacementPolicy"] == "Failed"  # never two of one id
        ignored, ended = spec["podFailurePolicy"]["rules"]
        assert (ignored["action"], ended["action"]) == ("Ignore", "FailJob")
        assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert ended["onExitCodes"]["containerName"] == "sweep"
    with pytest.raises(SystemExit) as caught:
        parse(["--keep", "0"])
    assert ended["onExitCodes"]["values"] == [caught.value.code]


def test_all_write_to_one_volume_that_outlives_them():
    out = Path(parse(patched_arguments()).out_dir)
    for service in SERVICES.values():
        ((volume, mount),) = (text.split(":") for text in service["volumes"])
        assert volume in COMPOSE["volumes"]
        assert out.parent == Path(mount)
    claim = OBJECTS["PersistentVolumeClaim", "sweeps"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in PODS:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["sweeps"]["persistentVolumeClaim"] == {"claimName": "sweeps"}
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert set(mounts) == set(volumes)
        assert out.parent == Path(mounts["sweeps"])
    assert f"--group=65532 {out.parent}\n" in DOCKERFILE


def test_a_worker_computes_with_the_cores_that_it_has():
    from trainers.common.process import _THREADS

    def threads(found):
        return [found[name] for name in _THREADS]

    cpu = container("worker")["resources"]["limits"]["cpu"]
    assert threads(environment("worker")) == [cpu] * len(_THREADS)
    for service in WORKERS.values():
        cpu = service["deploy"]["resources"]["limits"]["cpus"]
        assert threads(service["environment"]) == [cpu] * len(_THREADS)


def test_nothing_runs_as_root_or_writes_to_its_image():
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["automountServiceAccountToken"] is False
        (only,) = pod["containers"]
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["allowPrivilegeEscalation"] is False
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} == set(only["resources"])
    for service in SERVICES.values():
        assert service["user"] == "65532:65532"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"]
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["65532:65532"]


def test_the_image_is_made_of_the_projects_files_and_has_one_name():
    version = asym_keras.__version__
    (image,) = KUSTOMIZATION["images"]
    assert image["newTag"] == version
    assert {container(part)["image"] for part in JOBS} == {image["name"]}
    names = {service["image"] for service in SERVICES.values()}
    assert names == {f"{image['name']}:{version}"}
    assert f"--tag {image['name']}:{version} ." in DOCKERFILE
    build = SERVICES["chief"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DEPLOY / "Dockerfile"
    assert DOCKERFILE.endswith(f'ENTRYPOINT ["python", "-m", "{sweep.MODULE}"]\n')
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "[tune]" in DOCKERFILE
    assert re.search(r"^tune = \[", project, re.M)
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    packages = re.search(r"^include = \[(.*)\]$", project, re.M)[1]
    licences = re.search(r"^license-files = \[(.*)\]$", project, re.M)[1]
    needed = {name.rstrip("*") for name in re.findall(r'"(.*?)"', f"{packages} {licences}")}
    needed -= {"benchmarks", "benchmarks.load"}  # a sweep asks no model server
    assert needed | {"pyproject.toml", "README.md"} == copied
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_kustomization_builds_what_the_files_say():
    assert {path.name for path in KUBERNETES.iterdir()} == {
        "kustomization.yaml",
        "reader.yaml",
        *KUSTOMIZATION["resources"],
    }
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on PATH")
    command = ["kubectl", "kustomize", str(KUBERNETES)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    built = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(text)}
    (image,) = KUSTOMIZATION["images"]
    for job in (built["Job", "sweep-chief"], built["Job", "sweep-workers"]):
        (only,) = job["spec"]["template"]["spec"]["containers"]
        assert only.pop("args") == patched_arguments()
        assert only["image"] == f"{image['newName']}:{image['newTag']}"
        only["image"] = image["name"]
    assert built == {key: item for key, item in OBJECTS.items() if key[0] != "Pod"}
