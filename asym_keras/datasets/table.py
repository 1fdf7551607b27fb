"""Regression on the columns of a table: the split of Section 6.2, and a user's own data."""

from __future__ import annotations

import logging
import os

import numpy as np
import numpy.typing as npt

from asym_keras.datasets.csv_table import Float64Array, Table, read_csv
from asym_keras.datasets.dataset import Dataset
from asym_keras.datasets.preprocessing import Preprocessing
from asym_keras.files import user_path

logger = logging.getLogger(__name__)

_LEAST_ROWS = 5  # 2 train, 2 validate, 1 tests


def load_table(
    path: str | os.PathLike[str], *, target: str, name: str | None = None, seed: int = 10
) -> Dataset:
    """A regression task from a CSV file: one column is the target, all others are features.

    Rows are permuted, split and standardised as the UCI tasks are (`split_table`). The file has
    a header line with column names; commas, semicolons or tabs between the cells; numbers with a
    decimal point; and is UTF-8. Blank lines are passed over.

    A feature that is constant in the training part is left out, with a logged warning and a note
    in the dataset's `source`: it can't be standardised, and has nothing to learn from.

    Args:
        path: The file.
        target: Name of the target's column.
        name: Name of the dataset. None: the file's, without suffix.
        seed: Of the permutation.

    Returns:
        A `Dataset` for regression with a transfer part: x float32 `(n, d)`, y float32 `(n, 1)`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No column `target` (lists the columns), or no other one; a cell that is
            empty, NaN, infinite or no number (names column and line, the header being line 1);
            lines of unequal length; a header without names; fewer than 5 rows; a target or all
            features constant in the training part.

    Example:
        >>> asym_keras.datasets.load_table("wine.csv", target="quality").y_train.shape
        (639, 1)
    """
    path = user_path(path)
    table = read_csv(path)
    if target not in table.names:
        raise ValueError(
            f"{path}: expected a target among the columns {', '.join(table.names)}, received "
            f"{target!r}; pass one of them"
        )
    column = table.names.index(target)
    features = [feature for feature in table.names if feature != target]
    try:
        return split_table(
            Table(features, np.delete(table.values, column, axis=1)),
            table.values[:, column],
            name=path.stem if name is None else name,
            source=f"CSV file {path}, target {target}, seed {seed}",
            target_name=target,
            seed=seed,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def split_table(
    features: Table,
    target: Float64Array,
    *,
    name: str,
    source: str,
    seed: int = 10,
    target_name: str | None = None,
    origin: str | None = None,
    licence: str | None = None,
) -> Dataset:
    """Permutes the rows, splits them 40 : 40 : 20, and standardises by the training part.

    `x <- (x - mean) / std` for each feature and the target, mean and std (of n, not n - 1) over
    the training part. Rows are taken in the order of `RandomState(seed).permutation(rows)`: the
    first 40 % train, the next 40 % are the transfer part (its first half trains, its second half
    tests), the last 20 % test. Each part ends at the whole row below its share of all rows.
    Features constant in the training part are left out: logged, and told in `source`.
    `target_name`, `origin` and `licence` are for the dataset's `Preprocessing`.

    Raises:
        ValueError: A negative seed, fewer than 5 rows, a target or all features constant in the
            training part, or numbers so large that their variance overflows.
    """
    rows = len(target)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer from 0 to 2**32 - 1, received {seed}")
    if rows < _LEAST_ROWS:
        raise ValueError(f"expected at least {_LEAST_ROWS} rows, received {rows}; add rows")
    order = np.random.RandomState(seed).permutation(rows)
    first, second = 2 * rows // 5, 4 * rows // 5
    middle = first + (second - first) // 2
    train = order[:first]
    if _constant(target[train]):
        raise ValueError(
            f"expected a target that varies over the {first} training rows, received "
            f"{target[train][0]:g} in all of them; choose another target or more rows"
        )
    kept, source = _varying(features, train, source)
    names = tuple(features.names[k] for k in kept)
    columns, targets = features.values[:, kept], target[:, None]
    shift, scale = _moments(columns, train, names)
    [target_shift], [target_scale] = _moments(targets, train, ("the target",))
    with np.errstate(over="ignore"):  # of a row far from the others: found as infinity
        x = ((columns - shift) / scale).astype(np.float32)
        y = ((targets - target_shift) / target_scale).astype(np.float32)
    preprocessing = Preprocessing(
        kind="columns",
        names=names,
        shift=tuple(shift.tolist()),
        scale=tuple(scale.tolist()),
        target=target_name,
        target_shift=float(target_shift),
        target_scale=float(target_scale),
        origin=origin,
        licence=licence,
    )

    def part(name: str, train: npt.NDArray, test: npt.NDArray, transfer: Dataset | None) -> Dataset:
        return Dataset(
            name=name,
            x_train=x[train],
            y_train=y[train],
            x_test=x[test],
            y_test=y[test],
            transfer=transfer,
            source=source,
            preprocessing=preprocessing,
        )

    further = part(f"{name}-transfer", order[first:middle], order[middle:second], None)
    return part(name, train, order[second:], further)


def _constant(column: Float64Array) -> bool:
    # By values: a standard deviation of equal numbers may be a rounding error above 0.
    return bool((column == column[0]).all())


def _varying(features: Table, train: npt.NDArray, source: str) -> tuple[list[int], str]:
    """Columns that vary over the training rows, and `source` with a note of the others."""
    constant = [k for k, column in enumerate(features.values.T) if _constant(column[train])]
    names = ", ".join(features.names[k] for k in constant)
    kept = [k for k in range(len(features.names)) if k not in constant]
    if not kept:
        raise ValueError(
            f"expected a feature that varies over the {len(train)} training rows, received "
            f"constant ones ({names}); add features or rows"
        )
    if not constant:
        return kept, source
    logger.warning("left out, since constant in the training part: %s", names)
    return kept, f"{source}, without constant {names}"


def _moments(
    columns: Float64Array, train: npt.NDArray, names: tuple[str, ...]
) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of each column over the rows `train`, float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = columns[train].mean(axis=0), columns[train].std(axis=0)
        bad = np.flatnonzero(~(np.isfinite(deviation) & (deviation > 0)))
        if bad.size:
            raise ValueError(
                f"{names[bad[0]]}: expected numbers whose variance is a number, received up to "
                f"{np.abs(columns[:, bad[0]]).max():g}; rescale that column"
            )
    return mean, deviation
