"""What the command lines of `serving` have in common: parsers, ports, logs, exit statuses."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from asym_keras.streams import open_closed_streams

# Most seconds of a time limit, 24 days. The model server holds milliseconds in 32 bits. Threads,
# sockets and gRPC fail at times that are a few thousand times longer.
LONGEST_SECONDS = (2**31 - 1) // 1000


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE`; its help keeps the line breaks of `description`."""
    lines = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        f"python -m {module}", description=description, formatter_class=lines, allow_abbrev=False
    )


def fields_of(kind: Any, flags: argparse.Namespace) -> dict[str, Any]:
    """The flags that are named as fields of the dataclass `kind`, with their values."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: value for name, value in vars(flags).items() if name in names}


def port(text: str) -> int:
    """The port in the text of a flag; 0 stands for any free one."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, received {text}")
    return number


def ending_signals() -> list[signal.Signals]:
    """The signals that end a server: SIGINT, SIGTERM, and SIGHUP unless nohup has it ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return numbers[:-1] if ignored else numbers


def start_log(level: int = logging.INFO) -> None:
    """Sends the log to stderr, since results go to stdout, and silences TensorFlow's C++ log."""
    open_closed_streams()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)


def status_of(
    work: Callable[[], object], *, debug: bool = False, also: tuple[type[Exception], ...] = ()
) -> int:
    """Runs `work`; an error that the user can mend is printed as one line, without a traceback.

    Args:
        work: what the command does.
        debug: whether to show the traceback of such an error.
        also: further kinds of errors that the user can mend.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    mended: tuple[type[Exception], ...] = (ImportError, OSError, RuntimeError, ValueError, *also)
    try:
        work()
    except KeyboardInterrupt:
        return 130
    except UnicodeEncodeError as error:  # its own message does not name the path
        if debug:
            raise
        before, after = error.object[: error.start], error.object[error.start :]
        line = before.rpartition("\n")[2] + after.partition("\n")[0]
        received = f"received {line!r}; rename what is not"
        print(f"error: expected names and paths in UTF-8, {received}", file=sys.stderr)
        return 1
    except mended as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
