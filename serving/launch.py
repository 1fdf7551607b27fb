"""Starts, watches and stops the real TensorFlow Serving."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import logging
import math
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from asym_keras.files import user_path, write_text
from serving import model_config, tether
from serving.addresses import bare, free_port, joined, require_free, to_ask
from serving.model_config import Batching
from serving.program import BINARY as BINARY
from serving.program import IMAGE as IMAGE
from serving.program import Program as Program
from serving.program import ServerMissing as ServerMissing
from serving.program import find_program as find_program
from serving.server_log import LoadFailed, ServerLog

logger = logging.getLogger("serving.launch")

_STOP_SECONDS = 15.0
_LOG_SECONDS = 5.0  # most seconds to wait for the last lines of a server that has ended
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How the server is started.

    Attributes:
        models: folder of models.
        versions, labels: as `model_config.build` takes them.
        host: address on which Docker publishes the ports. The binary listens on every address.
        rest_port, grpc_port: ports; `run` replaces 0 by a free one.
        batching: how requests are batched. None: they are not.
        threads: size of TensorFlow's two thread pools. None: all cores.
        grpc_max_threads: most gRPC calls at the same time. The server refuses further ones.
        load_retries: further tries to load a version after the first one, a minute apart.
        timeout: seconds that a REST call may take.
        poll_seconds: seconds between two looks for new versions. 0: it looks once, at the start.
        start_seconds: seconds that the models may take to load.
        without: models of the folder that are left out.
        verbose: whether the server logs what it does. False: only warnings and errors.
    """

    models: str | os.PathLike
    versions: Sequence[str] = ()
    labels: Sequence[str] = ()
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    batching: Batching | None = None
    threads: int | None = None
    grpc_max_threads: int = 64
    load_retries: int = 0
    timeout: float = 30.0
    poll_seconds: float = 1.0
    start_seconds: float = 120.0
    without: Sequence[str] = ()
    verbose: bool = False


@contextlib.contextmanager
def started(program: Program, settings: Settings) -> Iterator[subprocess.Popen]:
    """Starts a server, waits until every model is AVAILABLE, and stops it after the block.

    If this process ends in any other way, such as by SIGKILL, the server ends, too.

    Raises:
        LoadFailed: The server's log says that it could not load some models.
        RuntimeError: The server ended, or a model did not become available in time.
        OSError: There is no folder of models, or a port is in use.
        ValueError: The folder holds no models, or lacks some that the settings name.
    """
    config = _config(settings)
    ports = settings.rest_port, settings.grpc_port
    listening = [settings.host] if program.image else [settings.host, "0.0.0.0"]
    for port, host in itertools.product(ports, listening):
        require_free(host, port)
    if not program.image and bare(settings.host) not in ("0.0.0.0", "::"):
        listens = f"{BINARY} listens on every address of this machine, not on {settings.host} only"
        logger.warning("%s: close ports %d and %d to others, or use Docker", listens, *ports)
    if not program.image and ":" in settings.host:
        logger.warning("%s listens for gRPC on IPv4 alone: ask at 127.0.0.1", BINARY)
    if program.image and user_path(settings.models).is_symlink():
        told = "%s is a link, which Docker follows once, at its start: start anew when it has moved"
        logger.warning(told, settings.models)
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        command, stop = _command(program, settings, Path(folder))
        # In a session of its own the server gets no Ctrl-C, so that `_stop` alone ends it.
        with tether.tied(stop or ()) as tie:
            process = subprocess.Popen(
                command,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, _LOG_LEVEL: _log_level(settings)},
            )
            try:
                tie(process.pid)
                log = ServerLog(cast(IO[str], process.stderr))
                names = [model.name for model in config.model_config_list.config]
                _wait_until_available(process, settings, names, log)
                yield process
            finally:
                _stop(process, stop)


def run(program: Program, settings: Settings, announce: Callable[[Settings], None]) -> None:
    """Runs the server until a `KeyboardInterrupt`.

    Args:
        program: what `find_program` returned.
        settings: how to start it; this function chooses a port for each that is 0.
        announce: is called with these settings and the chosen ports, once every model is available.

    Raises:
        RuntimeError: The server ended by itself, or a model did not become available in time.
    """
    rest, grpc = settings.rest_port or free_port(), settings.grpc_port or free_port()
    settings = dataclasses.replace(settings, rest_port=rest, grpc_port=grpc)
    try:
        with started(program, settings) as process:
            announce(settings)
            code = process.wait()
    except KeyboardInterrupt:
        return
    raise RuntimeError(f"{BINARY}: expected it to run on, received its end with code {code}")


def _command(
    program: Program, settings: Settings, folder: Path
) -> tuple[list[str], list[str] | None]:
    """The command line that starts the server and, for Docker, the one that stops it."""
    mount = "/models" if program.image else None
    config = _config(settings, mount)
    seen = "/config" if program.image else str(folder)
    files = {
        "model_config_file": ("models.config", model_config.to_text(config)),
        "monitoring_config_file": ("monitoring.config", model_config.monitoring_text()),
    }
    if settings.batching:
        text = model_config.batching_text(settings.batching)
        files["batching_parameters_file"] = ("batching.config", text)
    for name, text in files.values():
        write_text(folder / name, text, mode=0o644)
    folder.chmod(0o755)  # the container may run as another user
    flags: dict[str, str | int] = {flag: f"{seen}/{name}" for flag, (name, _) in files.items()} | {
        "rest_api_timeout_in_ms": int(1000 * settings.timeout),
        "file_system_poll_wait_seconds": math.ceil(settings.poll_seconds),
        "grpc_max_threads": settings.grpc_max_threads,
        "max_num_load_retries": settings.load_retries,
    }
    if settings.batching:
        flags["enable_batching"] = "true"
    if settings.labels:
        # The server reads the labels before it has loaded any version, and would refuse them.
        flags["allow_version_labels_for_unavailable_models"] = "true"
    if settings.threads:
        flags["tensorflow_intra_op_parallelism"] = settings.threads
        flags["tensorflow_inter_op_parallelism"] = settings.threads
    if program.image:
        name = f"serving-{uuid.uuid4().hex[:12]}"
        options = ["--rm", "--name", name, "--env", f"{_LOG_LEVEL}={_log_level(settings)}"]
        for port, inside in ((settings.rest_port, 8501), (settings.grpc_port, 8500)):
            options += ["--publish", f"{joined(settings.host, port)}:{inside}"]
        for outside, target in ((user_path(settings.models).resolve(), mount), (folder, seen)):
            fields = "type=bind", f"source={outside}", f"target={target}", "readonly"
            options += ["--mount", _as_csv(fields)]
        start = [program.command, "run", *options, program.image]
        stop = [program.command, "stop", name]
    else:
        flags |= {"port": settings.grpc_port, "rest_api_port": settings.rest_port}
        start, stop = [program.command], None
    return [*start, *(f"--{flag}={value}" for flag, value in flags.items())], stop


def _as_csv(fields: Sequence[str]) -> str:
    """`fields` as CSV, the form of Docker's --mount: a path with a comma needs quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _config(settings: Settings, mount: str | None = None) -> Any:
    config = model_config.build(
        settings.models, versions=settings.versions, labels=settings.labels, mount=mount
    )
    models = config.model_config_list.config
    kept = [model for model in models if model.name not in settings.without]
    if not kept:
        raise ValueError(
            f"expected a model to serve, received only models to leave out: {settings.without}"
        )
    del models[:]
    models.extend(kept)
    return config


def _log_level(settings: Settings) -> str:
    return "0" if settings.verbose else "1"


def _wait_until_available(
    process: subprocess.Popen, settings: Settings, names: Sequence[str], log: ServerLog
) -> None:
    url = f"http://{joined(to_ask(settings.host), settings.rest_port)}"
    end = time.monotonic() + settings.start_seconds
    while problems := [f"{name}: {problem}" for name in names if (problem := _problem(url, name))]:
        if process.poll() is not None:
            if failures := log.failures(wait=_LOG_SECONDS):
                raise LoadFailed(failures)
            received = f"its end with code {process.returncode}; its log above says why"
            raise RuntimeError(f"{BINARY}: expected it to serve, received {received}")
        if time.monotonic() > end:
            if failures := log.failures():
                raise LoadFailed(failures)
            within = f"within {settings.start_seconds:g} seconds, received {'; '.join(problems)}"
            cure = "Give more time with --start-timeout, or mend the models"
            raise RuntimeError(f"expected every model to be AVAILABLE {within}. {cure}")
        time.sleep(0.1)


def _problem(url: str, name: str) -> str:
    """Why the server at `url` does not serve the model yet; empty if it does."""
    from serving.client import ServingError
    from serving.client.client import Client
    from serving.client.endpoint import parse_endpoint

    # The server is this machine's own, at whatever address: no proxy of the environment is asked.
    endpoint = dataclasses.replace(parse_endpoint(url, name), direct=True)
    try:
        with Client(endpoint, timeout=5.0, retries=0) as client:
            versions = client.status()
    except ServingError as error:
        return f"no status ({error.code}: {error.message})"
    if any(version.is_available for version in versions):
        return ""
    return ", ".join(f"version {v.version} {v.state} {v.message}".strip() for v in versions)


def _stop(process: subprocess.Popen, stop: Sequence[str] | None) -> None:
    """Asks the server to end. Kills it if it does not end in time, or at a second Ctrl-C."""
    try:
        if stop:
            subprocess.run(stop, capture_output=True, timeout=2 * _STOP_SECONDS, check=False)
        process.terminate()
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        logger.warning("the server did not end when asked: killed")
        process.kill()
        process.wait()
