"""Which models, versions and labels the preview has to serve. The configuration may change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from typing import Any

logger = logging.getLogger("serving.preview")


class Configuration:
    """A `ModelServerConfig` whose changes are taken over by TensorFlow Serving's rules.

    A changed configuration may assign a label that is in use only to a version that is AVAILABLE.
    Otherwise the whole configuration is refused: the new versions in it are not loaded either.

    Args:
        config: `tensorflow_serving.config.ModelServerConfig` with absolute base paths.
        reread: function that reads the configuration again, or raises OSError or ValueError. None:
            it does not change.

    Attributes:
        models: `ModelConfig` by name.
    """

    def __init__(self, config: Any, reread: Callable[[], Any] | None = None):
        self.models = _by_name(config)
        self._reread = reread
        self._told = ""

    def refresh(self, available: Mapping[str, Container[int]]) -> None:
        """Takes over a changed configuration. If it is refused, logs the reason once.

        Args:
            available: numbers of the versions that serve, by model.
        """
        if self._reread is None:
            return
        try:
            models = _by_name(self._reread())
            if models != self.models:
                _require_available(models, self.models, available)
        except (OSError, ValueError) as error:
            if str(error) != self._told:
                logger.error("the configuration stays as it was: %s", error)
            self._told = str(error)
            return
        self._told = ""
        if models != self.models:
            logger.info("a changed configuration is taken over")
        self.models = models

    def version_of(self, model: str, label: str) -> int | None:
        """The version that a label names. None: there is no such label."""
        config = self.models.get(model)
        return None if config is None else dict(config.version_labels).get(label)


def _by_name(config: Any) -> dict[str, Any]:
    return {model.name: model for model in config.model_config_list.config}


def _require_available(
    models: Mapping[str, Any], old: Mapping[str, Any], available: Mapping[str, Container[int]]
) -> None:
    for name, config in models.items():
        in_use = old[name].version_labels if name in old else {}
        for label, version in config.version_labels.items():
            if label in in_use and version not in available.get(name, ()):
                what = f"label {label} to version {version} of model {name}"
                cure = "load it first, with the label where it is, and move the label then"
                raise ValueError(f"it assigns {what}, which is not AVAILABLE; {cure}")
