"""Hosts and ports: loopback, brackets, what is free; and who is asked through a proxy."""

from __future__ import annotations

import contextlib
import csv
import socket
import threading

import pytest

from serving import addresses, launch
from serving.client import ServingError, connect
from serving.client.proxies import proxy_of, shown

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy")
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1", "127.1", "LOCALHOST.")
LOOPBACK += ("a.localhost", "::ffff:127.0.0.1", "0.0.0.0", "::")


@pytest.fixture
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return lambda **variables: [monkeypatch.setenv(*pair) for pair in variables.items()]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_never_asked_through_a_proxy(environment, host):
    environment(http_proxy="http://p:1", https_proxy="http://p:1", all_proxy="socks5://p:1")
    assert addresses.is_loopback(host)
    assert [proxy_of(scheme, host, 1) for scheme in ("http", "https", "grpc", "grpcs")] == 4 * [
        None
    ]


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "localhost.org", "2001:db8::1", "1"])
def test_other_hosts_are_no_loopback(environment, host):
    environment(http_proxy="p:1", https_proxy="http://u:pw@p:2")
    assert not addresses.is_loopback(host)
    assert proxy_of("http", host, 1) == "http://p:1"
    assert proxy_of("https", host, 1) == proxy_of("grpc", host, 1) == "http://u:pw@p:2"
    assert shown("http://u:pw@p:2") == "http://p:2"


@pytest.mark.parametrize(
    ("entries", "host", "named"),
    [
        ("*", "a.org", True),
        ("b.org, a.org", "a.org", True),
        ("b.org a.org", "a.org", True),
        (".a.org", "x.A.org", True),
        ("*.a.org", "x.a.org", True),
        ("a.org", "ba.org", False),
        ("a.org:80", "a.org", True),
        ("a.org:81", "a.org", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "a.org", False),
        # Each of these ended in a traceback of httpx.
        ("127.0.0.1,[::1]", "a.org", False),
        ("::1/128", "a.org", False),
        ("localhost, fe80::/10", "fe80::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", True),
        (",,", "a.org", False),
    ],
)
def test_what_no_proxy_names(environment, entries, host, named):
    environment(HTTP_PROXY="http://p:1", grpc_proxy="http://p:1", no_proxy=entries)
    expected = None if named else "http://p:1"
    assert proxy_of("http", host, 80) == proxy_of("grpc", host, 80) == expected
    connect(f"http://{addresses.joined(host, 80)}", model="m").close()


def test_grpc_has_variables_of_its_own(environment):
    environment(grpc_proxy="http://p:1", no_grpc_proxy="a.org", no_proxy="b.org", HTTPS_PROXY="p:2")
    assert [proxy_of("grpc", f"{name}.org", 1) for name in "ab"] == [None, "http://p:1"]
    assert [proxy_of("http", f"{name}.org", 1) for name in "ab"] == [None, None]


@pytest.mark.parametrize("url", ["p:1", "https://p:1", "socks5://p:1"])
def test_grpc_passes_over_other_proxies(environment, url):
    environment(http_proxy=url)
    assert proxy_of("grpc", "a.org", 1) is None
    assert proxy_of("http", "a.org", 1).endswith("://p:1")


@pytest.mark.parametrize(
    "url", ["http://", "http://u:pw@p:x", "http://p:0", "ftp://p", "http://[::1"]
)
def test_a_proxy_that_is_none_is_told_without_its_password(environment, url):
    environment(http_proxy=url)
    with pytest.raises(ValueError, match="expected a proxy's URL") as error:
        connect("http://a.org", model="m")
    assert "pw" not in str(error.value)
    connect("http://localhost", model="m").close()


@contextlib.contextmanager
def listening(answer=b"HTTP/1.1 503 busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"):
    """A port, and what was first sent to each of its connections."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        heard.append(connection.recv(65536))
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_token_for_loopback_reaches_no_proxy(environment, scheme):
    with listening() as (proxy, heard), listening() as (port, asked):
        environment(http_proxy=f"http://127.0.0.1:{proxy}", ALL_PROXY=f"socks5://127.0.0.1:{proxy}")
        url = f"{scheme}://127.0.0.1:{port}"
        with connect(url, model="m", retries=0, token="s3cret", timeout=2) as client:
            with pytest.raises(ServingError) as error:
                client.status()
    assert asked
    assert not heard
    assert "proxy" not in str(error.value)


def test_the_launcher_asks_its_own_server_without_a_proxy(environment, monkeypatch):
    """At an address of this machine that is no loopback, too, such as --host 192.168.1.5."""
    monkeypatch.setattr("serving.client.proxies.is_loopback", lambda host: False)
    answer = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}'
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(answer)
    with listening() as (proxy, heard), listening(head + answer) as (port, asked):
        environment(http_proxy=f"http://127.0.0.1:{proxy}", ALL_PROXY="no proxy at all")
        assert launch._problem(f"http://127.0.0.1:{port}", "m") == ""
    assert asked[0].startswith(b"GET /v1/models/m ")
    assert not heard


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_error_names_the_proxy_and_not_its_password(environment, scheme):
    with listening() as (proxy, heard):
        environment(http_proxy=f"http://user:pw@127.0.0.1:{proxy}")
        # A name that no resolver knows: it is the proxy's to find.
        url = f"{scheme}://models.invalid:80"
        with connect(url, model="m", retries=0, timeout=2) as client:
            with pytest.raises(ServingError, match=f"through the proxy http://127.0.0.1:{proxy}:"):
                client.status()
    assert heard[0].startswith((b"GET http://models.invalid", b"CONNECT models.invalid:80"))


def test_authorities_that_are_not_there_matter_for_tls_alone(environment, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    connect("http://a.org", model="m").close()
    with pytest.raises(FileNotFoundError, match=r"SSL_CERT_FILE: .*received /nonexistent"):
        connect("https://a.org", model="m")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "::", "0.0.0.0", ""])
def test_a_port_in_use_is_found_on_every_kind_of_host(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((addresses.bare(host), 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: expected a free one.*--rest-port"):
            addresses.require_free(host, port)
    addresses.require_free(host, 0)
    addresses.require_free(host, port)


TWO = ("::1", "127.0.0.1")


def found_as(monkeypatch, *hosts):
    """A name that stands for these addresses."""
    families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]

    def found(host, port, **_):
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(f, *kind, (h, port)) for f, h in zip(families, hosts, strict=True)]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", found)


@pytest.mark.parametrize("hosts", [TWO, TWO[::-1]])
@pytest.mark.parametrize("taken", TWO)
def test_a_port_is_free_only_if_it_is_on_all_addresses_of_a_host(monkeypatch, hosts, taken):
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as other:
        port = other.getsockname()[1]
        found_as(monkeypatch, *hosts)
        told = f"port {port}: .* can't be bound on localhost, which is {taken} .*--rest-port"
        with pytest.raises(OSError, match=told):
            addresses.require_free("localhost", port)
    addresses.require_free("localhost", port)


def test_an_address_that_is_not_here_matters_only_if_there_is_no_other(monkeypatch):
    """Such as ::1 of localhost on a machine without IPv6."""
    found_as(monkeypatch, "192.0.2.1", "127.0.0.1")
    addresses.require_free("localhost", 0)
    found_as(monkeypatch, "192.0.2.1", "2001:db8::1")
    with pytest.raises(OSError, match=r"on localhost, which is 192\.0\.2\.1 .*--host"):
        addresses.require_free("localhost", 0)


@pytest.mark.parametrize("host", ["no.such.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_is_told(host):
    with pytest.raises(OSError, match="--host") as error:
        addresses.require_free(host, 0)
    assert "--rest-port" not in str(error.value)


def test_how_addresses_are_written():
    assert addresses.joined("::1", 80) == addresses.joined("[::1]", 80) == "[::1]:80"
    assert addresses.joined("a", 80) == "a:80"
    assert [addresses.to_ask(h) for h in ("::", "[::]", "", "0.0.0.0", "a", "[::1]")] == [
        *("::1", "::1", "127.0.0.1", "127.0.0.1", "a", "::1")
    ]


def test_docker_takes_a_path_with_a_comma_and_a_quote(tmp_path):
    models = tmp_path / 'm,o"dels'
    (models / "a" / "1").mkdir(parents=True)
    (tmp_path / "current").symlink_to(models)
    settings = launch.Settings(models=tmp_path / "current", host="::1")
    command, _ = launch._command(launch.Program("docker", "image"), settings, tmp_path)
    mount = command[command.index("--mount") + 1]
    fields = ["type=bind", f"source={models}", "target=/models", "readonly"]
    assert next(csv.reader([mount])) == fields
    assert command[command.index("--publish") + 1] == "[::1]:8501:8501"
