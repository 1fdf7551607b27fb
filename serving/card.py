"""The model card of a version: `card.json` for programs, `README.md` for people."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from serving.readme import render
from serving.versions import check_name

FILE = "card.json"
README = "README.md"
TASKS = ("classification", "regression")
KINDS = ("image", "columns", "vector")
_KEYS = {
    "": (
        *("name", "task", "title", "inputs", "outputs", "gamma", "alpha", "width", "kept"),
        *("refit", "protocol", "seed", "data", "metrics", "commands", "versions"),
    ),
    "inputs": ("kind", "dim", "shape", "names", "low", "high"),
    "outputs": ("classes", "target"),
    "data": ("name", "source", "licence", "fingerprint", "examples"),
}


def portable_command(command: str) -> str:
    """`command` without folders of this machine: only the last part of an absolute path remains.

    Example:
        >>> portable_command("python -m trainers.mnist --out-dir /home/me/runs/mnist")
        'python -m trainers.mnist --out-dir mnist'
    """
    words = (word.rpartition("=") for word in shlex.split(command))
    return shlex.join(
        flag + sign + (PurePath(value).name if PurePath(value).is_absolute() else value)
        for flag, sign, value in words
    )


def package_versions() -> dict[str, str]:
    """Versions that an export depends on."""
    import asym_keras

    own = {"asym_keras": asym_keras.__version__, "python": platform.python_version()}
    return own | {n: importlib.metadata.version(n) for n in ("tensorflow", "keras", "numpy")}


def check_card(card: Any, *, dim: int, outputs: int) -> dict[str, Any]:
    """Returns `card` if it describes a model of `dim` inputs and `outputs` outputs.

    Raises:
        ValueError: A key is missing or its value does not fit the model. The message names the key.
    """
    if not isinstance(card, dict):
        raise _error("a JSON object", f"{type(card).__name__}")
    for part, keys in _KEYS.items():
        content = card.get(part) if part else card
        if not isinstance(content, dict):
            raise _error(f"an object {part}", repr(content))
        missing = [key for key in keys if key not in content]
        if missing:
            raise _error(f"{part or 'the card'} to have {', '.join(missing)}", "none")
    check_name(card["name"])
    kind = card["inputs"]["kind"]
    for key, value, known in (("task", card["task"], TASKS), ("inputs.kind", kind, KINDS)):
        if value not in known:
            raise _error(f"{key} to be one of {', '.join(known)}", repr(value))
    if card["inputs"]["dim"] != dim:
        raise _error(f"inputs.dim {dim}, the model's", repr(card["inputs"]["dim"]))
    classes = card["outputs"]["classes"]
    if card["task"] == "regression" and outputs != 1:
        raise _error("a regression of one output", f"{outputs}")
    if card["task"] == "classification" and classes is not None and len(classes) != outputs:
        raise _error(f"the names of {outputs} classes, the model's outputs", f"{len(classes)}")
    pixels = [card["inputs"][key] for key in ("low", "high")]
    if kind == "image" and not _are_bytes(*pixels):
        raise _error("an image's inputs.low and inputs.high in 0..255", f"{pixels}")
    return card


def write_card(
    folder: str | os.PathLike[str], card: dict[str, Any], text: str | None = None
) -> dict[str, Any]:
    """Writes `README.md` and `card.json` to a version whose other files are complete.

    Args:
        folder: of the version.
        card: from `check_card`. It is not changed.
        text: of `README.md`. None: the text for a packaged model.

    Returns:
        The card with `files`, the SHA-256 of every file in the folder but `card.json`.
    """
    folder = Path(folder)
    (folder / README).write_text(render(card) if text is None else text, encoding="utf-8")
    card = {**card, "files": digests(folder)}
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    return card


def digests(folder: str | os.PathLike[str]) -> dict[str, str]:
    """SHA-256 of every file in `folder` but the card, by its path in the folder, with `/`."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / FILE)
    sums = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return {p.relative_to(folder).as_posix(): digest for p, digest in zip(files, sums, strict=True)}


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The card of a version, as it stands there.

    Raises:
        FileNotFoundError: There is no card.
        ValueError: The card is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        cure = "Name a version that `python -m serving.export` wrote."
        raise FileNotFoundError(f"expected a card in {path}, received no such file. {cure}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(folder, f"{FILE}, which is no JSON ({error})") from error
    if not isinstance(card, dict):
        raise _damaged(folder, f"{FILE} without an object")
    return card


def verify(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a version's card and compares each of its files with it.

    Args:
        folder: `<models>/<name>/<version>`.

    Returns:
        The card.

    Raises:
        FileNotFoundError: There is no card.
        ValueError: A file is missing, has changed, or is not in the card. The message names it.

    Example:
        >>> verify("saved_models/mnist_gamma0_k100/1")["kept"]
        100
    """
    card = read_card(folder)
    files = card.get("files")
    if not isinstance(files, dict) or "saved_model.pb" not in files:
        raise _damaged(folder, f"{FILE} without the sum of saved_model.pb")
    for name in files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise _damaged(folder, f"the file {name!r} in {FILE}, which lies elsewhere")
    found = digests(folder)
    for name in sorted(files.keys() | found.keys()):
        if name not in found:
            raise _damaged(folder, f"no file {name}")
        if name not in files:
            raise _damaged(folder, f"a file {name} that is not in {FILE}")
        if found[name] != files[name]:
            raise _damaged(folder, f"{name} with other content (SHA-256 {found[name][:16]}...)")
    return card


def _are_bytes(low: Any, high: Any) -> bool:
    return all(isinstance(v, (int, float)) for v in (low, high)) and 0 <= low < high <= 255


def _error(expected: str, received: str) -> ValueError:
    cure = "Make the card with serving.package, or leave it out: any FILE.keras can be exported."
    return ValueError(f"card: expected {expected}, received {received}. {cure}")


def _damaged(folder: str | os.PathLike[str], received: str) -> ValueError:
    expected = f"expected the files of {os.fspath(folder)} as they were exported"
    cure = "Export the model again, or put back a good copy."
    return ValueError(f"{expected}, received {received}. {cure}")
