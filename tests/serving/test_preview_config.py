"""A `models.config` that is read again: models, versions and labels come, go and move."""

from __future__ import annotations

import logging

import httpx
import pytest
import serving_models
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import config_file, model_config, serve
from serving.preview.errors import ServingError
from serving.preview.store import Store


class FakeServable:
    def __init__(self, path):
        self.path = path

    def close(self):
        pass


@pytest.fixture
def models(tmp_path):
    for folder in ("m/1", "m/2", "m/3", "n/1"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    return tmp_path / "models"


class Server:
    """A store whose configuration is a file."""

    def __init__(self, models):
        self.models = models
        self.file = models.parent / "models.config"

    def write(self, *labels, versions, without=()):
        config = model_config.build(
            self.models, versions=[f"m={versions}"], labels=[f"m:{label}" for label in labels]
        )
        kept = [m for m in config.model_config_list.config if m.name not in without]
        self.file.write_text(text_format.MessageToString(_listed(kept)))

    def start(self):
        self.store = Store(self.read(), FakeServable, self.read)
        self.store.start(0)

    def read(self):
        return config_file.read(self.file)

    def poll(self):
        self.store.poll()
        return self.store.available()

    def labelled(self, label):
        with self.store.lease("m", label=label) as version:
            return version.number


def _listed(models):
    config = ModelServerConfig()
    config.model_config_list.config.extend(models)
    return config


@pytest.fixture
def server(models):
    server = Server(models)
    server.write("stable=1", "canary=1", versions="1")
    server.start()
    return server


def test_versions_and_labels_follow_the_file(server, caplog):
    assert server.poll() == {"m": [1], "n": [1]}
    records = caplog.get_records("setup") + caplog.records
    assert not [record for record in records if record.levelno >= logging.ERROR]
    server.write("stable=1", "canary=1", versions="1,2")
    assert server.poll()["m"] == [1, 2]
    server.write("stable=1", "canary=2", versions="1,2")
    server.poll()
    assert (server.labelled("stable"), server.labelled("canary")) == (1, 2)
    server.write("stable=2", versions="2")
    assert server.poll()["m"] == [2]
    assert server.labelled("stable") == 2
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        server.labelled("canary")


def test_a_label_moves_only_to_a_version_that_serves(server, caplog):
    """Else the whole file is refused: what it says of versions is not done either."""
    caplog.set_level(logging.ERROR)
    server.write("stable=1", "canary=2", versions="1,2")
    for _ in range(3):
        assert server.poll()["m"] == [1]
    assert server.labelled("canary") == 1
    assert [r.getMessage() for r in caplog.records] == [
        "the configuration stays as it was: it assigns label canary to version 2 of model m, which "
        "is not AVAILABLE; load it first, with the label where it is, and move the label then"
    ]
    server.write("stable=1", "canary=1", versions="1,2")
    server.poll()
    server.write("stable=1", "canary=2", versions="1,2")
    server.poll()
    assert server.labelled("canary") == 2


def test_a_new_label_may_name_a_version_that_is_yet_to_be_loaded(server):
    server.write("stable=1", "canary=1", "next=3", versions="1,3")
    assert server.poll()["m"] == [1, 3]
    assert server.labelled("next") == 3


def test_models_come_and_go(server, models):
    server.write("stable=1", "canary=1", versions="1", without=["n"])
    assert server.poll() == {"m": [1], "n": []}
    with pytest.raises(ServingError, match=r"Latest\(n\)"):
        with server.store.lease("n"):
            pass
    (models / "new" / "7").mkdir(parents=True)
    server.write("stable=1", "canary=1", versions="1")
    assert server.poll() == {"m": [1], "n": [1], "new": [7]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model_config_list { config { nam", "expected the text of a models.config"),
        ("", "expected a model_config_list of models, received none"),
        (None, "No such file"),
    ],
)
def test_a_damaged_file_changes_nothing_and_is_told_once(server, caplog, text, problem):
    caplog.set_level(logging.INFO)
    if text is None:
        server.file.unlink()
    else:
        server.file.write_text(text)
    server.poll()
    assert server.poll() == {"m": [1], "n": [1]}
    assert problem in caplog.text
    assert caplog.text.count("the configuration stays as it was") == 1
    server.write("stable=1", "canary=1", versions="1,2")
    assert server.poll()["m"] == [1, 2]
    assert "a changed configuration is taken over" in caplog.text


def test_paths_of_a_container_are_looked_for_in_a_folder_of_models(models):
    file = models.parent / "models.config"
    file.write_text(model_config.to_text(model_config.build(models, mount="/models")))
    paths = {m.name: m.base_path for m in config_file.read(file).model_config_list.config}
    assert paths == {"m": "/models/m", "n": "/models/n"}
    found = config_file.read(file, models=models).model_config_list.config
    assert {m.name: m.base_path for m in found} == {n: str(models / n) for n in "mn"}


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ('config { name: "a" base_path: "/a" } config { name: "a" base_path: "/b" }', "a again"),
        ('config { name: "a" base_path: "a" }', "expected absolute paths, received 'a' of model a"),
    ],
)
def test_files_that_no_server_takes(tmp_path, models, problem):
    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{ {models} }}")
    with pytest.raises(ValueError, match=problem):
        config_file.read(file)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--models: expected a folder of models, received none"),
        (["--config", "x"], "--config: expected --preview"),
        (["--config", "x", "--preview", "--versions", "all"], "without --versions and --label"),
    ],
)
def test_flags_that_do_not_go_together(capsys, flags, message):
    with pytest.raises(SystemExit):
        serve.main(flags)
    assert message in capsys.readouterr().err


def test_no_such_file_is_an_error_before_anything_loads(tmp_path, capsys):
    assert serve.main(["--config", str(tmp_path / "none"), "--preview"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_server_follows_its_file(tmp_path):
    (tmp_path / "models" / "dense").mkdir(parents=True)
    serving_models.save_dense(tmp_path / "models" / "dense" / "1")
    serving_models.save_dense(tmp_path / "models" / "dense" / "2", factor=2.0)
    file = tmp_path / "models.config"

    def write(version):
        build = {"versions": [version], "labels": [f"dense:live={version}"], "mount": "/models"}
        file.write_text(model_config.to_text(model_config.build(tmp_path / "models", **build)))

    def read():
        return config_file.read(file, models=tmp_path / "models")

    write("1")
    with serving_models.running_preview(tmp_path / "models", reread=read) as server:
        path = f"{server.rest}/v1/models/dense/labels/live:predict"
        body = {"signature_name": "features", "instances": [[1, 0, 0, 0]]}

        def answered():
            return httpx.post(path, json=body).json()["predictions"][0]

        assert answered() == serving_models.scores([1, 0, 0, 0]).tolist()
        text = file.read_text()
        file.write_text(text.replace("versions: 1", "versions: 1 versions: 2"))
        serving_models.until(lambda: server.server.store.available()["dense"] == [1, 2])
        write("2")
        serving_models.until(lambda: answered() == serving_models.scores([1, 0, 0, 0], 2).tolist())
