"""The zoo: pruned networks that are ready to use, each a `.keras` file and its card.

model = asym_keras.from_preset("mnist_gamma0_k100")
scores = model(images.reshape(len(images), -1).astype("float32"))  # pixels 0 to 255
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_FOLDER = Path(__file__).parent


def list_presets() -> dict[str, str]:
    """Names of the presets, and what each is in one line.

    Returns:
        dict from name to title, by name. Iterating gives the names.

    Example:
        >>> [name for name in asym_keras.list_presets() if name.startswith("mnist_gamma")]
        ['mnist_gamma0_k100', 'mnist_gamma0_k20', 'mnist_gamma0_k50']
    """
    return {name: str(_card(name)["title"]) for name in _names()}


def from_preset(name: str, width: int | None = None) -> keras.Model:
    """The pruned or nested network of a preset, with its weights.

    Inputs are raw values, which the model scales: pixels 0 to 255, or columns in their own units.
    Outputs are one score for each class, without softmax, or the answer of a regression in the
    target's unit. `preset_card` tells what the inputs and outputs mean.

    Args:
        name: one of `list_presets()`.
        width: of a nested preset: take its first nodes, with the readout of the largest trained
            width that is at most this; see `asym_keras.prune`.

    Returns:
        `keras.Model`, float32 (n, d) -> (n, K); of a nested preset without `width` (n, P, K), one
        answer for each of the card's `widths`.

    Raises:
        ValueError: No such preset (the message names similar ones), or a damaged file; a width for
            a preset that is not nested, or one out of range.

    Example:
        >>> model = asym_keras.from_preset("mnist_gamma0_k20")
        >>> model(np.zeros((1, 784), "float32")).shape
        TensorShape([1, 10])
    """
    path = _FOLDER / f"{_checked(name)}.keras"
    widths = _card(name).get("widths")
    if width is not None and widths is None:
        raise ValueError(
            f"from_preset: expected a nested preset for width={width!r}, received {name!r}, which "
            "has one width. Leave it out."
        )
    if widths is not None:
        import asym_keras.nesting  # noqa: F401 - Keras learns of its layers
    from asym_keras.models import load_model  # loads TensorFlow

    try:
        model = load_model(path)
    except Exception as error:  # Keras tells of a damaged file in many ways
        raise _damaged(path.name, error) from error
    if width is None:
        return model
    from asym_keras.pruning import prune

    return prune(model, width)


def preset_card(name: str) -> dict[str, Any]:
    """What is known of a preset: data, licence, inputs, outputs, metrics, commands.

    Args:
        name: one of `list_presets()`.

    Returns:
        dict: `title`, `task`, `inputs`, `outputs`, `gamma`, `alpha`, `width`, `kept`, `refit`,
        `protocol`, `seed`, `data`, `metrics`, `commands`, `versions`; of a nested preset also
        `widths` and `anytime`.

    Raises:
        ValueError: No such preset (the message names similar ones), or a damaged file.

    Example:
        >>> asym_keras.preset_card("mnist_gamma0_k100")["kept"]
        100
    """
    return _card(_checked(name))


def _names() -> list[str]:
    """Names that have both files."""
    cards = sorted(_FOLDER.glob("*.json"))
    return [card.stem for card in cards if card.with_suffix(".keras").is_file()]


def _checked(name: str) -> str:
    names = _names()
    if name in names:
        return name
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "asym_keras.list_presets() has them."
    raise ValueError(f"expected one of {len(names)} presets, received {name!r}. {hint}")


def _card(name: str) -> dict[str, Any]:
    file = _FOLDER / f"{name}.json"
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(file.name, error) from error
    if not isinstance(card, dict) or "title" not in card:
        raise _damaged(file.name, "no title")
    return card


def _damaged(file: str, error: object) -> ValueError:
    kind = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error
    return ValueError(
        f"expected the preset's file {file} as it was installed, received one that can't be read "
        f"({kind}). Install asym_keras again."
    )
