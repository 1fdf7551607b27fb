"""Keeps a folder for one command at a time, by a lock that ends with its process in any case."""

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

from filelock import lock_descriptor

logger = logging.getLogger("trainers")

LOCK = ".lock"


class FolderInUse(RuntimeError):
    """Another command works in the folder."""


@contextlib.contextmanager
def folder_lock(folder: str | Path) -> Iterator[None]:
    """Keeps other commands out of a folder while a `with` block lasts; makes the folder.

    The operating system locks a file in the folder, which says who has the lock. If a process is
    killed, its file stays without a lock and keeps nobody out. Where the file system has no locks,
    a warning says so, and nobody is kept out.

    Raises:
        FolderInUse: Another process, or another lock of this one, has the folder.
        OSError: The folder can't be made or written.
    """
    path = Path(folder)
    made = not path.exists()
    make_folder(path)
    file = _locked(path / LOCK)
    # The former holder may have removed the file after we opened it and before we locked it.
    while not _is_there(file, path / LOCK):
        os.close(file)
        file = _locked(path / LOCK)
    try:
        os.ftruncate(file, 0)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.write(file, f"{json.dumps(holder)}\n".encode())
        os.fsync(file)  # for readers on other machines
        yield
    finally:
        # Remove the file while it is locked: afterwards it may be another command's.
        with contextlib.suppress(OSError):  # Windows keeps files that are open
            (path / LOCK).unlink()
        os.close(file)
        if made:  # a command that was refused leaves no folder behind
            with contextlib.suppress(OSError):
                path.rmdir()  # fails if there is something in it


def _locked(path: Path) -> int:
    """The open and locked file; no program that this process starts inherits it."""
    with _explained(path.parent):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not lock_descriptor(file, blocking=False):
            raise FolderInUse(
                f"expected a folder that no other command works in, received {path.parent}, which "
                f"{_who(file)} has. Wait for its end, stop it, or choose another --out-dir."
            )
    except OSError as error:
        logger.warning(
            "no locks in %s (%s): see to it yourself that no second command works there",
            path.parent,
            error.strerror or type(error).__name__,
        )
    except FolderInUse:
        os.close(file)
        raise
    return file


def _is_there(file: int, path: Path) -> bool:
    """Whether the locked file is the one that others find."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _who(file: int) -> str:
    try:
        return "process {pid} on {host}, since {since},".format(**json.loads(os.read(file, 2**16)))
    except (KeyError, OSError, TypeError, ValueError):  # it has not written its name yet
        return "another process"


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
    """Empties a folder, but keeps its lock file: without it, others would lock a new one."""
    for item in path.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != LOCK:
            item.unlink()
