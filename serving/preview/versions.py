"""Which version folders of a model its policy asks for, and whether one has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def wanted(policy, found: Mapping[int, Path]) -> tuple[list[int], int]:
    """Versions to try, newest first, and how many of them are to be loaded.

    Args:
        policy: `FileSystemStoragePathSourceConfig.ServableVersionPolicy`; unset: the latest one.
        found: folders by number.
    """
    newest_first = sorted(found, reverse=True)
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return newest_first, len(newest_first)
    if kind == "specific":
        chosen = [number for number in newest_first if number in set(policy.specific.versions)]
        return chosen, len(chosen)
    return newest_first, policy.latest.num_versions or 1


def fingerprint(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files: tells whether a damaged version was mended."""
    try:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        stats = [path.stat() for path in files]
    except OSError:
        return []
    pairs = zip(files, stats, strict=True)
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in pairs]
