"""Paths as users write them; files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """`path` with the home folder for a leading `~` or `~user`.

    A shell does so only where such a word begins: not in `--data=~/x`, and not in what a program,
    a service file or a container puts into the environment.

    Raises:
        ValueError: No user of that name has a home folder here.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~") and not os.path.lexists(expanded):
        user = expanded.split(os.sep)[0]
        raise ValueError(
            f"expected a path, received {expanded!r}: {user} is nobody's home folder here; write "
            f"the path out, or .{os.sep}{user} for a name that begins with ~"
        )
    return Path(expanded)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` if the block succeeds.

    A killed process or a full disk leaves the old file as it was. The temporary name keeps
    the suffix of `path`, since many writers choose the format by it. `~` is the home folder.
    Where `path` is a link, the file that it names is written.

    Raises:
        OSError: The folder can't be written or the disk is full; says so by name.
        ValueError: `path` is a device or a pipe, which can't be replaced.
    """
    path = _written(user_path(path))
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp{path.suffix}"
    try:
        # As any new file, by the umask or the folder's own rules: not mkstemp's, which none but
        # the owner may read. To ask for the umask is to change it, for other threads' files, too.
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise _explained(error, path) from error
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str, *, mode: int | None = None) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all; `mode`: its permissions, if given."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if mode is not None:
            temporary.chmod(mode)


def replace_folder(made: Path, folder: Path) -> None:
    """Renames the folder `made` to `folder`; what was there is removed once that has worked.

    Both are in one file system. If it fails, `folder` is what it was.
    """
    old = made.with_name(f"{made.name}.old")
    if not folder.exists():
        os.replace(made, folder)
        return
    os.replace(folder, old)
    try:
        os.replace(made, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _written(path: Path) -> Path:
    """The file that is written where `path` is asked for: the end of its links."""
    file = Path(os.path.realpath(path)) if path.is_symlink() else path
    with contextlib.suppress(OSError):  # a folder that can't be read is told when it is written
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ValueError(
                f"expected the name of a file, received {path}, which is a device or a pipe"
            )
    return file


def _explained(error: OSError, path: Path) -> OSError:
    return OSError(
        error.errno,
        f"could not write {path.name} ({error.strerror or error}); what was there before is "
        "unchanged. Make room or choose a folder that can be written",
        str(path.parent),
    )
