"""Standard streams that a program was started without."""

from __future__ import annotations

import fcntl
import os
import sys


def open_closed_streams() -> None:
    """Opens the null device in the place of standard streams that are closed, as by `2>&-`.

    Python has None there, which bars and logs can't write to. Worse, the next file that is opened
    would get the stream's number, and messages of libraries in C would be written into it. A shell
    script whose streams are closed passes itself on, so, as a stream that can only be read.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is not None and not (number and stream is getattr(sys, f"__{name}__")):
            continue
        try:
            writes = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            if stream is not None and writes:
                continue
        except OSError:  # the number is free
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            if null > 2:
                os.close(null)
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))
