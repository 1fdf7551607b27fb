"""The state of a model's versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


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


def versions_from_json(answer: Mapping[str, Any]) -> list[ModelVersion]:
    """The versions in a `GetModelStatusResponse` as JSON, in the server's order: newest first."""
    found = []
    for entry in answer["model_version_status"]:
        status = entry.get("status", {})
        code, message = status.get("error_code", "OK"), status.get("error_message", "")
        found.append(ModelVersion(int(entry["version"]), entry["state"], code, message))
    return found
