"""Frozen image networks as functions from pixels to features."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import socket
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asym_keras.extras import install_command
from asym_keras.files import user_path

if TYPE_CHECKING:
    import keras

_Size = tuple[int, int]  # height, width
_Parts = tuple[Any, Callable, dict[str, Any]]  # of a `Backbone`: network, preprocess, recipe

DEFAULT_BACKBONE = "resnet_18_imagenet"

# The networks of keras.applications take any size; most were trained at this one.
_APPLICATION_SIZE = (224, 224)
# urllib and kagglehub would otherwise wait for minutes where packets are dropped.
_CONNECT_SECONDS = 10.0
_ADVICE = (
    "connect to the network once, or pass a Keras model saved in a .keras file, or ready features"
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Backbone:
    """A frozen network with the preprocessing that it was trained with."""

    name: str  # as it was asked for
    network: keras.Model  # of one input and one output, images -> features
    preprocess: Callable  # pixels float32 in 0..255, (n, h, w, 3) -> inputs of `network`
    # JSON values on which the features depend: name, a fingerprint of the weights, preprocessing,
    # library versions.
    recipe: dict[str, Any]

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features, float32 `(n, d)`, of uint8 images `(n, h, w, 3)`, all in one pass."""
        return self._compiled(images).numpy()

    @functools.cached_property
    def _compiled(self) -> Callable:
        import tensorflow as tf

        def features(images: Any) -> Any:
            inputs = self.preprocess(tf.cast(images, "float32"))
            dtype = tf.as_dtype(self.network.inputs[0].dtype)
            inputs = tf.cast(tf.round(inputs) if dtype.is_integer else inputs, dtype)
            outputs = self.network(inputs, training=False)
            between = list(range(1, len(outputs.shape) - 1))
            return tf.cast(tf.reduce_mean(outputs, between), "float32")

        return tf.function(features, reduce_retracing=True)


def load_backbone(name: str = DEFAULT_BACKBONE, *, image_size: int | None = None) -> Backbone:
    """A network trained on ImageNet, or any saved one, with its preprocessing.

    Args:
        name: One of

            - a KerasHub preset ("resnet_18_imagenet"), handle ("hf://...") or preset folder;
              its image converter prepares the pixels (extra: cifar);
            - a name in `keras.applications` ("ResNet50"), with its `preprocess_input`;
            - a file that ends in `.keras`: a Keras model that takes pixels 0..255 in the type
              of its input, and holds what further scaling it needs.
        image_size: Height and width to which images are resized. None: what the network's
            image converter or input says; 224 for `keras.applications`.

    Returns:
        The `Backbone`. Outputs with more axes than two are averaged over the middle ones
        (global average pooling).

    Raises:
        ValueError: Unknown name; `image_size` below 1 or not that of the network's input; a
            network with several inputs or outputs, or not for images of three channels.
        FileNotFoundError: No such `.keras` file.
        ModuleNotFoundError: KerasHub is not installed.
        OSError: The weights could not be had, mostly for want of a network connection.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(
            f"image_size: expected at least 1, received {image_size}; leave it out for the "
            "network's own"
        )
    if name.startswith("~"):  # a file or a preset's folder
        name = str(user_path(name))
    if name.endswith(".keras"):
        load = _saved
    else:
        load = _application if name in _application_names() else _preset
    asked = None if image_size is None else (image_size, image_size)
    network, preprocess, recipe = load(name, asked)
    network.trainable = False
    return Backbone(name=name, network=network, preprocess=preprocess, recipe=recipe)


def _saved(name: str, asked: _Size | None) -> _Parts:
    import keras

    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"backbone: expected a saved Keras model, received {path.absolute()}, which is no "
            "file; save one with model.save"
        )
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, h5py and Keras raise almost any
        raise ValueError(
            f"backbone: expected a saved Keras model, received {name}, which cannot be loaded "
            f"({error}); save it again with model.save"
        ) from error
    size = _input_size(name, network, asked)
    recipe = {
        "network": hashlib.sha256(path.read_bytes()).hexdigest(),
        "preprocessing": f"pixels 0..255, {_resizing(size)}",
        **_versions("keras", "tensorflow"),
    }
    return network, functools.partial(_resized, size=size), recipe


def _application(name: str, asked: _Size | None) -> _Parts:
    module, make = _constructor(name)
    size = asked or _APPLICATION_SIZE
    with _downloading(name):
        network = make(include_top=False, weights="imagenet", input_shape=(*size, 3))
    recipe = {
        "network": f"keras.applications.{name}",
        "weights": _fingerprint(network),
        "preprocessing": f"{_resizing(size)}, {module.__name__}.preprocess_input",
        **_versions("keras", "tensorflow"),
    }
    return network, lambda pixels: module.preprocess_input(_resized(pixels, size)), recipe


def _preset(name: str, asked: _Size | None) -> _Parts:
    if importlib.util.find_spec("keras_hub") is None:
        raise ModuleNotFoundError(
            f"backbone {name!r}: expected the package keras_hub, received none. Install it with: "
            f"{install_command('cifar')}  Or pass a name in keras.applications, a .keras file, or "
            "ready features."
        )
    import keras_hub

    _check_preset(name, keras_hub.models.Backbone.presets)
    with _downloading(name):
        network = keras_hub.models.Backbone.from_preset(name)
        converter = keras_hub.layers.ImageConverter.from_preset(name)
    if asked is not None:
        converter.image_size = asked
    _input_size(name, network, converter.image_size)
    settings = {k: v for k, v in converter.get_config().items() if k != "name"}
    recipe = {
        "network": f"keras_hub {name}",
        "weights": _fingerprint(network),
        "preprocessing": {**settings, "image_size": converter.image_size},
        **_versions("keras", "keras-hub", "tensorflow"),
    }
    return network, converter, recipe


def _check_preset(name: str, presets: Any) -> None:
    """Refuses unknown names here: KerasHub's message does not name the near ones."""
    if name in presets or "://" in name or Path(name).is_dir():
        return
    known = [*presets, *_application_names()]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"try {' or '.join(near)}" if near else "keras_hub.models.Backbone.presets lists them"
    raise ValueError(
        "backbone: expected a KerasHub preset, a name in keras.applications or a .keras file, "
        f"received {name!r}; {hint}"
    )


def _constructor(name: str) -> tuple[types.ModuleType, Callable]:
    """The module with the preprocessing of the network `name`, and what makes the network."""
    from keras import applications

    for module in vars(applications).values():
        if hasattr(module, "preprocess_input") and hasattr(module, name):
            return module, getattr(module, name)
    # The public module of MobileNetV3 holds the preprocessing only.
    make = getattr(applications, name)
    return getattr(applications, make.__module__.rsplit(".", 1)[-1]), make


def _application_names() -> list[str]:
    from keras import applications

    return [name for name in dir(applications) if name[0].isupper()]


@contextlib.contextmanager
def _downloading(name: str) -> Iterator[None]:
    """Fails soon without a network; weights that were downloaded before need none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        yield
    except ValueError as error:  # an image size that the network does not take
        raise ValueError(f"backbone {name!r}: {error}") from error
    except Exception as error:  # Keras raises Exception itself, kagglehub errors of its own
        raise OSError(
            f"backbone {name!r}: expected its weights, received an error "
            f"({type(error).__name__}: {error}); {_ADVICE}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _input_size(name: str, network: keras.Model, asked: _Size | None) -> _Size | None:
    """Height and width that `network` gets, None for the images' own, once it can take them."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if len(shapes) != 1 or len(network.outputs) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise ValueError(
            f"backbone {name!r}: expected one input (n, height, width, 3) and one output, "
            f"received inputs {shapes} and {len(network.outputs)} outputs; pass another network"
        )
    own = shapes[0][1:3]
    height, width = own if asked is None else asked
    if own[0] not in (None, height) or own[1] not in (None, width):
        raise ValueError(
            f"image_size: expected {own[0]} x {own[1]}, the input of {name!r}, received "
            f"{height} x {width}; leave image_size out"
        )
    return None if height is None or width is None else (height, width)


def _resized(pixels: Any, size: _Size | None) -> Any:
    import keras

    if size is None or tuple(pixels.shape[1:3]) == size:
        return pixels
    return keras.ops.image.resize(
        pixels, size, interpolation="bilinear", antialias=True, data_format="channels_last"
    )


def _resizing(size: _Size | None) -> str:
    return "own size" if size is None else f"bilinear, antialiased to {size[0]} x {size[1]}"


def _fingerprint(network: keras.Model) -> str:
    digest = hashlib.sha256()
    for variable in network.weights:
        digest.update(f"{tuple(variable.shape)}{variable.dtype}".encode())
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _versions(*packages: str) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}
