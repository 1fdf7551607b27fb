"""The settings of the demo, checked."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from urllib.parse import urlsplit

# The proxy lets only such names pass in a path: they need no decoding, and are not dots alone.
NAME = r"(?!\.+(?![\w.-]))[A-Za-z0-9_.-]+"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the model server is, which models the page shows, and the limits of a request.

    Attributes:
        server: URL of a TF Serving REST server, without a trailing slash.
        models: names to show. Empty: those whose cards lie in `models_dir`.
        models_dir: folder of `<name>/<version>/card.json`; it may be missing if `models` are named.
        body_limit: most bytes of a request, unpacked; a drawing takes about 3 KB.
        answer_limit: most bytes of the model server's answer.
        timeout: seconds that a request's body may take to arrive, and then the server's answer.
    """

    server: str
    models: tuple[str, ...]
    models_dir: Path
    body_limit: int = 1 << 20
    answer_limit: int = 8 << 20
    timeout: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "server", _checked_url(self.server))
        for name in self.models:
            if not re.fullmatch(NAME, name):
                expected = "names of letters, digits and _ . - separated by commas"
                raise ValueError(f"--models: expected {expected}, received {name!r}.")


def _checked_url(text: str) -> str:
    try:
        url = urlsplit(text)
        known = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # the port is no number
        known = False
    if not known or url.query or url.fragment or url.username is not None:
        expected = "a URL such as http://127.0.0.1:8501, without user, query or fragment"
        raise ValueError(f"--server: expected {expected}, received {text!r}.")
    return text.rstrip("/")
