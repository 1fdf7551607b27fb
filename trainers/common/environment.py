"""The device, the versions and the memory of a run, as its record names them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from asym_keras.extras import install_command


def prepare_device(choice: str) -> str:
    """Picks the device, lets GPU memory grow, and returns the device's name."""
    from asym_keras.startup import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    from asym_keras.backend import require_tensorflow

    require_tensorflow("trainers")
    gpus = tf.config.list_physical_devices("GPU")
    if choice == "gpu" and not gpus:
        raise ValueError(
            "--device gpu: expected a GPU that TensorFlow sees, received none. Install the driver "
            f"and what TensorFlow needs ({install_command('gpu')}), or use --device cpu."
        )
    if choice == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        return f"CPU ({_cpu_name()}, {os.cpu_count()} cores)"
    with contextlib.suppress(RuntimeError):  # it is too late if TensorFlow has run in this process
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU ({details.get('device_name', gpus[0].name)})"


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict:
    """Versions and settings that a result depends on, down to round-off."""
    import asym_keras

    packages = ("tensorflow", "keras", "numpy", "scipy")
    return {
        "versions": {
            "asym_keras": asym_keras.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "git_revision": _git_revision(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }


def _git_revision() -> str | None:
    """The revision of the checkout that this file lies in; None if the package is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return None


def peak_memory() -> float | None:
    """The peak resident memory of this process in GB; None where the system does not tell."""
    peak = peak_bytes()
    return None if peak is None else round(peak / 1e9, 3)


def peak_bytes() -> int | None:
    """The peak resident memory of this process in bytes; None where the system does not tell."""
    # On Linux `ru_maxrss` of a child begins at what its parent held.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
