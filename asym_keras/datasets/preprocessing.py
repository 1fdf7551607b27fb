"""How raw values become a network's inputs, and its outputs the target's own units."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

KINDS = ("image", "columns", "vector")
_TUPLES = ("shift", "scale", "names", "shape", "classes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a loader does with the numbers of its source, as a record that JSON can hold.

    Inputs are `x = (raw - shift) / scale`, answers `output * target_scale + target_shift`.

    Attributes:
        kind: `"image"`: pixels of `shape`, flattened row by row; `"columns"`: of a table, by
            `names`; `"vector"`: numbers without names.
        shift, scale: float, or one each input, (d,); `scale` positive.
        names: of the columns (d,), with units where they are known.
        shape: of an image, (h, w) or (h, w, c).
        low, high: range of raw values. None: any.
        target: what a regression predicts. None: without a name, or classes.
        target_shift, target_scale: float; `target_scale` positive.
        classes: names of the classes, in the order of the outputs. None: numbers, or a regression.
        origin: where the data is published, in words that hold on every machine.
        licence: of the data. None: not known.

    Raises:
        ValueError: An unknown kind, an image without shape or columns without names, numbers that
            are not finite or scales that are not positive, lengths that disagree.
    """

    kind: str
    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    names: tuple[str, ...] | None = None
    shape: tuple[int, ...] | None = None
    low: float | None = None
    high: float | None = None
    target: str | None = None
    target_shift: float = 0.0
    target_scale: float = 1.0
    classes: tuple[str, ...] | None = None
    origin: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _error(f"kind to be one of {KINDS}", repr(self.kind))
        for kind, name in (("image", "shape"), ("columns", "names")):
            if self.kind == kind and not getattr(self, name):
                raise _error(f"{name} of kind {kind!r}", "none")
        for name in ("shift", "target_shift", "scale", "target_scale"):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(map(math.isfinite, numbers)):
                raise _error(f"{name} to be finite", str(value))
            if name.endswith("scale") and min(numbers) <= 0:
                raise _error(f"{name} to be positive", str(value))
        if len(self._sizes()) > 1:
            raise _error("names, shape, shift and scale of one size", str(sorted(self._sizes())))

    @property
    def dim(self) -> int | None:
        """Number of inputs d; None where nothing tells."""
        return next(iter(self._sizes()), None)

    @property
    def rescales(self) -> bool:
        """Whether inputs differ from raw values."""
        return (self.shift, self.scale) != (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it: lists for tuples, every field."""
        record = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`.

        Raises:
            ValueError: Fields that there are not, or values that don't fit.
        """
        unknown = record.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown or "kind" not in record:
            received = f"{', '.join(sorted(unknown))} as well" if unknown else "none"
            raise _error("the fields of this version, kind among them", received)
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in record.items()
        }
        for name, value in fields.items():
            if isinstance(value, tuple) and name not in _TUPLES:
                raise _error(f"{name} to be a single value", str(value))
        return cls(**fields)

    def _sizes(self) -> set[int]:
        """All that the fields tell of d."""
        sizes = {len(v) for v in (self.names, self.shift, self.scale) if isinstance(v, tuple)}
        return sizes | ({math.prod(self.shape)} if self.shape else set())


def pixels(shape: tuple[int, ...], **facts: Any) -> Preprocessing:
    """Of images of bytes (h, w[, c]) that are divided by 255; one channel is no axis."""
    shape = shape[:-1] if len(shape) == 3 and shape[-1] == 1 else shape
    return Preprocessing(
        kind="image", scale=255.0, low=0.0, high=255.0, shape=tuple(shape), **facts
    )


def _error(expected: str, received: str) -> ValueError:
    return ValueError(f"preprocessing: expected {expected}, received {received}")
