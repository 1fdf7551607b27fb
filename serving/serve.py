"""Serves a folder of models over REST and gRPC, by TensorFlow Serving.

    python -m serving.serve --models saved_models
    python -m serving.serve --models saved_models --versions all --label mnist:stable=1
    python -m serving.serve --models saved_models --preview
    python -m serving.serve --config models.config --models saved_models --preview

Starts tensorflow_model_server from PATH or, if it is not there, the Docker image
tensorflow/serving; waits until every model is available; and stops the server on Ctrl-C, SIGTERM or
the end of its terminal. With --preview a small server for development and tests answers the same
calls, and neither the binary nor Docker is needed. Once the models are available, one line of JSON
on standard output names the ports and the models.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from asym_keras.startup import import_tensorflow
from serving import addresses, commands, config_file, extra, launch, model_config, server_log
from serving.model_config import Batching

logger = logging.getLogger("serving.serve")

_BATCHING = (
    "--batching merges requests of all clients before any shape is checked: a request of a wrong "
    "shape fails those that it is merged with, and requests without rows can stop the server. Use "
    "it only where every client is your own"
)


# Flags that have no effect without --batching, and flags that have none with --preview: both are
# refused. To tell whether one was given, the parser leaves out the defaults below.
_OF_BATCHING = {"max_batch_size": "--max-batch-size", "timeout_micros": "--batch-timeout-micros"}
_OF_THE_REAL_SERVER = {
    "image": "--image",
    "batching": "--batching",
    **_OF_BATCHING,
    "load_retries": "--load-retries",
    "skip_damaged": "--skip-damaged",
    "verbose": "--verbose",
    "start_seconds": "--start-timeout",
}
_DEFAULTS = {"max_batch_size": 128, "timeout_micros": 0, "load_retries": 0, "start_seconds": 120.0}


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal; returns the exit code."""
    flags = _parse(argv)
    commands.start_log()
    return commands.status_of(
        lambda: _preview(flags) if flags.preview else _real(flags), debug=flags.debug
    )


def _real(flags: argparse.Namespace) -> None:
    batching = Batching(**commands.fields_of(Batching, flags)) if flags.batching else None
    given = commands.fields_of(launch.Settings, flags) | {"batching": batching}
    settings = launch.Settings(**given)
    names = [model.name for model in _config(flags).model_config_list.config]
    program = launch.find_program(flags.image or launch.IMAGE)
    if flags.image and program.image is None:
        logger.warning("--image is not used: %s on PATH comes first", launch.BINARY)
    if batching:
        logger.warning(_BATCHING)

    def announce(settings: launch.Settings) -> None:
        kind = "docker" if program.image else launch.BINARY
        served = [name for name in names if name not in settings.without]
        _announce(kind, settings.host, settings.rest_port, settings.grpc_port, served)

    for number in commands.ending_signals():
        signal.signal(number, signal.default_int_handler)  # each stops the server as Ctrl-C does
    if flags.skip_damaged:
        _run_without_damaged(program, settings, announce)
    else:
        launch.run(program, settings, announce)


def _run_without_damaged(
    program: launch.Program,
    settings: launch.Settings,
    announce: Callable[[launch.Settings], None],
) -> None:
    """Starts the server anew without the models that it can't load, until the others serve.

    Names the models that are left out, now and again at the end.
    """
    left_out: dict[tuple[str, int], str] = {}
    try:
        while True:
            try:
                return launch.run(program, settings, announce)
            except server_log.LoadFailed as error:
                new = {name for name, _ in error.failures} - set(settings.without)
                if not new:  # the server fails for another reason
                    raise
                left_out |= error.failures
                logger.warning(
                    "left out, and the others start: %s", server_log.told(error.failures)
                )
                settings = dataclasses.replace(settings, without=[*settings.without, *sorted(new)])
    finally:
        if left_out:
            logger.warning("left out from the start on: %s", server_log.told(left_out))


def _preview(flags: argparse.Namespace) -> None:
    config, reread = _config(flags), None
    if flags.config is not None:
        reread = functools.partial(_config, flags)
    for port in (flags.rest_port, flags.grpc_port):
        addresses.require_free(flags.host, port)
    import_tensorflow()
    with extra.needed("--preview"):
        from serving.preview import server as preview
    options = preview.Options(**commands.fields_of(preview.Options, flags))

    def announce(server: preview.PreviewServer) -> None:
        names = [name for name, versions in server.store.available().items() if versions]
        _announce("preview", flags.host, server.rest_port, server.grpc_port, names)

    preview.serve(config, options, announce, reread)


def _config(flags: argparse.Namespace) -> Any:
    if flags.config is not None:
        return config_file.read(flags.config, models=flags.models)
    return model_config.build(flags.models, versions=flags.versions, labels=flags.labels)


def _announce(kind: str, host: str, rest_port: int, grpc_port: int, models: list[str]) -> None:
    ports = {"rest_port": rest_port, "grpc_port": grpc_port}
    line = {"ready": True, "server": kind, "host": host, **ports, "models": models}
    print(json.dumps(line), flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = commands.parser("serving.serve", __doc__)
    model_config.add_arguments(parser, required=False)
    add = parser.add_argument
    config = "models.config, read again when it changes; its models lie in --models, if given"
    add("--config", metavar="FILE", help=f"{config} (--preview)")
    add("--rest-port", type=commands.port, default=8501, help="0: any free one (default: 8501)")
    add("--grpc-port", type=commands.port, default=8500, help="0: any free one (default: 8500)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--preview", action="store_true", help="start the preview server, for development")
    add("--image", help=f"Docker image (default: {launch.IMAGE})")
    add("--batching", action="store_true", help="run requests of several clients as one batch")
    add("--max-batch-size", type=int, help="rows that run at once (default: 128)")
    waits, loads = "how long a batch waits (default: 0)", "seconds to load (default: 120)"
    add("--batch-timeout-micros", dest="timeout_micros", type=int, help=waits)
    add("--threads", type=int, help="TensorFlow's threads (default: the number of cores)")
    calls = "calls by gRPC under way at once; further ones are refused (default: 64)"
    add("--grpc-max-threads", type=int, default=64, metavar="N", help=calls)
    retries = "tries to load a model after the first, a minute apart (default: 0)"
    add("--load-retries", type=int, metavar="N", help=retries)
    skip = "start without models that cannot be loaded, and name them"
    add("--skip-damaged", action="store_true", help=skip)
    add("--verbose", action="store_true", help="show what TensorFlow Serving logs of its work")
    add("--timeout", type=float, default=30.0, help="seconds for a call (default: 30)")
    add("--poll-seconds", type=float, default=1.0, help="between looks for versions (default: 1)")
    add("--start-timeout", dest="start_seconds", type=float, help=loads)
    add("--debug", action="store_true", help="show tracebacks")
    flags = parser.parse_args(argv)
    if flags.preview and (given := _given(flags, _OF_THE_REAL_SERVER)):
        received = "received --preview, which does without; leave out the one or the other"
        parser.error(f"{given}: expected the real server, {received}")
    if not flags.batching and (given := _given(flags, _OF_BATCHING)):
        parser.error(f"{given}: expected --batching beside it, received none; add it")
    for name, value in _DEFAULTS.items():
        if getattr(flags, name) is None:
            setattr(flags, name, value)
    if flags.rest_port and flags.rest_port == flags.grpc_port:
        received = f"received {flags.rest_port}"
        parser.error(f"--rest-port: expected another one than --grpc-port, {received}")
    if flags.models is None and flags.config is None:
        parser.error("--models: expected a folder of models, received none")
    if flags.config is not None and (flags.versions or flags.labels or not flags.preview):
        instead = "start tensorflow_model_server with --model_config_file=FILE for the real server"
        parser.error(f"--config: expected --preview without --versions and --label; {instead}")
    above = {"threads": flags.threads, "timeout": flags.timeout}
    above["grpc-max-threads"] = flags.grpc_max_threads
    for name, value in (above | {"start-timeout": flags.start_seconds}).items():
        if value is not None and not value > 0:  # NaN is refused, too
            parser.error(f"--{name}: expected a number above 0, received {value}")
    for flag, value in (
        ("--poll-seconds", flags.poll_seconds),
        ("--load-retries", flags.load_retries),
        ("--batch-timeout-micros", flags.timeout_micros),
    ):
        if not value >= 0:
            parser.error(f"{flag}: expected a number from 0 on, received {value}")
    if not 1 <= flags.max_batch_size <= Batching.max_request_size:
        expected = f"expected 1 to {Batching.max_request_size} rows, the most of one request"
        parser.error(f"--max-batch-size: {expected}, received {flags.max_batch_size}")
    most = commands.LONGEST_SECONDS
    for flag, value in (("--timeout", flags.timeout), ("--poll-seconds", flags.poll_seconds)):
        if value > most:
            expected = f"at most {most} seconds, which are 24 days"
            parser.error(f"{flag}: expected {expected}, received {value}")
    return flags


def _given(flags: argparse.Namespace, names: dict[str, str]) -> str:
    """The flags of `names` that stand in the command line, as text for a message."""
    values = {text: getattr(flags, name) for name, text in names.items()}
    found = [t for t, value in values.items() if value is not None and value is not False]
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
