"""Checks, before a run trains, that it fits the memory that is free."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

# A run that needs less is never refused: the rest of its process needs memory, too, and that
# varies by as much.
LEAST_BYTES = 2 * 10**9


def require_memory(config, dataset) -> None:
    """Refuses a run on the CPU that expects more memory than there is.

    Raises:
        ValueError: There is not enough. The message says what would need less.
    """
    import tensorflow as tf

    from asym_keras.training import peak_bytes

    if tf.config.get_visible_devices("GPU"):
        return  # the weights lie in its memory
    examples = len(dataset.x_train) + len(dataset.x_test)
    sizes = examples, dataset.input_dim, config.width, dataset.outputs
    needed = peak_bytes(*sizes, dtype=config.dtype, solver=config.solver)
    free = available_bytes()
    # This process already holds some of what `needed` counts, such as the data.
    if needed < LEAST_BYTES or needed <= free + _resident_bytes():
        return
    ways = ["--solver descent"] * (config.solver == "flow") + ["a smaller --width"]
    ways += ["--dtype float32"] * (config.dtype == "float64")
    raise ValueError(
        f"expected about {needed / 1e9:.1f} GB of memory for width {config.width} and {examples} "
        f"examples of {dataset.input_dim} numbers, received {free / 1e9:.1f} GB available. "
        f"Use {', '.join(ways)}, or a machine with more."
    )


def available_bytes(root: Path = Path("/")) -> int:
    """Bytes that this process can still take, of the machine and within its cgroups.

    Args:
        root: where the `proc` and `sys` of the cgroups lie.
    """
    free = [psutil.virtual_memory().available]
    group = root / "sys/fs/cgroup"
    free += _left(group / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes")  # version 1
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        for path in [line[3:].strip("/") for line in lines if line.startswith("0::")]:
            own = group / path
            for part in (own, *own.parents):
                free += _left(part, "memory.max", "memory.current")
    return min(free)


def _left(group: Path, limit: str, usage: str) -> list[int]:
    """Bytes that a cgroup's limit leaves, if it drops cached files; empty without a limit."""
    with contextlib.suppress(OSError, ValueError):  # no such group, or its limit is "max"
        most, used = (int((group / name).read_text(encoding="ascii")) for name in (limit, usage))
        return [max(0, most - used + _droppable(group / "memory.stat"))]
    return []


def _droppable(path: Path) -> int:
    with contextlib.suppress(OSError):
        for name, size in map(str.split, path.read_text(encoding="ascii").splitlines()):
            if name == "inactive_file":
                return int(size)
    return 0


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss
