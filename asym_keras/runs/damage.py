"""Errors about damaged files in a run folder."""

from __future__ import annotations

from pathlib import Path

CURE = "Put back a good copy, or run it again with --overwrite"


def unreadable(expected: str, path: Path, error: Exception) -> ValueError:
    """The error about a file that another library could not read."""
    return damaged(expected, path, f"a file that can't be read ({type(error).__name__})")


def damaged(expected: str, path: Path, received: str) -> ValueError:
    """The error about a file that holds something else."""
    return ValueError(f"expected {expected} in {path}, received {received}. {CURE}.")
