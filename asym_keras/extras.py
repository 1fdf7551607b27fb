"""How packages of an extra are installed: the one place that error messages take it from.

asym-keras is on no package index, so its name alone says nothing to pip. It is installed from a
checkout, or from a wheel that somebody built.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

DISTRIBUTION = "asym-keras"


def install_command(extra: str) -> str:
    """The command that adds an extra to this environment.

    Args:
        extra: a name under `optional-dependencies` of pyproject.toml, such as `"serving"`.

    Returns:
        A line for the shell: this interpreter's pip, and the checkout or wheel that the package
        came from. Where that is gone, or was never noted, the wheel stands there by its name.
    """
    place, editable = _origin()
    option = ["--editable"] if editable else []
    return shlex.join([sys.executable, "-m", "pip", "install", *option, f"{place}[{extra}]"])


def _origin() -> tuple[str, bool]:
    """Path of the checkout or wheel, and whether an install is to be editable."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return str(checkout), True
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:  # a copy of the sources on the path
        return _wheel("VERSION"), False
    noted = distribution.read_text("direct_url.json")
    url = urlparse(json.loads(noted)["url"]) if noted else None
    if url is None or url.scheme != "file" or not Path(path := url2pathname(url.path)).exists():
        return _wheel(distribution.version), False
    return path, False


def _wheel(version: str) -> str:
    return f"{DISTRIBUTION.replace('-', '_')}-{version}-py3-none-any.whl"
