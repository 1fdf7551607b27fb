"""Checks a built wheel: every file is in it, and it imports from another folder.

    python .ci/check_wheel.py dist/asym_keras-*.whl

The wheel goes into a fresh virtual environment that borrows the dependencies of this one, so
TensorFlow is not installed a second time and the source tree is not on the path.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("asym_keras", "trainers", "serving")
LOAD = "benchmarks/load"  # of the benchmarks the load generator alone is in the wheel

# Runs in the fresh environment: imports every module of the packages from there.
IMPORT_ALL = """
import importlib, importlib.metadata, pathlib, pkgutil, sys
count = 0
for package in map(importlib.import_module, sys.argv[1:]):
    place = pathlib.Path(package.__file__)
    assert place.is_relative_to(sys.prefix), f"{package.__name__} comes from {place}"
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            count += 1
version = importlib.metadata.version("asym-keras")
assert importlib.import_module("asym_keras").__version__ == version
print(f"asym-keras {version}: {count} modules import from the installed wheel")
"""


def source_files() -> set[str]:
    """Files of the packages that git tracks, or would."""
    command = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        *PACKAGES,
        LOAD,
    ]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return {name for name in names if (ROOT / name).is_file()}


def check_contents(wheel: Path) -> None:
    """Every file of the packages is in the wheel; py.typed and the bundled data are among them."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = source_files() | {f"{package}/py.typed" for package in PACKAGES}
    missing = sorted(wanted - packed)
    if missing:
        sys.exit(
            f"{wheel.name} lacks {', '.join(missing)}: a folder needs __init__.py, or a data "
            "file a pattern under package-data in pyproject.toml."
        )
    print(f"{wheel.name}: all {len(wanted)} files of the packages")


def check_import(wheel: Path) -> None:
    """Every module imports from the wheel alone, in another folder, and its load generator runs."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "venv")
        venv.create(place, with_pip=False, symlinks=True)
        python = place / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", str(wheel.resolve())], check=True)
        # A folder named in a .pth file is searched after the venv's own packages, and the .pth
        # files in it (the editable install of this tree) are not read.
        site = next(place.glob("lib/python*/site-packages"))
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        done = subprocess.run([python, "-I", "-c", IMPORT_ALL, *PACKAGES], cwd=folder)
        if done.returncode:
            sys.exit(f"{wheel.name} does not import on its own: see above.")
        bench = [python, "-I", "-m", "serving.client", "bench", "--help"]
        if subprocess.run(bench, cwd=folder, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{wheel.name}: `serving.client bench` does not run from it: see above.")


if __name__ == "__main__":
    (wheel,) = map(Path, sys.argv[1:])
    check_contents(wheel)
    check_import(wheel)
