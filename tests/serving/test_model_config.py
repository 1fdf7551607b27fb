"""models.config and its neighbours: what they say, and which wishes are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import model_config
from serving.model_config import Batching

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def models(tmp_path):
    for folder in ("a/1", "a/3", "a/00000007", "a/.export-x", "b.v-2/12", "empty", ".hidden/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a" / "9").touch()  # a file is no version
    (tmp_path / "models.config").touch()
    return tmp_path


def test_every_model_with_its_absolute_path(models, monkeypatch):
    monkeypatch.chdir(models)
    assert model_config.find_models(".") == {"a": [1, 3, 7], "b.v-2": [12]}
    text = model_config.to_text(model_config.build("."))
    expected = text_format.Parse(
        f"""model_config_list {{
              config {{ name: "a" base_path: "{models}/a" model_platform: "tensorflow"
                        model_version_policy {{ latest {{ num_versions: 1 }} }} }}
              config {{ name: "b.v-2" base_path: "{models}/b.v-2" model_platform: "tensorflow"
                        model_version_policy {{ latest {{ num_versions: 1 }} }} }} }}""",
        model_server_config_pb2.ModelServerConfig(),
    )
    assert text_format.Parse(text, model_server_config_pb2.ModelServerConfig()) == expected


def test_policies_and_labels(models):
    config = model_config.build(
        models,
        versions=["latest:2", "a=1,7"],
        labels=["a:stable=1", "a:canary=7"],
        mount="/models/",
    )
    a, b = config.model_config_list.config
    assert (a.base_path, b.base_path) == ("/models/a", "/models/b.v-2")
    assert list(a.model_version_policy.specific.versions) == [1, 7]
    assert dict(a.version_labels) == {"stable": 1, "canary": 7}
    assert b.model_version_policy.latest.num_versions == 2
    everything = model_config.build(models, versions=["all"]).model_config_list.config[0]
    assert everything.model_version_policy.WhichOneof("policy_choice") == "all"


@pytest.mark.parametrize("versions", [["a=1", "all"], ["all", "a=1"], ["latest", "a=1", "all"]])
def test_versions_of_one_model_go_before_those_of_all(models, versions):
    a, b = model_config.build(models, versions=versions).model_config_list.config
    assert list(a.model_version_policy.specific.versions) == [1]
    assert b.model_version_policy.WhichOneof("policy_choice") == "all"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"versions": ["newest"]}, "versions of a: expected 'latest'.*received 'newest'"),
        ({"versions": ["latest:0"]}, "received 'latest:0'"),
        ({"versions": ["a=1,2"]}, "expected some of 1, 3, 7, received 2"),
        ({"versions": ["c=1"]}, "expected a model of a, b.v-2, received 'c'"),
        ({"labels": ["a:stable"]}, "expected NAME:LABEL=VERSION.*received 'a:stable'"),
        ({"labels": ["a:sta-ble=7"]}, "letters, digits and '_' in LABEL"),
        ({"labels": ["c:stable=1"]}, "expected a model of a, b.v-2, received 'c'"),
        (
            {"labels": ["a:stable=3"], "versions": ["a=1,7"]},
            r"versions that serve \(1, 7\), received 3; there are 1, 3, 7\. .*--versions a=all",
        ),
        ({"labels": ["a:stable=4"]}, r"versions that serve .*received 4; there are 1, 3, 7$"),
        ({"labels": ["a:stable=7"], "versions": ["latest"]}, "some that stay.*--versions a=7 or"),
        ({"labels": ["a:x=7", "a:y=3"], "versions": ["a=latest:9"]}, "--versions a=3,7 or .*a=all"),
    ],
)
def test_wishes_that_can_not_be_met(models, options, message):
    with pytest.raises(ValueError, match=message):
        model_config.build(models, **options)


def test_a_label_keeps_its_version(models, caplog):
    a, b = model_config.build(models, labels=["a:stable=3"]).model_config_list.config
    assert list(a.model_version_policy.specific.versions) == [3, 7]
    assert b.model_version_policy.latest.num_versions == 1
    assert caplog.text.count("a: serves version 3, 7 alone, since it has labels") == 1
    everything = model_config.build(models, labels=["a:stable=3"], versions=["a=all"])
    policy = everything.model_config_list.config[0].model_version_policy
    assert policy.WhichOneof("policy_choice") == "all"


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_what_can_not_be_read_is_passed_over(models, monkeypatch, caplog, error):
    find = model_config.find_versions

    def find_versions(folder):
        if folder.name == "empty":  # a volume's lost+found
            raise error(13, "Permission denied", str(folder))
        return find(folder)

    monkeypatch.setattr(model_config, "find_versions", find_versions)
    for _ in range(2):
        assert model_config.find_models(models) == {"a": [1, 3, 7], "b.v-2": [12]}
    told = f"{models}/empty: passed over, it can't be read (Permission denied)"
    assert caplog.text.count(told) == 1


def test_a_link_is_followed_when_it_is_set_anew(models, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(models)
    paths = [m.base_path for m in model_config.build(link).model_config_list.config]
    assert paths == [f"{link}/a", f"{link}/b.v-2"]


def test_a_live_file_is_written_whole_or_not_at_all(models, tmp_path, capsys):
    file = tmp_path / "live.config"
    file.write_text("as it was")
    flags = ["--models", str(models), "--mount", "/models", "--output", str(file)]
    with pytest.raises(SystemExit):
        model_config.main([*flags, "--versions", "a=2"])
    assert file.read_text() == "as it was"
    before = os.umask(0o077)
    try:
        model_config.main(flags)
    finally:
        os.umask(before)
    config = text_format.Parse(file.read_text(), model_server_config_pb2.ModelServerConfig())
    assert [m.base_path for m in config.model_config_list.config] == ["/models/a", "/models/b.v-2"]
    assert file.stat().st_mode & 0o777 == 0o644  # the server may be another user's
    assert not capsys.readouterr().out


def test_folders_without_models(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a folder.*python -m serving\.export"):
        model_config.build(tmp_path / "none")
    with pytest.raises(ValueError, match=r"expected folders NAME/VERSION/ in .*, received none"):
        model_config.build(tmp_path)
    (tmp_path / "a:b" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match="received 'a:b'; rename the folder"):
        model_config.build(tmp_path)


def test_batching_and_monitoring():
    text = model_config.batching_text(Batching(max_batch_size=32, threads=4, timeout_micros=500))
    assert dict(line.split(" { value: ") for line in text.replace(" }", "").splitlines()) == {
        "max_batch_size": "65536",
        "max_execution_batch_size": "32",
        "enable_large_batch_splitting": "true",
        "batch_timeout_micros": "500",
        "max_enqueued_batches": "1000000",
        "num_batch_threads": "4",
    }
    assert model_config.monitoring_text() == (
        'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'
    )
    with pytest.raises(ValueError, match="max_batch_size: expected at least 1, received 0"):
        Batching(max_batch_size=0)
    with pytest.raises(ValueError, match=r"max_request_size: .* \(128\), received 100; give"):
        Batching(max_request_size=100)


def test_the_command_prints_it(models):
    command = [sys.executable, "-m", "serving.model_config", "--models", str(models)]
    done = subprocess.run(
        [*command, "--mount", "/models"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    config = text_format.Parse(done.stdout, model_server_config_pb2.ModelServerConfig())
    assert [m.base_path for m in config.model_config_list.config] == ["/models/a", "/models/b.v-2"]
    done = subprocess.run(
        [*command, "--versions", "x=1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: versions x=1: expected a model of")
