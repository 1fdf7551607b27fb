"""Tasks on the columns of a table: the split of Section 6.2, and a user's own data."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.datasets.csv_table import (
    Float64Array,
    Table,
    is_number,
    read_csv,
    read_header,
    read_words,
)
from asym_keras.datasets.dataset import Dataset, one_hot
from asym_keras.datasets.preprocessing import Preprocessing
from asym_keras.files import user_path

logger = logging.getLogger(__name__)

_LEAST_ROWS = 5  # 2 train, 2 validate, 1 tests


def load_table(
    path: str | os.PathLike[str],
    *,
    target: str,
    name: str | None = None,
    seed: int = 10,
    classes: bool = False,
) -> Dataset:
    """A task from a CSV file: one column is the target, all others are features.

    A target of numbers makes a regression. A target of text holds the names of classes; they
    become one-hot targets, in the order of the alphabet, or of the numbers with `classes`.

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
        classes: Whether a target of numbers holds classes, too.

    Returns:
        A `Dataset` with a transfer part: x float32 `(n, d)`, y float32 `(n, 1)`, of K classes
        `(n, K)` with labels.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No column `target` (lists the columns), or no other one; a cell that is
            empty, NaN, infinite or no number (names column and line, the header being line 1),
            where not all of the target are text; one class, or more than half as many as rows;
            lines of unequal length; a header without names; fewer than 5 rows; a target or all
            features constant in the training part.

    Example:
        >>> asym_keras.datasets.load_table("wine.csv", target="quality").y_train.shape
        (639, 1)
    """
    path = user_path(path)
    names = read_header(path)
    if target not in names:
        raise ValueError(
            f"{path}: expected a target among the columns {', '.join(names)}, received "
            f"{target!r}; pass one of them"
        )
    words = read_words(path, target)
    told: dict[str, Any] = {"name": path.stem if name is None else name, "seed": seed}
    told["source"] = f"CSV file {path}, target {target}, seed {seed}"
    split: dict[str, Any]
    if classes or (any(word for _, word in words) and not any(is_number(w) for _, w in words)):
        features = read_csv(path, without=target)
        split = {"classes": _classes(words, path, target)}
        column = np.array([split["classes"].index(word) for _, word in words])
    else:
        table = read_csv(path)
        place = table.names.index(target)
        others = [feature for feature in table.names if feature != target]
        features = Table(others, np.delete(table.values, place, axis=1))
        split, column = {"target_name": target}, table.values[:, place]
    try:
        return split_table(features, column, **told, **split)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _classes(words: list[tuple[int, str]], path: Path, target: str) -> tuple[str, ...]:
    """The names of the classes in a column, in the order of the outputs."""
    where = f"{path}: column {target!r}"
    empty = [line for line, word in words if not word]
    if empty:
        raise ValueError(
            f"{where}: expected a class in each line, received an empty cell in line {empty[0]}; "
            "fill it, or remove the line"
        )
    found = sorted({word for _, word in words})
    if all(map(is_number, found)):
        found.sort(key=float)
    if not 2 <= len(found) <= max(2, len(words) // 2):
        raise ValueError(
            f"{where}: expected 2 or more classes of at least two rows each, as a rule, received "
            f"{len(found)} in {len(words)} rows ({', '.join(found[:3])}, ...); choose another "
            "target"
        )
    return tuple(found)


def split_table(
    features: Table,
    target: npt.NDArray,
    *,
    name: str,
    source: str,
    seed: int = 10,
    target_name: str | None = None,
    classes: tuple[str, ...] | None = None,
    origin: str | None = None,
    licence: str | None = None,
) -> Dataset:
    """Permutes the rows, splits them 40 : 40 : 20, and standardises by the training part.

    `x <- (x - mean) / std` for each feature and the target, mean and std (of n, not n - 1) over
    the training part. Rows are taken in the order of `RandomState(seed).permutation(rows)`: the
    first 40 % train, the next 40 % are the transfer part (its first half trains, its second half
    tests), the last 20 % test. Each part ends at the whole row below its share of all rows.
    Features constant in the training part are left out: logged, and told in `source`.
    `target_name`, `origin` and `licence` are for the dataset's `Preprocessing`. With the names of
    `classes`, targets are places among them, which become one-hot and are not standardised.

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
    if classes is not None:
        missing = sorted({*range(len(classes))} - {*target[train].tolist()})
        if missing:
            told = ", ".join(classes[k] for k in missing)
            logger.warning("classes without a row in the training part: %s", told)
    elif _constant(target[train]):
        raise ValueError(
            f"expected a target that varies over the {first} training rows, received "
            f"{target[train][0]:g} in all of them; choose another target or more rows"
        )
    kept, source = _varying(features, train, source)
    names = tuple(features.names[k] for k in kept)
    columns = features.values[:, kept]
    shift, scale = _moments(columns, train, names)
    y, target_shift, target_scale = _targets(target, train, classes)
    with np.errstate(over="ignore"):  # of a row far from the others: found as infinity
        x = ((columns - shift) / scale).astype(np.float32)
    preprocessing = Preprocessing(
        kind="columns",
        names=names,
        shift=tuple(shift.tolist()),
        scale=tuple(scale.tolist()),
        target=target_name,
        target_shift=target_shift,
        target_scale=target_scale,
        classes=classes,
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
            **({} if classes is None else {"labels_train": target[train]}),
            **({} if classes is None else {"labels_test": target[test]}),
            transfer=transfer,
            source=source,
            preprocessing=preprocessing,
        )

    further = part(f"{name}-transfer", order[first:middle], order[middle:second], None)
    return part(name, train, order[second:], further)


def _targets(
    target: npt.NDArray, train: npt.NDArray, classes: tuple[str, ...] | None
) -> tuple[npt.NDArray[np.float32], float, float]:
    """Targets (n, K), and the shift and the scale that make them."""
    if classes is not None:
        return one_hot(target, len(classes)), 0.0, 1.0
    targets = target[:, None]
    [shift], [scale] = _moments(targets, train, ("the target",))
    with np.errstate(over="ignore"):
        return ((targets - shift) / scale).astype(np.float32), float(shift), float(scale)


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
