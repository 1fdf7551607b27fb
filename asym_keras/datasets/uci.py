"""The four UCI regression tasks of Section 6.2, from a folder, a cache or the repository."""

from __future__ import annotations

import dataclasses
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
    """A set as UCI publishes it; columns go by position, since their names differ by source.

    Attributes:
        number: UCI's id.
        rows: Examples.
        features: Names and units of the leading columns; the next is the target, others are
            unused.
        target: Name and unit of the target.
        columns: `mean x`, `std x` and `mean_i cos(i) x_i`, i = 0, 1, ..., of each column. The
            last knows the order of the rows, even of two neighbours.
        tolerance: Of these three numbers, in standard deviations of the column.
    """

    number: int
    rows: int
    features: tuple[str, ...]
    target: str
    columns: tuple[tuple[float, float, float], ...]
    tolerance: float = 1e-5


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
        columns=(
            (281.1656311, 104.4563977, 0.781357603),
            (73.89548544, 86.23721041, -1.938085714),
            (54.18713592, 63.96539559, 0.7400699596),
            (181.5663592, 21.34519777, 0.02141891193),
            (6.20311165, 5.970591193, 0.04511501298),
            (972.9185922, 77.71606435, 0.8968268206),
            (773.5788835, 80.13649784, -2.172493934),
            (45.66213592, 63.13923913, 1.421829815),
            (35.81783583, 16.69756765, -0.08397768117),
        ),
        # Two editions: Concrete_Data.xls has more digits than data.csv (1 decimal, target 2),
        # 2.6e-4 standard deviations apart in the mean of superplasticizer.
        tolerance=5e-4,
    ),
    "energy": _Published(
        number=242,
        rows=768,
        features=(
            *("relative compactness", "surface area (m²)", "wall area (m²)", "roof area (m²)"),
            *("overall height (m)", "orientation", "glazing area", "glazing area distribution"),
        ),
        target="heating load (kWh/m²)",
        columns=(
            (0.7641666667, 0.1057085879, 0.001487781577),
            (671.7083333, 88.02874964, 1.114780438),
            (318.5, 43.59806953, 0.5559936776),
            (176.6041667, 45.13653573, 0.2793933802),
            (5.25, 1.75, 0.008773981625),
            (3.5, 1.118033989, 0.005410174924),
            (0.234375, 0.1331338025, 0.0007534194159),
            (2.8125, 1.549949596, -0.002858653403),
            (22.30719531, 10.08363269, 0.035888591),
            (24.58776042, 9.507109987, -0.02592482929),
        ),
    ),
    "airfoil": _Published(
        number=291,
        rows=1503,
        features=(
            *("frequency (Hz)", "angle of attack (°)", "chord length (m)"),
            *("free-stream velocity (m/s)", "suction side displacement thickness (m)"),
        ),
        target="sound pressure level (dB)",
        columns=(
            (2886.380572, 3151.524202, -1.352111809),
            (6.782302063, 5.916159025, 0.02745112281),
            (0.1365482369, 0.09350960519, 0.0001724814727),
            (50.86074518, 15.56760297, -0.1861921074),
            (0.01113988039, 0.01314585888, 7.007165009e-05),
            (124.8359428, 6.896361277, 0.1172806355),
        ),
    ),
    "plant": _Published(
        number=294,
        rows=9568,
        features=(
            *("temperature (°C)", "exhaust vacuum (cm Hg)", "ambient pressure (mbar)"),
            "relative humidity (%)",
        ),
        target="energy output (MW)",
        columns=(
            (19.65123119, 7.452083772, 0.01368129849),
            (54.30580372, 12.7072289, 0.01597112872),
            (1013.259078, 5.938473352, -0.003714875231),
            (73.30897784, 14.59950576, -0.09771718452),
            (454.3650094, 17.0661031, -0.09247884596),
        ),
    ),
}


def load_uci(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """One of the four UCI tasks in the paper's split: 40 % train, 40 % transfer, 20 % test.

    Rows are permuted by `RandomState(10)`; features and target have mean 0 and variance 1 over
    the training part (`split_table`). The file is `uci/<name>.csv` in `data_dir`, else
    `asym_keras/uci/<name>.csv` in `$XDG_CACHE_HOME` or `~/.cache`, else it is downloaded from UCI
    to there. Its content is checked: size, mean and standard deviation of each column, order.

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
    shape = (published.rows, len(published.columns))
    if table.values.shape != shape:
        rows, columns = table.values.shape
        return f"{rows} rows of {columns} columns instead of {shape[0]} of {shape[1]}"
    wave = np.cos(np.arange(published.rows))
    orders = (wave @ table.values) / published.rows
    means, deviations = table.values.mean(axis=0), table.values.std(axis=0)
    for name, *ours, theirs in zip(table.names, means, deviations, published.columns, strict=True):
        for what, value, wanted in zip(("mean", "standard deviation"), ours, theirs, strict=False):
            if not abs(value - wanted) <= published.tolerance * theirs[1]:
                return f"column {name!r} has {what} {value:.8g} instead of {wanted:.8g}"
    for name, order, (_, deviation, wanted) in zip(
        table.names, orders, published.columns, strict=True
    ):
        if not abs(order - wanted) <= published.tolerance * deviation:
            return f"the rows are in another order (seen in column {name!r})"
    return None
