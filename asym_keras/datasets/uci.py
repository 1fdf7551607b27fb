"""The four UCI regression tasks of Section 6.2, from a folder, a cache or the repository."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

import numpy as np

from asym_keras.datasets.csv_table import Table, parse_csv, read_csv
from asym_keras.datasets.dataset import Dataset
from asym_keras.datasets.folders import DATA_DIR, cache_folder, data_folder
from asym_keras.datasets.table import split_table
from asym_keras.files import atomic_path, user_path

_URL = "https://archive.ics.uci.edu/static/public/{}/data.csv"
_TIMEOUT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Published:
    """A set as UCI publishes it; columns go by position, since their names differ by source."""

    number: int  # UCI's id
    rows: int
    features: tuple[str, ...]  # the leading columns, with units; the next one is the target
    target: str
    decimals: tuple[int, ...]  # of each column; the other digits of a file do not count
    sha256: str  # of the numbers, rounded to these decimals: see `_digest`


_SETS = {
    "concrete": _Published(
        number=165,
        rows=1030,
        features=(
            *("cement (kg/m³)", "blast furnace slag (kg/m³)", "fly ash (kg/m³)", "water (kg/m³)"),
            *("superplasticizer (kg/m³)", "coarse aggregate (kg/m³)", "fine aggregate (kg/m³)"),
            "age (days)",
        ),
        target="compressive strength (MPa)",
        # Of data.csv; the edition Concrete_Data.xls has more.
        decimals=(1, 1, 1, 1, 1, 1, 1, 1, 2),
        sha256="768ef62eb05898381c4f85e9fa482f5b2086774878680e4f47ccad244da105c7",
    ),
    "energy": _Published(
        number=242,
        rows=768,
        features=(
            *("relative compactness", "surface area (m²)", "wall area (m²)", "roof area (m²)"),
            *("overall height (m)", "orientation", "glazing area", "glazing area distribution"),
        ),
        target="heating load (kWh/m²)",
        decimals=(2, 1, 1, 2, 1, 1, 2, 1, 2, 2),
        sha256="c842d674ac09bf570ff75e1d56bb13e92482a12d8ebe12f3b77ef71cf050a901",
    ),
    "airfoil": _Published(
        number=291,
        rows=1503,
        features=(
            *("frequency (Hz)", "angle of attack (°)", "chord length (m)"),
            *("free-stream velocity (m/s)", "suction side displacement thickness (m)"),
        ),
        target="sound pressure level (dB)",
        decimals=(1, 1, 4, 1, 9, 3),
        sha256="4e1958ba50ebdc35d43d1c095361bd533d0327ec2c37f456e2afc09f0f42b784",
    ),
    "plant": _Published(
        number=294,
        rows=9568,
        features=(
            *("temperature (°C)", "exhaust vacuum (cm Hg)", "ambient pressure (mbar)"),
            "relative humidity (%)",
        ),
        target="energy output (MW)",
        decimals=(2, 2, 2, 2, 2),
        sha256="f9ce5417eae8923a19e2d8b5578d5c94edbea77284eca070eca644cace540ea3",
    ),
}


def load_uci(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """One of the four UCI tasks in the paper's split: 40 % train, 40 % transfer, 20 % test.

    Rows are permuted by `RandomState(10)`; features and target have mean 0 and variance 1 over
    the training part (`split_table`). The file is `uci/<name>.csv` in `data_dir`, else
    `asym_keras/uci/<name>.csv` in `$XDG_CACHE_HOME` or `~/.cache`, else it is downloaded from UCI
    to there. Its numbers are checked by their SHA-256.

    ========  ====  ====  ===  =====================
    name      rows  n     d    target
    ========  ====  ====  ===  =====================
    concrete  1030  412   8    compressive strength
    energy    768   307   8    heating load
    airfoil   1503  601   5    sound pressure level
    plant     9568  3827  4    energy output
    ========  ====  ====  ===  =====================

    Args:
        name: "concrete", "energy", "airfoil" or "plant".
        data_dir: Folder with `uci/<name>.csv`. None: `ASYM_KERAS_DATA_DIR`, if that is set.
        download: Whether to ask UCI when there is no file.

    Returns:
        A `Dataset` for regression with a transfer part: x float32 `(n, d)`, y float32 `(n, 1)`.

    Raises:
        ValueError: Unknown name; or a file that is not UCI's: says what differs.
        FileNotFoundError: `data_dir` is no folder; or no file, and `download` is False.
        OSError: No file, and UCI can't be read, or the cache not written: says where to put it.
    """
    if name not in _SETS:
        raise ValueError(f"name: expected one of {', '.join(_SETS)}, received {name!r}; pass one")
    published = _SETS[name]
    paths = [folder / f"{name}.csv" for folder in _folders(data_dir)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        path = paths[-1]
        if not download:
            raise FileNotFoundError(f"{_nowhere(name, paths)}; {_advice(name, path)}")
        _download(name, paths)
    table = read_csv(path)
    fault = _fault(table, published)
    if fault:
        raise ValueError(
            f"{path}: expected UCI's {name} data, received others: {fault}; remove the file and "
            f"load again, or replace it by {_URL.format(published.number)}"
        )
    columns = len(published.features)
    return split_table(
        # Under these names, since those of a file differ by where it is from.
        Table([*published.features], table.values[:, :columns]),
        table.values[:, columns],
        name=name,
        source=f"UCI {published.number}, {path}",
        target_name=published.target,
        origin=f"UCI Machine Learning Repository, set {published.number}",
        licence="CC BY 4.0",
    )


def _folders(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Where files may be, the cache last."""
    cache = cache_folder() / "uci"
    folder = user_path(data_dir).absolute() if data_dir else data_folder()
    if folder is None:
        return [cache]
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{'data_dir' if data_dir else DATA_DIR}: expected a folder, received {folder}, which "
            "is none; make it, or leave the setting out"
        )
    return [folder / "uci", cache]


def _download(name: str, paths: list[Path]) -> None:
    """Saves UCI's file as the last path, whole or not at all, once its content is checked."""
    url, path = _URL.format(_SETS[name].number), paths[-1]
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        # Not chained: sixty lines of urllib say no more than the reason.
        raise OSError(
            f"{_nowhere(name, paths)}, and {url} can't be read ({reason}); {_advice(name, path)}"
        ) from None
    try:
        fault = _fault(parse_csv(content, url), _SETS[name])
    except ValueError as error:  # the page of a proxy, say
        fault = str(error)
    if fault:
        raise ValueError(
            f"{url}: expected the {name} data, received others: {fault}; {_advice(name, path)}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"can't make the cache ({error.strerror}); set XDG_CACHE_HOME", str(path)
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _nowhere(name: str, paths: list[Path]) -> str:
    return f"{name}: expected a file {' or '.join(map(str, paths))}, received none"


def _advice(name: str, path: Path) -> str:
    url = _URL.format(_SETS[name].number)
    return (
        f"download {url} elsewhere and save it as {path}, or as uci/{name}.csv in a folder that "
        f"{DATA_DIR} names"
    )


def _fault(table: Table, published: _Published) -> str | None:
    """How a table differs from the published one; None if it does not."""
    shape = (published.rows, len(published.decimals))
    if table.values.shape != shape:
        rows, columns = table.values.shape
        return f"{rows} rows of {columns} columns instead of {shape[0]} of {shape[1]}"
    digest = _digest(table, published.decimals)
    if digest != published.sha256:
        return (
            "other numbers, or the same in another order (SHA-256 "
            f"{digest[:8]}... instead of {published.sha256[:8]}...)"
        )
    return None


def _digest(table: Table, decimals: tuple[int, ...]) -> str:
    """SHA-256 of the numbers in units of their last decimal, halves rounded up."""
    units = np.floor(table.values * 10.0 ** np.array(decimals) + 0.5) + 0.0  # no -0.0
    return hashlib.sha256(units.astype("<f8").tobytes()).hexdigest()
