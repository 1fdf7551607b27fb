"""Whether a run fits the memory that is free, asked before it trains."""

from __future__ import annotations

import contextlib
from pathlib import Path

# Least memory that is asked for at all: what is smaller is within a process's own spread.
LEAST_BYTES = 2 * 10**9


def require_memory(config, dataset) -> None:
    """Refuses a run on the CPU that expects more memory than there is.

    Raises:
        ValueError: It does; says what would need less.
    """
    import tensorflow as tf

    from asym_keras.training import peak_bytes

    if tf.config.get_visible_devices("GPU"):
        return  # the weights lie in its memory
    examples = len(dataset.x_train) + len(dataset.x_test)
    needed = peak_bytes(
        examples,
        dataset.input_dim,
        config.width,
        dataset.outputs,
        dtype=config.dtype,
        solver=config.solver,
    )
    free = available_bytes()
    # This process holds some of it already.
    if free is None or needed < LEAST_BYTES or needed <= free + _resident_bytes():
        return
    ways = ["a smaller --width"]
    if config.solver == "flow":
        ways.insert(0, "--solver descent")
    if config.dtype == "float64":
        ways.append("--dtype float32")
    raise ValueError(
        f"expected about {needed / 1e9:.1f} GB of memory for width {config.width} and {examples} "
        f"examples of {dataset.input_dim} numbers, received {free / 1e9:.1f} GB available. "
        f"Use {', '.join(ways)}, or a machine with more."
    )


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that programs can still take: of the machine, and of this process's cgroups.

    Args:
        root: where `proc` and `sys` lie.

    Returns:
        int, bytes; None where the system does not tell (not Linux).
    """
    free = [_field(root / "proc/meminfo", "MemAvailable:", 1024)]
    group = root / "sys/fs/cgroup"
    free.append(_left(group / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))  # v1
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        for path in [line[3:].strip("/") for line in lines if line.startswith("0::")]:
            own = Path(path)
            free += [_left(group / p, "memory.max", "memory.current") for p in [own, *own.parents]]
    return min((size for size in free if size is not None), default=None)


def _left(group: Path, limit: str, usage: str) -> int | None:
    """What a cgroup's limit leaves, files that can be dropped not counted; None: no limit."""
    with contextlib.suppress(OSError, ValueError):
        most, used = (int((group / name).read_text(encoding="ascii")) for name in (limit, usage))
        return max(0, most - used + (_field(group / "memory.stat", "inactive_file", 1) or 0))
    return None  # "max", or no such group


def _resident_bytes() -> int:
    return _field(Path("/proc/self/status"), "VmRSS:", 1024) or 0


def _field(path: Path, name: str, unit: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words and words[0] == name:
                return int(words[1]) * unit
    return None
