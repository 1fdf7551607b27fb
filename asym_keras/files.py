"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` if the block succeeds.

    A killed process or a full disk leaves the old file as it was. The temporary name keeps
    the suffix of `path`, since many writers choose the format by it.

    Raises:
        OSError: The folder can't be written or the disk is full; says so by name.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".tmp{path.suffix}")
        os.close(handle)
    except OSError as error:
        raise _explained(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _explained(error: OSError, path: Path) -> OSError:
    return OSError(
        error.errno,
        f"could not write {path.name} ({error.strerror or error}); what was there before is "
        "unchanged. Make room or choose a folder that can be written",
        str(path.parent),
    )
