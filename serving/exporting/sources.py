"""What can be exported: a run, a preset, or a packaged model in a file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path
from serving.exporting import packaging

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A packaged model.

    Attributes:
        model: functional Keras model, raw values (n, d) -> (n, K).
        card: its card.
        measure: as `export_model` takes it. None: there is no data to measure the model on.
    """

    model: keras.Model
    card: dict[str, Any]
    measure: Callable | None = None


def is_run(source: str | None) -> bool:
    """Whether `source` names a folder; presets and files are none."""
    return source is not None and user_path(source).is_dir()


def presets() -> Iterator[Source]:
    """Every preset."""
    from asym_keras.presets import list_presets

    return map(preset, list_presets())


def preset(name: str) -> Source:
    """The preset of this name.

    Raises:
        ValueError: There is none, or its file is damaged.
    """
    from asym_keras.presets import from_preset, preset_card

    return Source(from_preset(name), preset_card(name))


def run(
    folder: str | os.PathLike[str],
    *,
    keep: int,
    refit: bool = False,
    name: str | None = None,
    measured: bool = False,
) -> Source:
    """A run's network, pruned to `keep` nodes.

    Args:
        folder: of the run.
        keep, refit, name: as of `serving.package.package`.
        measured: whether the source gets a `measure`, for which the run's data are loaded.

    Raises:
        FileNotFoundError: No run is there, or it has no model.
        ValueError: `keep` out of range, or data that can't be loaded.
    """
    from asym_keras.runs import load_run
    from serving.exporting.half import measure_of

    found = load_run(user_path(folder))
    packaged = packaging.package(found, keep=keep, refit=refit, name=name)
    return Source(packaged.model, packaged.card, measure_of(found) if measured else None)


def file(path: str) -> Source:
    """The model in FILE.keras, and its card in FILE.json.

    Raises:
        FileNotFoundError: One of them is not there.
        ValueError: One of them is damaged.
    """
    model = user_path(path)
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

    # Importing them registers the layer and its initialisers, without which Keras can't read one.
    from asym_keras import initializers, layers  # noqa: F401

    try:
        return Source(keras.models.load_model(model, compile=False), content)
    except Exception as error:  # Keras raises many kinds for a damaged file
        raise ValueError(
            f"expected a Keras model in {model}, received a file that can't be read "
            f"({type(error).__name__}). Put back a good copy."
        ) from error
