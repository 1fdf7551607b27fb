"""Rows for a model from files: arrays, tables, images."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asym_keras.datasets import csv_table
from asym_keras.files import user_path
from serving import extra
from serving.client import columns
from serving.client.signatures import Signature, TensorSpec

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm")
_KINDS = f".npy, .npz, .csv or an image ({', '.join(_IMAGES)})"
# What a cell with a missing or damaged number looks like: empty, a word for no value, or text that
# begins with a digit, perhaps after a sign and a point.
_NO_NAME = re.compile(r"\s*(n/?a|nan|null|none|nil|missing|#.*|[?.-]*|[+-]?[.,]?\d.*)\s*$", re.I)
_GREY = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # Pillow's modes of at most 8 bits a colour


def read_inputs(
    paths: Sequence[str | Path], signature: Signature, *, invert: bool = False
) -> npt.NDArray | Mapping[str, npt.NDArray]:
    """Rows of all `paths`, one below the other, as `signature` takes them.

    Args:
        paths: A `.npy` file holds an array of rows, or a single row. A `.npz` file holds arrays by
            input name. A `.csv` file has a row in each line. Its first line may name the columns,
            but a first line with any number in it is a row. For several inputs, or for texts, the
            names say which columns belong to which input (`columns.read_columns`). An image is
            turned as its Exif orientation says, made grey unless the model takes colours, with
            pixels from 0 (black) to 255, and scaled to the height and width that the signature asks
            for (28 x 28 for 784 numbers).
        signature: The model's, for the number of axes and the size of images.
        invert: Whether to swap black and white: MNIST is white on black, paper is black on white.

    Returns:
        Array `(n, ...)`; a dict of arrays for a `.npz` file, or for a table with named columns.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is of another kind or can't be read, the signature has several inputs
            and there is no `.npz` or `.csv` with their names, or rows have several lengths.
    """
    files = [user_path(path) for path in paths]
    for file in files:
        if not file.is_file():
            received = f"{file.absolute()}, which is none"
            raise FileNotFoundError(f"--input: expected a file, received {received}")
        if file.suffix.lower() not in (".npy", ".npz", ".csv", *_IMAGES):
            raise ValueError(f"--input: expected {_KINDS}, received {file}")
    if len(files) == 1 and files[0].suffix.lower() == ".npz":
        return _numpy(files[0])
    if [file.suffix.lower() for file in files] == [".csv"] and columns.takes_columns(signature):
        with _reading(files[0], "a table with a column for each input"):
            return columns.read_columns(files[0], signature)
    if len(signature.inputs) != 1:
        names, received = ", ".join(sorted(signature.inputs)), ", ".join(map(str, files))
        expected = f"one .npz with the arrays {names}, or one .csv with such columns"
        raise ValueError(f"--input: expected {expected}, received {received}")
    (spec,) = signature.inputs.values()
    rows = [_read(file, spec, invert) for file in files]
    shapes = {row.shape[1:] for row in rows}
    if len(shapes) > 1:
        raise ValueError(f"--input: expected rows of one shape, received {sorted(shapes)}")
    return np.concatenate(rows)


def _read(file: Path, spec: TensorSpec, invert: bool) -> npt.NDArray:
    kind = file.suffix.lower()
    if kind == ".npz":
        raise ValueError(f"--input: expected one .npz and nothing beside it, received {file} too")
    if kind == ".csv":
        return _csv(file, spec)
    array = _numpy(file) if kind == ".npy" else _image(file, spec, invert)
    assert isinstance(array, np.ndarray)
    one_example = spec.shape is not None and array.ndim == len(spec.shape) - 1
    return array[None] if one_example else array


@contextlib.contextmanager
def _reading(file: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError) as error:
        received = f"{file}, which cannot be read ({error})"
        raise ValueError(f"--input: expected {kind}, received {received}") from error


def _numpy(file: Path) -> npt.NDArray | dict[str, npt.NDArray]:
    with _reading(file, "arrays of numbers"):
        content = np.load(file, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)


def _csv(file: Path, spec: TensorSpec) -> npt.NDArray:
    with _reading(file, "lines of equally many numbers"):
        lines = list(csv_table.read_records(file.read_bytes(), file.name))
        if lines and _are_names(lines[0][1]):
            del lines[0]
        for number, cells in lines:
            for odd in itertools.filterfalse(csv_table.is_number, cells):
                raise ValueError(f"{odd!r} in line {number}")
        read = columns.reader_of(spec)
        rows = np.array([list(map(read, cells)) for _, cells in lines])
    if rows.ndim != 2:
        raise ValueError(f"--input: expected a line of numbers for each row, {file} has none")
    return rows


def _are_names(cells: Sequence[str]) -> bool:
    """Whether a first line names columns.

    A row of damaged cells must not pass for names. So a line of names holds no number, and at least
    one of its cells does not look like a damaged or missing number (`_NO_NAME`).
    """
    if any(map(csv_table.is_number, cells)):
        return False
    return any(not _NO_NAME.match(cell) for cell in cells)


def _image(file: Path, spec: TensorSpec, invert: bool) -> npt.NDArray[np.uint8]:
    with extra.needed("--input"):
        from PIL import Image, ImageOps

    height, width = _size(spec)
    with _reading(file, "an image"):
        try:
            with Image.open(file) as image:
                if image.mode not in _GREY:
                    raise ValueError(f"its pixels are {image.mode}, not 8 bits each")
                with contextlib.suppress(SyntaxError):  # with damaged Exif data it stays as it is
                    ImageOps.exif_transpose(image, in_place=True)  # as viewers show it
                # Transparent pixels often hold black, but viewers show white paper behind them.
                picture = image.convert("RGBA")
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
        paper = Image.new("RGBA", picture.size, "white")
        assert spec.shape is not None
        mode = "RGB" if spec.shape[3:] == (3,) else "L"
        shown = Image.alpha_composite(paper, picture).convert(mode)
    shown = shown.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(ImageOps.invert(shown) if invert else shown)
    return pixels.reshape([n or 1 for n in spec.shape[1:]])


def _size(spec: TensorSpec) -> tuple[int, int]:
    inner = () if spec.shape is None else spec.shape[1:]
    if len(inner) == 1 and inner[0] and math.isqrt(inner[0]) ** 2 == inner[0]:
        return math.isqrt(inner[0]), math.isqrt(inner[0])
    if len(inner) == 2 or (len(inner) == 3 and inner[2] in (1, 3)):
        height, width = inner[:2]
        if height and width:
            return height, width
    raise ValueError(
        "--input: expected a model of images, (n, h * h), (n, h, w), (n, h, w, 1) or (n, h, w, 3), "
        f"received one that takes {spec.plain()}; give its inputs as .npy or .csv"
    )
