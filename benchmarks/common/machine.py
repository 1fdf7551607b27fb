"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from asym_keras.startup import import_tensorflow


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, str | int]:
    """Processor, system, versions and revision of ours; starts TensorFlow."""
    import_tensorflow()
    import tensorflow as tf

    packages = ("tensorflow", "keras", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "processor": _processor(),
        "cores": cores(),
        "gpu of ours": ", ".join(gpus) or "none",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
        "revision": _revision(),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def reason(error: Exception) -> str:
    """The last line that says why a program could not be run, or failed."""
    text = getattr(error, "stderr", None) or str(error)
    return text.strip().splitlines()[-1]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        by_name = {name.strip(): value.strip() for name, value in fields.items()}
        numbers = "family {cpu family}, model {model}".format_map(by_name)
        return f"{by_name['model name']} ({numbers})"
    except (OSError, KeyError):  # not Linux, or not x86
        told = _output("sysctl", "-n", "machdep.cpu.brand_string")
        return told or platform.processor() or platform.machine()


def _revision() -> str:
    return _output("git", "describe", "--always", "--dirty") or "unknown"


def _output(*command: str) -> str:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
