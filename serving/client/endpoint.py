"""Where a model is served, and what every request to it carries."""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asym_keras.files import user_path
from serving import addresses
from serving.client import proxies
from serving.client.deadlines import Deadline
from serving.client.errors import ServingError

logger = logging.getLogger("serving.client")

_PORTS = {"http": 8501, "https": 443, "grpc": 8500, "grpcs": 443}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model at an address.

    Attributes:
        scheme: "http", "https", "grpc" or "grpcs".
        host, port: address of the server or of a proxy in front of it.
        prefix: path before `/v1/`, where a proxy adds one; REST only.
        model: name of the model.
        version, label: one of the two, or neither for the server's newest version.
        headers: sent with every request, names in lower case. They may hold secrets, so `repr` and
            messages do not show them.
        ca_file: PEM file of the authorities to trust. None: those of the system.
        direct: whether to ask without the proxy of the environment.
    """

    scheme: str
    host: str
    port: int
    prefix: str
    model: str
    version: int | None
    label: str | None
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    ca_file: Path | None
    direct: bool = False

    @property
    def is_rest(self) -> bool:
        """Whether requests go over REST; else they go over gRPC."""
        return self.scheme in ("http", "https")

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "grpcs")

    @property
    def target(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return addresses.joined(self.host, self.port)

    @property
    def address(self) -> str:
        """The address as messages show it, without model and headers."""
        return f"{self.scheme}://{self.target}{self.prefix}"

    @functools.cached_property
    def proxy(self) -> str | None:
        """URL of the proxy that requests go through; None: there is none."""
        return None if self.direct else proxies.proxy_of(self.scheme, self.host, self.port)

    @property
    def model_name(self) -> str:
        """The model with its version or label, as messages show it."""
        if self.version is not None:
            return f"{self.model}, version {self.version}"
        return self.model if self.label is None else f"{self.model}, label {self.label}"

    def authorities(self) -> bytes | None:
        """Certificates of the authorities to trust, PEM; None for those of the system."""
        return None if self.ca_file is None else self.ca_file.read_bytes()

    def error(
        self, code: str, message: str, *, retryable: bool = False, busy: bool = False
    ) -> ServingError:
        """The error of a request to this model. It names the proxy if there is one."""
        through = f" through the proxy {proxies.shown(self.proxy)}" if self.proxy else ""
        where = {"model": self.model_name, "address": f"{self.address}{through}"}
        return ServingError(code, message, retryable=retryable, busy=busy, **where)

    def late(self, deadline: Deadline) -> ServingError:
        """The error of a request whose time is up."""
        return self.error("DEADLINE_EXCEEDED", f"no answer within {deadline.seconds:g} s")

    def seconds_left(self, deadline: Deadline) -> float:
        """The time that a request still has.

        Raises:
            ServingError: DEADLINE_EXCEEDED, if no time is left.
        """
        seconds = deadline.remaining()
        if seconds <= 0:
            raise self.late(deadline)
        return seconds


def parse_endpoint(
    url: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | Path | None = None,
) -> Endpoint:
    """Checks the arguments of `connect`, before anything is sent.

    Args:
        url, model, version, label, token, headers, ca_file: As in `connect`.

    Returns:
        The `Endpoint`. A token becomes the header `authorization: Bearer TOKEN`.

    Raises:
        ValueError: An argument is not as expected. The message does not repeat values of headers,
            which may be secrets.
        FileNotFoundError: There is no file `ca_file`.
    """
    address = _split(url)
    if not model:
        raise ValueError("model: expected a name, received none; give the folder's name")
    if version is not None and label is not None:
        raise ValueError(f"expected a version or a label, received {version} and {label!r}")
    if version is not None and version < 0:
        raise ValueError(f"version: expected a nonnegative integer, received {version}")
    if label == "":
        raise ValueError("label: expected a name, received an empty one; leave it out")
    ca_file = None if ca_file is None else user_path(ca_file)
    if ca_file is not None and not ca_file.is_file():
        raise FileNotFoundError(
            f"ca_file: expected a PEM file of certificates, received {ca_file}, which is no file"
        )
    sent = _headers(headers or {}, token, address["scheme"])
    endpoint = Endpoint(
        **address, model=model, version=version, label=label, headers=sent, ca_file=ca_file
    )
    scheme = endpoint.scheme
    if ca_file is not None and not endpoint.is_secure:
        received = f"{scheme}://; use {scheme}s://"
        raise ValueError(f"ca_file: expected an encrypted address, received {received}")
    if "authorization" in sent and not (endpoint.is_secure or addresses.is_loopback(endpoint.host)):
        logger.warning("the token goes unencrypted to %s; use %ss://", endpoint.target, scheme)
    return endpoint


def _split(url: str) -> dict[str, Any]:
    """Scheme, host, port and prefix."""
    example = "such as http://host:8501 or grpc://host:8500"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _PORTS:
        known = ", ".join(f"{scheme}://" for scheme in _PORTS)
        received = f"{parts.scheme}://" if "://" in url else repr(url)
        raise ValueError(f"url: expected one of {known}, {example}, received {received}")
    if parts.username is not None:
        raise ValueError("url: expected no user or password in it, received one; use headers")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url: expected a port {example}, received {url!r}: {error}") from None
    if not parts.hostname:
        raise ValueError(f"url: expected a host, {example}, received {url!r}")
    prefix = parts.path.rstrip("/")
    if parts.query or parts.fragment or (prefix and parts.scheme in ("grpc", "grpcs")):
        raise ValueError(f"url: expected an address alone, {example}, received {url!r}")
    if port == 0:
        received = f"received {url!r}; give the port that the server told when it started"
        raise ValueError(f"url: expected a port from 1 to 65535, {received}")
    if port is None:
        port = _PORTS[parts.scheme]
    return {"scheme": parts.scheme, "host": parts.hostname, "port": port, "prefix": prefix}


def _headers(headers: Mapping[str, str], token: str | None, scheme: str) -> dict[str, str]:
    rest = scheme in ("http", "https")
    marks = "!#$%&'*+-.^_`|~" if rest else "-._"  # RFC 9110, 5.6.2, and gRPC's rules for metadata
    for name in headers:
        if not re.fullmatch(f"[A-Za-z0-9{re.escape(marks)}]+", name):
            expected = f"a name of letters, digits and {marks} over {scheme}://"
            raise ValueError(f"header {name!r}: expected {expected}, received another")
    result = {name.lower(): value for name, value in headers.items()}
    if token is not None:
        if "authorization" in result:
            raise ValueError("expected a token or the header Authorization, received both")
        result["authorization"] = f"Bearer {token.strip()}"
    for name, value in result.items():
        # A line break would begin another header.
        if not (value.isascii() and value.isprintable()):
            expected = "one line of ASCII characters"
            raise ValueError(f"header {name!r}: expected {expected}, received something else")
    return result
