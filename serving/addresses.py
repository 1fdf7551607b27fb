"""Hosts and ports: which are this machine's, how they are written, and which are free."""

from __future__ import annotations

import errno
import ipaddress
import socket

# The errors of binding an address that this machine does not have, such as ::1 without IPv6.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_EVERY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def bare(host: str) -> str:
    """A host without the brackets that an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def joined(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    host = bare(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def to_ask(host: str) -> str:
    """The host at which to ask a server that listens on `host`.

    A server that listens on every address is asked at the loopback.
    """
    host = bare(host)
    return _EVERY.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether what is sent to `host` stays in this machine. Looks up no name."""
    host = bare(host).rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    number = _number(host)
    return number is not None and (number.is_loopback or number.is_unspecified)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            number = ipaddress.ip_address(socket.inet_aton(host))  # 127.1, as programs in C read it
        except OSError:
            return None
    return getattr(number, "ipv4_mapped", None) or number


def free_port() -> int:
    """A TCP port on which nothing listens now, at any IPv4 address of this machine."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


def require_free(host: str, port: int) -> None:
    """Checks that a port is free by binding it, so that the error comes before models are loaded.

    Port 0 is always free. A name may stand for several addresses, as localhost does for ::1 and
    127.0.0.1: a server listens on each that this machine has, so the port must be free on each.

    Raises:
        OSError: Another program listens on the port, or this machine has no such address.
    """
    try:
        found = socket.getaddrinfo(
            bare(host) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        received = f"received {host!r} ({error.strerror})"
        raise OSError(f"--host: expected an address of this machine, {received}") from error
    missing = []
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                cure = "choose another with --rest-port or --grpc-port"
                raise _taken(port, host, str(address[0]), error, cure) from error
            missing.append((str(address[0]), error))
    if len(missing) == len(found):
        cure = "give an address of this machine with --host"
        raise _taken(port, host, *missing[0], cure) from missing[0][1]


def _taken(port: int, host: str, address: str, error: OSError, cure: str) -> OSError:
    where = host if address == bare(host) or not host else f"{host}, which is {address}"
    return OSError(
        error.errno,
        f"port {port}: expected a free one, received one that can't be bound on "
        f"{where or 'every address'} ({error.strerror}); {cure}",
    )
