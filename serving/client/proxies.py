"""The proxy through which an address is asked, as the environment names it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping

from serving.addresses import bare, is_loopback

_SCHEMES = ("http", "https", "socks5", "socks5h")
_HAS_PORT = re.compile(r"(\[.*\]|[^:]+):[0-9]+")


def proxy_of(scheme: str, host: str, port: int) -> str | None:
    """URL of the proxy for an address; None if it is asked without one.

    Over HTTP it is that of `http_proxy` or `https_proxy`, else of `all_proxy`, in lower or upper
    case, or the system's. gRPC takes, in lower case, `grpc_proxy`, `https_proxy`, `http_proxy`, if
    it is an http:// one. An address of this machine is asked without one, and so is what `no_proxy`
    names: "*", a host with all below it, each with or without a port, or a network such as
    10.0.0.0/8 or fe80::/10.

    Raises:
        ValueError: What should be a proxy's URL is none.
    """
    if is_loopback(host):
        return None
    if scheme in ("grpc", "grpcs"):
        named = [os.environ.get(f"{kind}_proxy") for kind in ("grpc", "https", "http")]
        without = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""
    else:
        there: Mapping[str, str] = urllib.request.getproxies()
        named, without = [there.get(scheme), there.get("all")], there.get("no", "")
    url = next(filter(None, named), None)
    if url is None or any(_names(entry, host, port) for entry in re.split(r"[,\s]+", without)):
        return None
    if scheme in ("grpc", "grpcs"):
        return url if url.startswith("http://") else None  # gRPC passes over all others
    return _checked(url if "://" in url else f"http://{url}")


def shown(url: str) -> str:
    """A proxy's URL without the user and password that it may hold."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"


def _checked(url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname and (parts.port or 1):
            return url
    expected = f"a proxy's URL, {', '.join(_SCHEMES)}://HOST:PORT, in the environment"
    raise ValueError(f"expected {expected}, received {shown(url)!r}")


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `no_proxy` names a host."""
    if entry == "*":
        return True
    # A number is written in brackets if a port follows; of others the last colon is the port's.
    name, _, number = entry.rpartition(":") if _HAS_PORT.fullmatch(entry) else (entry, "", "")
    if not name or number not in ("", str(port)):
        return False
    try:
        network = ipaddress.ip_network(name.replace("[", "").replace("]", ""), strict=False)
        return ipaddress.ip_address(bare(host).partition("%")[0]) in network
    except ValueError:  # one of the two is a name
        host, name = host.rstrip(".").lower(), name.strip(".").lower().removeprefix("*.")
        return host == name or host.endswith(f".{name}")
