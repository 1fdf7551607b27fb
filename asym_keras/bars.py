"""Progress bars: on terminals and in notebooks as tqdm draws them, elsewhere lines of text."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import std
from tqdm.auto import tqdm

# Seconds between two lines of a bar that nobody watches; what is over sooner says nothing.
LINE_SECONDS = 30.0
_FORM = "{desc}: {percentage:3.0f}% {elapsed}<{remaining}{postfix}"


def progress_bar(*iterable: Any, **options: Any) -> Any:
    """A bar of tqdm, with its arguments, on standard error.

    Into a file or a pipe it writes whole lines, one each `LINE_SECONDS`, and no line of a thousand
    carriage returns. Where standard error is closed, as by `2>&-`, it writes nothing.
    """
    options["disable"] = bool(options.get("disable")) or sys.stderr is None
    if options["disable"] or sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm(*iterable, **options)
    return _Lines(*iterable, **{**options, "bar_format": _FORM})


def fit_verbosity(quiet: bool) -> int:
    """What `fit` takes as `verbose`: Keras's bar on a terminal, elsewhere a line each epoch."""
    if quiet or sys.stdout is None:
        return 0
    return 1 if sys.stdout.isatty() else 2


class _Lines(std.tqdm):
    """A bar as lines of text."""

    monitor_interval = 0  # no thread that draws between two updates
    last_print_t: float
    disable: bool

    def __init__(self, *iterable: Any, **options: Any):
        own = {"mininterval": LINE_SECONDS, "delay": LINE_SECONDS, "miniters": 1}
        super().__init__(*iterable, **options, **own)
        self._shown = False

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> bool:
        """Writes a line, if the last one is long enough ago."""
        now = self._time()
        if now - self.last_print_t < self.mininterval:
            return False
        self.last_print_t, self._shown = now, True
        return super().refresh(nolock, lock_args)

    @staticmethod
    def status_printer(file: Any) -> Any:
        """What writes a state of the bar."""

        def write(text: str) -> None:
            file.write(f"{text}\n" if text else "")
            file.flush()

        return write

    def close(self) -> None:
        """Writes the last line, if there was one before it."""
        if self.disable:
            return
        if self._shown:
            self.display()
        self.disable = True
        self._decr_instances(self)
