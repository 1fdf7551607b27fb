"""Which proxy of the environment a request to an address goes through."""

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
    """URL of the proxy for an address; None if requests go there directly.

    Over HTTP the proxy is `http_proxy` or `https_proxy`, else `all_proxy`, in lower or upper case,
    or the system's. Over gRPC it is the first of `grpc_proxy`, `https_proxy` and `http_proxy` in
    lower case, if that is an http:// URL. Requests to this machine go directly, and so do those to
    what `no_proxy` (for gRPC `no_grpc_proxy`, if set) names: "*", a host with all hosts below it,
    each with or without a port, or a network such as 10.0.0.0/8 or fe80::/10.

    Raises:
        ValueError: The variable does not hold the URL of a proxy.
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
        return url if url.startswith("http://") else None  # gRPC ignores all others
    return _checked(url if "://" in url else f"http://{url}")


def shown(url: str) -> str:
    """A proxy's URL without the user and password that it may hold."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"


def _checked(url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname and parts.port != 0:
            return url
    expected = f"a proxy's URL, {', '.join(_SCHEMES)}://HOST:PORT, in the environment"
    raise ValueError(f"expected {expected}, received {shown(url)!r}")


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `no_proxy` names a host."""
    if entry == "*":
        return True
    # An IPv6 address needs brackets if a port follows; in all other entries a colon begins a port.
    name, _, number = entry.rpartition(":") if _HAS_PORT.fullmatch(entry) else (entry, "", "")
    if not name or number not in ("", str(port)):
        return False
    try:
        network = ipaddress.ip_network(name.replace("[", "").replace("]", ""), strict=False)
        return ipaddress.ip_address(bare(host).partition("%")[0]) in network
    except ValueError:  # one of the two is a name
        host, name = host.rstrip(".").lower(), name.strip(".").lower().removeprefix("*.")
        return host == name or host.endswith(f".{name}")
