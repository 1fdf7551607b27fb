"""Passes on the log of the model server, and reads from it which models could not be loaded."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Mapping
from itertools import chain
from typing import IO, TypeAlias

Failures: TypeAlias = Mapping[tuple[str, int], str]  # model and version -> cause

_CURE = (
    "Export it again with python -m serving.export, move its folder away, or start with the "
    "others by --skip-damaged"
)
_SERVABLE = r"\{name: (?P<name>\S+) version: (?P<version>[0-9]+)\}"
# The server logs "Loading servable: {name: m version: 1} failed: CAUSE" after each failed try, and
# "{{{name: m version: 1} due to error: CAUSE}, {{name: n version: 2} due to ...}, }" when it ends.
_FAILURES = (
    re.compile(_SERVABLE + " (?:failed|load failure|cannot be loaded): (?P<cause>.*)"),
    re.compile(_SERVABLE + r" due to error: (?P<cause>.*?)(?=\}, [{}]|\}*$)"),
)


class LoadFailed(RuntimeError):
    """The server ended or did not open its ports because it could not load some models.

    Attributes:
        failures: cause by model and version.
    """

    def __init__(self, failures: Failures):
        super().__init__(f"expected every model to load, received {told(failures)}. {_CURE}")
        self.failures = failures


class ServerLog:
    """Passes the lines of a stream on to stderr, in a thread, and remembers the failures in them.

    Args:
        stream: the server's stderr. The thread closes it after its last line.
    """

    def __init__(self, stream: IO[str]):
        self._failures: dict[tuple[str, int], str] = {}
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def failures(self, *, wait: float = 0.0) -> Failures:
        """The failures so far.

        Args:
            wait: most seconds to wait for the end of the log. Once the server has ended, its last
                lines may still be unread.
        """
        if wait:
            self._thread.join(wait)
        return dict(self._failures)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                text = line.rstrip()
                for match in chain.from_iterable(find.finditer(text) for find in _FAILURES):
                    key = match["name"], int(match["version"])
                    self._failures.setdefault(key, match["cause"].strip().rstrip("."))
                with contextlib.suppress(OSError):  # stderr may be closed; the server must run on
                    print(line, end="", file=sys.stderr, flush=True)


def told(failures: Failures) -> str:
    """Model, version and cause of each failure, as text for a message."""
    parts = (f"{name} version {number}: {cause}" for (name, number), cause in failures.items())
    return "; ".join(parts)
