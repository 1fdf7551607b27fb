"""What can be exported: a run, a preset, or a packaged model in a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path
from serving.exporting import packaging

if TYPE_CHECKING:
    import keras


NO_KEEP = "--keep: expected the number of a run's nodes to keep, received none."


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A packaged model.

    Attributes:
        model: functional Keras model, raw values (n, d) -> (n, K).
        card: its card.
        measure: as `export_model` takes it. None: the model is not measured.
    """

    model: keras.Model
    card: dict[str, Any]
    measure: Callable | None = None


def is_run(source: str | None) -> bool:
    """Whether `source` names a folder, and so a run, not a preset or a file."""
    return source is not None and user_path(source).is_dir()


def has_one_width(run: str) -> bool:
    """Whether a folder holds no run of `trainers.nested`: such a run has widths in metrics.json."""
    try:
        metrics = json.loads((user_path(run) / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `load` reads the run later, and says what is wrong
        return True
    return "widths" not in metrics


def presets() -> Iterator[Source]:
    """Every preset."""
    from asym_keras.presets import list_presets

    return map(load, list_presets())


def load(
    source: str,
    *,
    keep: int | None = None,
    refit: bool = False,
    name: str | None = None,
    measured: bool = False,
) -> Source:
    """A run's network pruned to `keep` nodes, the model in FILE.keras, or a preset.

    Args:
        source: run folder, FILE.keras or name of a preset.
        keep, refit, name: as `serving.package.package` takes them. Only for a run.
        measured: whether a run's network gets a `measure`, for which the run's data are loaded.

    Raises:
        FileNotFoundError: There is no such run or file, or the run has no model.
        ValueError: `keep` is out of range, data can't be loaded, there is no such preset, or a file
            is damaged.
    """
    if is_run(source):
        from asym_keras.runs import load_run
        from serving.exporting.half import measure_of
        from serving.exporting.nested_packaging import is_nested, package_nested

        run = load_run(user_path(source))
        if is_nested(run):
            if keep is not None or refit:
                raise ValueError(
                    f"--keep and --refit: expected a run of one width, received {source}, which is "
                    "nested: clients choose the width by the signature. Leave the flags out."
                )
            whole = package_nested(run, name=name)
            return Source(whole.model, whole.card)
        if keep is None:
            raise ValueError(NO_KEEP)
        packaged = packaging.package(run, keep=keep, refit=refit, name=name)
        return Source(
            packaged.model, packaged.card, measure_of(run, refitted=refit) if measured else None
        )
    if source.endswith(".keras"):
        return _file(user_path(source))
    from asym_keras.presets import from_preset, preset_card

    return Source(from_preset(source), preset_card(source))


def _file(model: Path) -> Source:
    """The model in FILE.keras, and its card in FILE.json."""
    card = model.with_suffix(".json")
    for needed in (model, card):
        if not needed.is_file():
            raise FileNotFoundError(
                f"expected a model and its card, {model.name} and {card.name}, received no file "
                f"{needed}. Write both with serving.package."
            )
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {card}, received {error}.") from error
    import keras

    # Importing them registers this package's classes, without which Keras can't read its layers.
    from asym_keras import initializers, layers, nesting  # noqa: F401

    try:
        return Source(keras.models.load_model(model, compile=False), content)
    except Exception as error:  # for a damaged file Keras raises errors of many kinds
        raise ValueError(
            f"expected a Keras model in {model}, received a file that can't be read "
            f"({type(error).__name__}). Put back a good copy."
        ) from error
