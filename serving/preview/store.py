"""The models that are served: versions found by polling, loaded before old ones are unloaded."""

from __future__ import annotations

import dataclasses
import errno
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.preview.configuration import Configuration
from serving.preview.errors import ServingError, invalid
from serving.preview.servable import Servable
from serving.versions import find_versions

logger = logging.getLogger("serving.preview")

_RETRY_SECONDS = 60.0


@dataclasses.dataclass
class Version:
    """One version of one model, loaded or not.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: why it could not be loaded.
        users: number of requests that use it now.
        tried: time of the last try to load it.
    """

    model: str
    number: int
    state: str = "START"
    error: ServingError | None = None
    servable: Any = None  # a Servable while AVAILABLE or UNLOADING
    users: int = 0
    tried: float = -math.inf


class Store:
    """Loads, hands out and unloads versions, as a `ModelServerConfig` says.

    Versions change in the server's order. If a wanted version serves already, old versions are
    unloaded before new ones are loaded. If none does, the old versions serve until a wanted one is
    loaded. If no wanted version can be loaded, the newest good one serves instead. The store tries
    to load a bad version again once a minute, and when its folder has gone and come back. Running
    requests keep their version until they end.

    Args:
        config: `tensorflow_serving.config.ModelServerConfig` with absolute base paths.
        load: function that loads a version from its folder, or raises.
        reread: function that reads the configuration again, before each look for versions.
    """

    def __init__(
        self,
        config: Any,
        load: Callable[[Path], Servable],
        reread: Callable[[], Any] | None = None,
    ):
        self._wanted = Configuration(config, reread)
        self._versions: dict[str, dict[int, Version]] = {name: {} for name in self._wanted.models}
        self._troubles: dict[str, str] = {}
        self._load = load
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._poller: threading.Thread | None = None

    def start(self, poll_seconds: float) -> None:
        """Loads the versions there are, and starts a thread that looks for new ones.

        Args:
            poll_seconds: seconds between two looks. 0: there is no thread.

        Raises:
            RuntimeError: No model could be loaded.
        """
        self.poll()
        if not any(self.available().values()):
            cure = "(see the log above). Export them again with python -m serving.export"
            raise RuntimeError(
                f"expected at least one model that can be loaded, received none {cure}"
            )
        if poll_seconds:
            self._poller = threading.Thread(
                target=self._poll_until_stopped, args=(poll_seconds,), name="poller", daemon=True
            )
            self._poller.start()

    def stop(self) -> None:
        """Ends polling and unloads all versions; one that a request uses when the request ends."""
        self._stopped.set()
        if self._poller:
            self._poller.join()
        for versions in self._versions.values():
            for version in versions.values():
                self._retire(version)

    def available(self) -> dict[str, list[int]]:
        """Numbers of the versions that serve, by model, in rising order."""
        with self._lock:
            return {
                name: sorted(n for n, version in versions.items() if version.state == "AVAILABLE")
                for name, versions in self._versions.items()
            }

    def states(
        self, model: str, number: int | None = None
    ) -> list[tuple[int, str, ServingError | None]]:
        """Number, state and error of one version, or of every known one, newest first.

        Raises:
            ServingError: NOT_FOUND: there is none.
        """
        with self._lock:
            versions = self._versions.get(model, {})
            chosen = sorted(versions, reverse=True) if number is None else [number]
            states = [(n, versions[n].state, versions[n].error) for n in chosen if n in versions]
        if not states:
            what = "any versions" if number is None else f"version {number}"
            raise ServingError("NOT_FOUND", f"Could not find {what} of model {model}")
        return states

    @contextmanager
    def lease(
        self, model: str, number: int | None = None, label: str | None = None
    ) -> Iterator[Version]:
        """A version that stays loaded within the block: by number, by label, or the newest.

        Raises:
            ServingError: NOT_FOUND: no such model or version; INVALID_ARGUMENT: no such label.
        """
        with self._lock:
            version = self._find(model, number, label)
            version.users += 1
        try:
            yield version
        finally:
            with self._lock:
                version.users -= 1
            self._close_when_idle(version)

    def poll(self) -> None:
        """Looks once for versions that are new, that are gone, or that are due for another try."""
        self._wanted.refresh(self.available())
        models = self._wanted.models
        with self._lock:
            gone = self._versions.keys() - models.keys()
            self._versions = {name: {} for name in models} | self._versions
        for name in gone:
            self._retire_all_but(name, set())
        for name, config in models.items():
            try:
                found = _versions_in(Path(config.base_path))
            except OSError as error:  # must not keep the other models from changing
                self._tell(name, f"{error.strerror}: {config.base_path}; nothing changes")
                continue
            self._tell(name, "")
            self._follow(name, found, *_wanted(config.model_version_policy, found))

    def _tell(self, name: str, trouble: str) -> None:
        """Logs a model's trouble when it begins and when it ends, and not at each look."""
        if trouble != self._troubles.get(name, ""):
            level = logging.ERROR if trouble else logging.INFO
            logger.log(level, "%s: %s", name, trouble or "its folder can be read again")
            self._troubles[name] = trouble

    def _poll_until_stopped(self, seconds: float) -> None:
        while not self._stopped.wait(seconds):
            try:
                self.poll()
            except Exception:  # whatever the folders hold, the thread must go on
                logger.exception("a look for versions failed; the next one comes as usual")

    def _follow(self, name: str, found: dict[int, Path], candidates: list[int], count: int) -> None:
        with self._lock:
            for number, version in self._versions[name].items():
                if number not in found:
                    version.tried = -math.inf
        wanted = set(candidates[:count])
        # Old versions serve until a wanted one does. If no version is wanted, they go at once.
        if not wanted or wanted & set(self.available()[name]):
            self._retire_all_but(name, wanted)
        serving: set[int] = set()
        for place, number in enumerate(candidates):
            if place >= count and serving:
                break
            if len(serving) < count and self._is_loaded(name, number, found[number]):
                serving.add(number)
        if serving:
            self._retire_all_but(name, serving)

    def _retire_all_but(self, name: str, numbers: set[int]) -> None:
        with self._lock:
            others = [v for n, v in self._versions[name].items() if n not in numbers]
        for version in others:
            self._retire(version)

    def _is_loaded(self, name: str, number: int, path: Path) -> bool:
        with self._lock:
            version = self._versions[name].get(number)
        if version and version.state == "AVAILABLE":
            return True
        if version and version.error and time.monotonic() < version.tried + _RETRY_SECONDS:
            return False
        version = Version(name, number, "LOADING", tried=time.monotonic())
        with self._lock:
            self._versions[name][number] = version
        try:
            servable = self._load(path)
        except Exception as error:  # a damaged model raises errors of many kinds
            code = getattr(error, "code", None)
            told = ServingError(code if isinstance(code, str) else "UNKNOWN", str(error))
            with self._lock:
                version.state, version.error = "END", told
            others = self.available()[name]
            instead = f"serving on: {', '.join(map(str, others)) or 'no other version'}"
            logger.error("%s version %d can't be loaded (%s): %s", name, number, instead, error)
            return False
        with self._lock:
            version.state, version.servable = "AVAILABLE", servable
        logger.info("%s version %d: available", name, number)
        return True

    def _find(self, model: str, number: int | None, label: str | None) -> Version:
        if label is not None:
            number = self._wanted.version_of(model, label)
            if number is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        versions = self._versions.get(model, {})
        loaded = [n for n, version in versions.items() if version.state == "AVAILABLE"]
        chosen = max(loaded, default=None) if number is None else number
        if chosen is None or chosen not in loaded:
            request = f"Latest({model})" if number is None else f"Specific({model}, {number})"
            raise ServingError("NOT_FOUND", f"Servable not found for request: {request}")
        return versions[chosen]

    def _retire(self, version: Version) -> None:
        with self._lock:
            if version.state == "AVAILABLE":
                version.state = "UNLOADING"
                logger.info("%s version %d: unloading", version.model, version.number)
        self._close_when_idle(version)

    def _close_when_idle(self, version: Version) -> None:
        with self._lock:
            if version.state != "UNLOADING" or version.users or version.servable is None:
                return
            servable, version.servable, version.state = version.servable, None, "END"
        servable.close()


def _versions_in(base: Path) -> dict[int, Path]:
    if not base.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(base))
    return find_versions(base)


def _wanted(policy: Any, found: dict[int, Path]) -> tuple[list[int], int]:
    """The versions that a `ServableVersionPolicy` allows, newest first, and how many may serve."""
    newest_first = sorted(found, reverse=True)
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        newest_first = [number for number in newest_first if number in policy.specific.versions]
    if kind in ("all", "specific"):
        return newest_first, len(newest_first)
    return newest_first, policy.latest.num_versions or 1
