"""Version folders: numbered upwards, each written whole or not at all, none overwritten.

A model server takes every folder below `<models>/<name>/` whose name is an integer for a version,
and loads it at once. So a version is written to a hidden folder beside the others, and renamed once
it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

# Path of the warm-up requests in a version. The model server replays them before it serves it.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_VERSION = 2**63 - 1  # the model server reads the name as an int64
_NAME = re.compile(r"[A-Za-z0-9_]+[A-Za-z0-9_.-]*")
_HIDDEN = ".export-"


def check_name(name: str) -> str:
    """Returns `name` if it can name a model: one path component, safe in a URL and in a shell.

    Raises:
        ValueError: It can't name a model.

    Example:
        >>> check_name("mnist_gamma0_k100")
        'mnist_gamma0_k100'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        expected = "expected the name of a model to be letters, digits and _, then also . and -"
        raise ValueError(f"{expected}, received {name!r}. Choose another --name.")
    return name


def check_version(version: int) -> int:
    """Returns `version` if it can be the number of a version.

    Raises:
        ValueError: It can't.
    """
    whole = isinstance(version, int) and not isinstance(version, bool)
    if not whole or not 1 <= version <= MAX_VERSION:
        expected = f"an integer from 1 to {MAX_VERSION}"
        raise ValueError(f"--version: expected {expected}, received {version!r}.")
    return version


def find_versions(folder: str | os.PathLike) -> dict[int, Path]:
    """The version folders by their numbers, in rising order. Other folders are left out.

    Args:
        folder: `<models>/<name>`. If it is not there, the result is empty.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return {}
    named = {path for path in folder.iterdir() if path.is_dir() and _is_number(path.name)}
    return {int(path.name): path for path in sorted(named, key=lambda path: int(path.name))}


@dataclasses.dataclass
class NewVersion:
    """A version that is being written.

    Attributes:
        temporary: hidden folder that takes the files.
        path: folder of the version; None until the block of `new_version` has ended.
    """

    temporary: Path
    path: Path | None = None


@contextlib.contextmanager
def new_version(folder: str | os.PathLike, version: int | None = None) -> Iterator[NewVersion]:
    """Yields a `NewVersion`, and makes its files a version if the block succeeds.

    The number is taken by the rename at the end, so that two exporters at the same time get two
    numbers. A killed process leaves a hidden folder, which the next export removes.

    Args:
        folder: `<models>/<name>`; made if it is not there.
        version: number of the version. None: one more than the largest there is.

    Raises:
        FileExistsError: This version exists.
        NotADirectoryError: `folder` is a file, or a link to nothing.
        OSError: The folder can't be written or the disk is full. The message names the folder.
        ValueError: `version` can't be the number of a version.

    Example:
        >>> with new_version("saved_models/mnist") as new:
        ...     (new.temporary / "README.md").write_text("A model")
        >>> new.path
        PosixPath('saved_models/mnist/1')
    """
    folder = Path(folder)
    if version is not None:
        _refuse_existing(folder, check_version(version))
    try:
        make_folder(folder, "--name or --to")
        with _hidden_folder(folder) as temporary:
            new = NewVersion(temporary)
            yield new
            # The rename must not reach the disk before the files, or a crash leaves half a version.
            for path in [*temporary.rglob("*"), temporary]:
                _fsync(path)
            new.path = _publish(temporary, folder, version)
    except (FileExistsError, _InTheWay):
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write a version of {folder.name} ({error.strerror or error}); the versions "
            "there are unchanged. Make room, or choose another --to",
            str(folder),
        ) from error


class _InTheWay(NotADirectoryError):
    """Something that is no folder has the name of one that is needed."""


def make_folder(folder: Path, flags: str) -> None:
    """Makes a folder, if it is not there. `flags` are those that choose another one.

    Raises:
        NotADirectoryError: `folder` is a file, or a link to nothing.
        OSError: The folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        what = "a link to nothing" if folder.is_symlink() else "a file"
        raise _InTheWay(
            errno.ENOTDIR,
            f"expected a folder, or nothing yet, received {what}. Move it away, or choose another "
            f"{flags}",
            str(folder),
        ) from None


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) <= MAX_VERSION


def _refuse_existing(folder: Path, version: int) -> None:
    path = find_versions(folder).get(version, folder / str(version))
    if path.exists() or path.is_symlink():
        raise FileExistsError(
            f"expected a new version, received {version}, which exists: {path}. A version is "
            "never overwritten: leave out --version for the next number, or choose another."
        )


@contextlib.contextmanager
def _opened(folder: Path, lock: int | None = None) -> Iterator[int]:
    """A handle of the folder, locked if `lock` says how. The lock ends with the process, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if lock is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, lock)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _hidden_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder in `folder`, locked, which is removed after the block."""
    temporary = folder / f"{_HIDDEN}{secrets.token_hex(6)}"
    try:
        with contextlib.ExitStack() as stack:
            with _opened(folder, fcntl.LOCK_EX):
                _remove_abandoned(folder)
                temporary.mkdir()
                stack.enter_context(_opened(temporary, fcntl.LOCK_EX))
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Removes the hidden folders that nobody has locked, since their exporters have ended."""
    for path in folder.glob(f"{_HIDDEN}*"):
        with contextlib.suppress(OSError), _opened(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


def _fsync(path: Path) -> None:
    with _opened(path) as handle:
        os.fsync(handle)


def _publish(temporary: Path, folder: Path, version: int | None) -> Path:
    """Renames `temporary` to a version that does not exist, and returns its path."""
    while True:
        if version is not None:
            _refuse_existing(folder, version)
        # A file with a number as its name takes the number, too.
        taken = (int(p.name) for p in folder.iterdir() if _is_number(p.name))
        number = check_version(version or max(taken, default=0) + 1)
        path = folder / str(number)
        try:
            os.rename(temporary, path)  # fails if a folder with files has this name
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue
        _fsync(folder)
        return path
