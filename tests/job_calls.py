"""Functions that tests call in other processes, which must be able to import them."""

from __future__ import annotations

import os
import time


def square(number):
    """The square; an error below 0, and the death of the process at 13."""
    if number == 13:
        os._exit(1)
    if number < 0:
        raise ValueError(f"expected a nonnegative number, received {number}")
    return number**2


def threads(_):
    """Process, and what it tells numerical libraries of threads."""
    return os.getpid(), os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["OMP_NUM_THREADS"]


def wait(path):
    """Leaves its process number at `path` and waits; says at its end that it was interrupted."""
    with open(f"{path}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{path}.part", path)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        with open(f"{path}.interrupted", "w"):
            pass
        raise
