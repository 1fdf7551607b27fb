"""Writes the files that `tensorflow_model_server` is started with.

    python -m serving.model_config --models saved_models --mount /models --output models.config

`models.config` names every model with its absolute path, its version policy and its labels.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asym_keras.files import user_path, write_text
from serving import commands, extra
from serving.versions import find_versions

logger = logging.getLogger("serving.model_config")

METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batching:
    """How the server runs requests of several clients as one batch.

    Attributes:
        max_batch_size: most rows that run at once; the server splits larger requests.
        max_request_size: most rows of one request; the server refuses larger ones.
        timeout_micros: microseconds that a batch waits for more rows.
        max_enqueued_batches: most batches that wait; further requests are UNAVAILABLE.
        threads: batches that run at once. None: the number of cores.
    """

    max_batch_size: int = 128
    max_request_size: int = 2**16
    timeout_micros: int = 0
    max_enqueued_batches: int = 1_000_000
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_batch_size", 1), ("timeout_micros", 0), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, received {value}")
        if self.max_request_size < self.max_batch_size:
            bound = f"max_batch_size ({self.max_batch_size})"
            received = f"received {self.max_request_size}; give one of the two another value"
            raise ValueError(f"max_request_size: expected at least {bound}, {received}")


@functools.cache
def _tell(text: str) -> None:
    """Warns once for each text, since a folder may be read again and again."""
    logger.warning("%s", text)


def find_models(models: str | os.PathLike) -> dict[str, list[int]]:
    """The version numbers of each model in a folder of models, in rising order.

    Args:
        models: folder that holds `NAME/VERSION/saved_model.pb`. Hidden folders and folders without
            a version are no models. Folders that can't be read are skipped with a warning.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No model in it, or a name that can't stand in a REST path.
    """
    models = user_path(models)
    if not models.is_dir():
        received = f"{models}, which is none; write models into it with python -m serving.export"
        raise FileNotFoundError(f"models: expected a folder, received {received}")
    found = {}
    for base in sorted(models.iterdir()):
        try:
            versions = [] if base.name.startswith(".") else list(find_versions(base))
        except OSError as error:  # such as a volume's lost+found, or a folder of another user
            _tell(f"{base}: passed over, it can't be read ({error.strerror or error})")
            continue
        if not versions:
            continue
        if not re.fullmatch("[A-Za-z0-9_.-]+", base.name):
            received = f"received {base.name!r}; rename the folder"
            raise ValueError(
                f"models: expected names of letters, digits, '_', '.' and '-', {received}"
            )
        found[base.name] = versions
    if not found:
        received = "received none; write one with python -m serving.export"
        raise ValueError(f"models: expected folders NAME/VERSION/ in {models}, {received}")
    return found


def build(
    models: str | os.PathLike,
    *,
    versions: Iterable[str] = (),
    labels: Iterable[str] = (),
    mount: str | None = None,
) -> Any:
    """A `ModelServerConfig` of every model in a folder.

    Args:
        models: folder that holds `NAME/VERSION/saved_model.pb`.
        versions: which versions serve: "latest" (the default), "latest:2", "all" or "1,3", for
            every model, or for one model as "NAME=1,3", which overrides what is for every model.
        labels: names of versions, as "NAME:LABEL=VERSION". A labelled version must not be unloaded
            when a newer one comes, so by default the labelled versions and today's newest serve.
        mount: path of `models` as the server sees it. None: its path here. Links in it are kept,
            so that the server follows a link that is later set to another folder.

    Returns:
        `tensorflow_serving.config.model_server_config_pb2.ModelServerConfig`.

    Raises:
        FileNotFoundError: No such folder.
        ModuleNotFoundError: The extra `serving` is not installed.
        ValueError: There are no models, or `versions` or `labels` name a model or version that is
            not there or does not serve.

    Example:
        >>> print(to_text(build("saved_models", versions=["all"], labels=["mnist:stable=1"])))
    """
    found = find_models(models)
    policies = _by_model(versions, found)
    labelled = _labels(labels, found)
    module = "tensorflow_serving.config.model_server_config_pb2"
    config = extra.load(module, wanted_by="models.config").ModelServerConfig()
    for name, numbers in found.items():
        base = f"{mount.rstrip('/')}/{name}" if mount else str(user_path(models).absolute() / name)
        model = config.model_config_list.config.add(name=name, base_path=base)
        model.model_platform = "tensorflow"
        policy = _policy(name, policies.get(name), labelled.get(name, {}), numbers)
        loaded = _set_policy(model.model_version_policy, policy, name, numbers)
        for label, number in labelled.get(name, {}).items():
            if number not in loaded:
                cure = f". Serve it, too: --versions {name}=all" if number in numbers else ""
                raise ValueError(
                    f"label {name}:{label}={number}: expected one of the versions that serve "
                    f"({_listed(loaded)}), received {number}; there are {_listed(numbers)}{cure}"
                )
            model.version_labels[label] = number
    return config


def to_text(config: Any) -> str:
    """The text of a models.config file."""
    from google.protobuf import text_format

    return text_format.MessageToString(config)


def batching_text(batching: Batching) -> str:
    """The text of a batching parameters file; its proto is not in tensorflow-serving-api."""
    return "".join(
        f"{name} {{ value: {value} }}\n"
        for name, value in {
            "max_batch_size": batching.max_request_size,
            "max_execution_batch_size": batching.max_batch_size,
            "enable_large_batch_splitting": "true",
            "batch_timeout_micros": batching.timeout_micros,
            "max_enqueued_batches": batching.max_enqueued_batches,
            "num_batch_threads": batching.threads or os.cpu_count() or 1,
        }.items()
    )


def monitoring_text() -> str:
    """The text of a monitoring config file: metrics for Prometheus on the REST port."""
    return f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'


def _by_model(versions: Iterable[str], found: Mapping[str, list[int]]) -> dict[str, str]:
    of_all: dict[str, str] = {}
    named: dict[str, str] = {}
    for text in versions:
        name, equals, policy = text.rpartition("=")
        if equals:
            _require_model(name, found, f"versions {text}")
            named[name] = policy
        else:
            of_all = dict.fromkeys(found, policy)
    return of_all | named


def _policy(
    name: str, given: str | None, labelled: Mapping[str, int], numbers: Sequence[int]
) -> str:
    """Which versions of a model serve.

    A model with labels can't have the policy `latest`: a new version would unload a labelled one.
    """
    if not labelled or not (given or "latest").startswith("latest"):
        return given or "latest"
    if given is None and set(labelled.values()) <= set(numbers):
        kept = {*labelled.values(), max(numbers)}
        later = f"--versions {name}=all takes later ones, too"
        _tell(f"{name}: serves version {_listed(kept)} alone, since it has labels; {later}")
        return _listed(kept).replace(" ", "")
    if given is None:
        return "all"
    named = _listed(labelled.values()).replace(" ", "")
    raise ValueError(
        f"versions of {name}: expected some that stay, since labels name them, received {given!r}, "
        f"with which a labelled version goes when newer ones come. Give --versions {name}={named} "
        f"or --versions {name}=all"
    )


def _set_policy(proto: Any, text: str, name: str, numbers: Sequence[int]) -> list[int]:
    """Fills the policy `proto` from `text`; returns those of the `numbers` that it loads."""
    if text == "all":
        proto.all.SetInParent()
        return list(numbers)
    if match := re.fullmatch("latest(?::([1-9][0-9]*))?", text):
        proto.latest.num_versions = int(match[1] or 1)
        return list(numbers[-proto.latest.num_versions :])
    if not re.fullmatch("[0-9]+(,[0-9]+)*", text):
        expected = "'latest', 'latest:N', 'all' or numbers such as 1,3"
        raise ValueError(f"versions of {name}: expected {expected}, received {text!r}")
    chosen = sorted(set(map(int, text.split(","))))
    if missing := set(chosen) - set(numbers):
        received = f"received {_listed(missing)}"
        raise ValueError(f"versions of {name}: expected some of {_listed(numbers)}, {received}")
    proto.specific.versions.extend(chosen)
    return chosen


def _labels(labels: Iterable[str], found: Mapping[str, list[int]]) -> dict[str, dict[str, int]]:
    by_model: dict[str, dict[str, int]] = {}
    for text in labels:
        match = re.fullmatch("([^:=]+):([a-zA-Z0-9_]+)=([0-9]+)", text)
        if not match:
            expected = "NAME:LABEL=VERSION with letters, digits and '_' in LABEL"
            raise ValueError(f"label: expected {expected}, received {text!r}")
        _require_model(match[1], found, f"label {text}")
        by_model.setdefault(match[1], {})[match[2]] = int(match[3])
    return by_model


def _require_model(name: str, found: Mapping[str, list[int]], what: str) -> None:
    if name not in found:
        raise ValueError(f"{what}: expected a model of {', '.join(found)}, received {name!r}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def add_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds the flags that `build` needs; `--models` need not be `required`."""
    add = parser.add_argument
    models = "folder of models: NAME/VERSION/saved_model.pb"
    which = "which versions serve: latest (the default), latest:N, all, or numbers such as 1,3"
    label = "a name for a version that serves, such as mnist:stable=1"
    many: dict[str, Any] = {"action": "append", "default": []}
    add("--models", required=required, metavar="FOLDER", help=models)
    add("--versions", **many, metavar="[NAME=]WHICH", help=which)
    add("--label", **many, dest="labels", metavar="NAME:LABEL=VERSION", help=label)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a models.config, or writes it."""
    parser = commands.parser("serving.model_config", __doc__)
    add_arguments(parser)
    parser.add_argument("--mount", metavar="PATH", help="path of the models as the server sees it")
    whole = "file to write, whole or not at all: a server may read it (default: standard output)"
    parser.add_argument("--output", metavar="FILE", help=whole)
    flags = parser.parse_args(argv)
    commands.start_log()
    if status := commands.status_of(lambda: _write(flags)):
        sys.exit(status)


def _write(flags: argparse.Namespace) -> None:
    options = {"versions": flags.versions, "labels": flags.labels, "mount": flags.mount}
    text = to_text(build(flags.models, **options))
    if flags.output is None:
        print(text, end="")
        return
    # Readable by all, since the server may run as another user.
    write_text(flags.output, text, mode=0o644)


if __name__ == "__main__":
    main()
