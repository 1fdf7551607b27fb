"""The state of a model's versions."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelVersion:
    """One version of a model on a server.

    Attributes:
        version: Its number.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        code: "OK", or the name of what went wrong.
        message: What went wrong.
    """

    version: int
    state: str
    code: str
    message: str

    @property
    def is_available(self) -> bool:
        """Whether it answers requests."""
        return self.state == "AVAILABLE" and self.code == "OK"
