"""Finding, starting, watching and stopping TensorFlow Serving, by a stand-in for its binary.

The last test runs against the real `tensorflow_model_server`, where it is installed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import fake_servers
import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import launch, server_log
from serving.model_config import Batching


@pytest.fixture
def models(tmp_path):
    for folder in ("a/1", "a/2", "b/5"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    path = fake_servers.executable(tmp_path / "bin" / launch.BINARY, fake_servers.BINARY)
    monkeypatch.setenv("PATH", str(path.parent))
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "record.json"))
    return path


def settings_of(models, **options):
    ports = {"rest_port": launch.free_port(), "grpc_port": launch.free_port()}
    return launch.Settings(**{"models": models, "start_seconds": 20.0, **ports, **options})


def test_flags_and_files(models, fake, tmp_path):
    settings = settings_of(
        models,
        versions=("all",),
        labels=("a:stable=1",),
        batching=Batching(max_batch_size=16),
        threads=3,
        grpc_max_threads=8,
        load_retries=2,
        verbose=True,
        timeout=2.5,
        poll_seconds=0.5,
    )
    program = launch.find_program()
    assert program == launch.Program(str(fake))
    with launch.started(program, settings) as process:
        assert process.poll() is None
        seen = fake_servers.record(tmp_path)
    assert process.returncode == 0
    assert (tmp_path / "ended").exists()
    files = {name: seen["flags"].pop(name) for name in seen["files"]}
    assert files.keys() == {
        "model_config_file",
        "monitoring_config_file",
        "batching_parameters_file",
    }
    assert not any(Path(file).exists() for file in files.values())
    assert seen["flags"] == {
        "port": str(settings.grpc_port),
        "rest_api_port": str(settings.rest_port),
        "rest_api_timeout_in_ms": "2500",
        "file_system_poll_wait_seconds": "1",  # 0 would mean: only once
        "grpc_max_threads": "8",
        "max_num_load_retries": "2",
        "enable_batching": "true",
        "allow_version_labels_for_unavailable_models": "true",
        "tensorflow_intra_op_parallelism": "3",
        "tensorflow_inter_op_parallelism": "3",
    }
    text = seen["files"]["model_config_file"]
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    paths = {model.name: model.base_path for model in config.model_config_list.config}
    assert paths == {"a": f"{models}/a", "b": f"{models}/b"}
    assert "max_execution_batch_size { value: 16 }" in seen["files"]["batching_parameters_file"]
    assert "enable: true" in seen["files"]["monitoring_config_file"]


def test_plain_settings_have_few_flags(models, fake, tmp_path):
    with launch.started(launch.find_program(), settings_of(models)):
        pass
    flags = fake_servers.record(tmp_path)["flags"]
    assert flags.keys() == {
        "port",
        "rest_api_port",
        "model_config_file",
        "monitoring_config_file",
        "rest_api_timeout_in_ms",
        "file_system_poll_wait_seconds",
        "grpc_max_threads",
        "max_num_load_retries",
    }
    # The server's own default refuses calls beyond four a core, and tries for five minutes.
    assert (flags["grpc_max_threads"], flags["max_num_load_retries"]) == ("64", "0")


@pytest.mark.parametrize(("verbose", "level"), [(False, "1"), (True, "0")])
def test_its_log_is_passed_on(models, fake, capfd, verbose, level):
    with launch.started(launch.find_program(), settings_of(models, verbose=verbose)):
        pass
    assert f"W main.cc:1] log level {level}\n" in capfd.readouterr().err


CAUSE = "INVALID_ARGUMENT: Shape of tensor x [3] is not {compatible}."


@pytest.mark.parametrize(
    ("retries", "seconds"), [(0, 60.0), pytest.param(3, 4.0, marks=pytest.mark.slow)]
)
def test_models_that_fail_are_named_with_the_cause(models, fake, monkeypatch, retries, seconds):
    monkeypatch.setenv("FAKE_DAMAGED", json.dumps({"b": CAUSE, "c": "elsewhere"}))
    monkeypatch.setenv("FAKE_STATE", "LOADING")
    settings = settings_of(models, load_retries=retries, start_seconds=seconds)
    with pytest.raises(launch.LoadFailed) as caught:
        with launch.started(launch.find_program(), settings):
            pytest.fail("it is not available")
    assert caught.value.failures == {("b", 2): CAUSE.rstrip(".")}
    told = str(caught.value)
    assert f"received b version 2: {CAUSE}" in told
    assert "serving.export" in told
    assert "--skip-damaged" in told


def test_models_that_are_left_out_are_not_in_the_configuration(models, fake, tmp_path):
    with launch.started(launch.find_program(), settings_of(models, without=("b",))):
        pass
    text = fake_servers.record(tmp_path)["files"]["model_config_file"]
    assert 'name: "a"' in text
    assert 'name: "b"' not in text


LOADING = "retrier.cc:40] Loading servable: {name: a version: 3} failed: OUT_OF_RANGE: Read less"
NEW = "manager.cc:359] Servable {name: a version: 3} cannot be loaded: NOT_FOUND: {x}"
ENDED = "Error: UNKNOWN: 2 servable(s) did not become available: "
ENDED += "{{{name: a version: 3} due to error: NOT_FOUND: tags: { serve }. See}, "
ENDED += "{{name: b version: 20} due to error: DATA_LOSS: cut off}, }"


@pytest.mark.parametrize(
    ("lines", "failures"),
    [
        ([LOADING], {("a", 3): "OUT_OF_RANGE: Read less"}),
        ([NEW], {("a", 3): "NOT_FOUND: {x}"}),
        ([ENDED], {("a", 3): "NOT_FOUND: tags: { serve }. See", ("b", 20): "DATA_LOSS: cut off"}),
        (
            ["retrying", LOADING, ENDED],
            {("a", 3): "OUT_OF_RANGE: Read less", ("b", 20): "DATA_LOSS: cut off"},
        ),
        (["Successfully loaded servable version {name: a version: 3}"], {}),
    ],
)
def test_what_the_log_says_of_failures(lines, failures, capsys):
    log = server_log.ServerLog(io.StringIO("\n".join(lines) + "\n"))
    assert log.failures(wait=5) == failures
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("CRASH", "received its end with code 7"),
        ("END", "within 1 seconds, received a: version 1 END broken; b: version 1 END broken"),
        ("LOADING", "a: version 1 LOADING; b: version 1 LOADING. Give more time"),
    ],
)
def test_models_that_do_not_become_available(models, fake, tmp_path, monkeypatch, state, message):
    monkeypatch.setenv("FAKE_STATE", state)
    with pytest.raises(RuntimeError, match=message):
        with launch.started(launch.find_program(), settings_of(models, start_seconds=1.0)):
            pytest.fail("it is not available")
    assert (tmp_path / "ended").exists() == (state != "CRASH")


def test_a_server_that_is_deaf_is_killed(models, fake, monkeypatch):
    monkeypatch.setenv("FAKE_STATE", "DEAF")
    monkeypatch.setattr(launch, "_problem", lambda url, name: "")
    monkeypatch.setattr(launch, "_STOP_SECONDS", 0.5)
    with launch.started(launch.find_program(), settings_of(models)) as process:
        while not _answers(process.args[-1]):
            pass
    assert process.returncode == -signal.SIGKILL


def _answers(flag):
    port = int(flag.rpartition("=")[2])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_in_use_is_told_before_anything_starts(models, fake, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: expected a free one.*--rest-port"):
            with launch.started(launch.find_program(), settings_of(models, grpc_port=port)):
                pass
    assert not (tmp_path / "record.json").exists()


def test_the_binary_needs_the_port_on_every_address(models, fake, tmp_path):
    """It listens on all of them, whatever --host says."""
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}: .* on 0\.0\.0\.0 .*--rest-port"):
            with launch.started(launch.find_program(), settings_of(models, rest_port=port)):
                pass
    assert not (tmp_path / "record.json").exists()


def config_folder(arguments):
    (mount,) = (a for a in arguments if a.endswith(",target=/config,readonly"))
    return Path(mount.removeprefix("type=bind,source=").removesuffix(",target=/config,readonly"))


def test_docker(models, tmp_path, monkeypatch, request):
    docker = fake_servers.executable(tmp_path / "bin" / "docker", fake_servers.DOCKER)
    monkeypatch.setenv("PATH", str(docker.parent))
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "log"))
    with pytest.raises(launch.ServerMissing, match="No such image: tensorflow/serving"):
        launch.find_program()
    monkeypatch.setenv("FAKE_IMAGE", "tensorflow/serving")
    program = launch.find_program()
    assert program == launch.Program(str(docker), "tensorflow/serving")
    started = tmp_path / "log"
    monkeypatch.setattr(launch, "_problem", lambda *_: "" if started.exists() else "no")
    settings = settings_of(models, labels=("a:stable=2",))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0o077)  # the container's user reads the files all the same
    request.addfinalizer(lambda: os.umask(before))
    with launch.started(program, settings) as process:
        arguments = process.args[1:]
        modes = {f.name: f.stat().st_mode & 0o777 for f in config_folder(arguments).iterdir()}
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[0] == arguments
    assert modes == {"models.config": 0o644, "monitoring.config": 0o644}
    name = arguments[arguments.index("--name") + 1]
    assert lines[1:] == [["stop", name]]
    place = arguments.index("tensorflow/serving")
    assert arguments[arguments.index("--env") + 1] == "TF_CPP_MIN_LOG_LEVEL=1"
    assert "--rm" in arguments[:place]
    published = [arguments[i + 1] for i in range(place) if arguments[i] == "--publish"]
    host = "127.0.0.1"
    assert published == [f"{host}:{settings.rest_port}:8501", f"{host}:{settings.grpc_port}:8500"]
    mounts = [arguments[i + 1] for i in range(place) if arguments[i] == "--mount"]
    assert mounts[0] == f"type=bind,source={models},target=/models,readonly"
    assert mounts[1].endswith(",target=/config,readonly")
    assert "--model_config_file=/config/models.config" in arguments[place:]
    assert not any("port=" in flag for flag in arguments[place:])


@pytest.mark.skipif(not shutil.which(launch.BINARY), reason=f"no {launch.BINARY} on PATH")
def test_the_real_server_answers_as_the_preview_does(tmp_path):
    import httpx
    import serving_models

    (tmp_path / "dense").mkdir()
    serving_models.save_dense(tmp_path / "dense" / "1")
    bodies = [
        '{"instances": [[1, 2, 3, 4.5]]}',
        '{"inputs": [[0.1, 9e6, 0, 1], [NaN, 0, 0, 0]]}',
        '{"instances": []}',
        '{"instances": [["a", 2, 3, 4]]}',
        '{"signature_name": "none", "instances": [[1, 2, 3, 4]]}',
        "{",
    ]

    def answers(url):
        path = f"{url}/v1/models/dense"
        replies = [httpx.post(f"{path}:predict", content=body) for body in bodies]
        replies += [httpx.get(path), httpx.get(f"{path}/metadata"), httpx.get(f"{url}/v1/foo")]
        # As sorted text: NaN is not equal to itself, and maps have no order.
        shown = [reply.json() if reply.is_success else [*reply.json()] for reply in replies]
        return [
            (reply.status_code, json.dumps(body, sort_keys=True))
            for reply, body in zip(replies, shown, strict=True)
        ]

    settings = settings_of(tmp_path)
    with launch.started(launch.find_program(), settings):
        real = answers(f"http://127.0.0.1:{settings.rest_port}")
    with serving_models.running_preview(tmp_path) as preview:
        assert answers(preview.rest) == real
