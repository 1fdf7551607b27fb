"""One command at a time in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    import fcntl as _fcntl
except ModuleNotFoundError:  # Windows
    _fcntl = None  # type: ignore[assignment]

fcntl: Any = _fcntl
logger = logging.getLogger("trainers")

LOCK = ".lock"


class FolderInUse(RuntimeError):
    """Another command works in the folder."""


class FolderLock:
    """Keeps other commands out of a folder while a `with` block lasts; makes the folder.

    The lock is the kernel's (`flock`), on a file in the folder that says who has it. A killed
    process leaves the file, without a lock: it keeps nobody out. Where the file system or the
    operating system (Windows) has no such locks, a warning says so, and nothing is kept out.

    Args:
        path: the folder.

    Raises:
        FolderInUse: Another process, or another lock of this one, has the folder.
        OSError: The folder can't be made or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file, self._made = -1, False

    def __enter__(self) -> FolderLock:
        self._made = not self.path.exists()
        make_folder(self.path)
        if fcntl is None:
            self._warn("none on this operating system")
            return self
        self._open()
        while not self._is_there():  # who had it has removed it in between
            os.close(self._file)
            self._open()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, _holder().encode(), 0)
        os.fsync(self._file)  # for readers on other machines
        return self

    def __exit__(self, *exception) -> None:
        if fcntl is None:
            return
        # While it is locked: another one might have it already.
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._file)
        if self._made:  # a command that was refused leaves nothing
            with contextlib.suppress(OSError):
                self.path.rmdir()  # not where there is something in it

    def _open(self) -> None:
        with _explained(self.path):
            # For writing, as network file systems ask; no program that is started inherits it.
            self._file = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock()
        except BaseException:
            os.close(self._file)
            raise

    def _is_there(self) -> bool:
        """Whether the locked file is the one that others find."""
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self.path / LOCK))
        except FileNotFoundError:
            return False

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"expected a folder that no other command works in, received {self.path}, which "
                f"{self._who()} has. Wait for its end, stop it, or choose another --out-dir."
            ) from None
        except OSError as error:
            self._warn(error.strerror or type(error).__name__)

    def _warn(self, reason: str) -> None:
        logger.warning(
            "no locks in %s (%s): see to it yourself that no second command works there",
            self.path,
            reason,
        )

    def _who(self) -> str:
        try:
            holder = json.loads(os.pread(self._file, 2**16, 0))
            return "process {pid} on {host}, since {since},".format(**holder)
        except (KeyError, OSError, TypeError, ValueError):  # it has not written its name yet
            return "another process"


def _holder() -> str:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n"


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; an error says what to do."""
    with _explained(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"expected an output folder that can be written, received one that can't "
            f"({error.strerror}); choose another --out-dir",
            str(path),
        ) from error


def is_free(path: Path) -> bool:
    """Whether there is no such folder, or nothing in it but a lock."""
    if not path.is_dir():
        return not path.exists()
    return all(item.name == LOCK for item in path.iterdir())


def clear(path: Path) -> None:
    """Removes all that is in a folder, but not its lock: that would be another file for others."""
    for item in path.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != LOCK:
            item.unlink()
