"""What `connect` checks before anything is sent."""

from __future__ import annotations

import re
import sys

import pytest

from asym_keras.extras import install_command
from serving.client import connect
from serving.client.endpoint import parse_endpoint


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"url": "localhost:8501"}, "http://"),
        ({"url": "ftp://a"}, "received ftp://"),
        ({"url": "http://user:pw@a"}, "no user or password"),
        ({"url": "http://a:x"}, "expected a port"),
        ({"url": "http://a:0"}, "expected a port from 1 to 65535, received 'http://a:0'"),
        ({"url": "grpc://[::1]:0"}, "expected a port from 1 to 65535"),
        ({"url": "http://"}, "expected a host"),
        ({"url": "http://a/?b=1"}, "an address alone"),
        ({"url": "grpc://a:1/b"}, "an address alone"),
        ({"model": ""}, "expected a name"),
        ({"version": 1, "label": "a"}, "a version or a label"),
        ({"version": -1}, "nonnegative"),
        ({"label": ""}, "label"),
        ({"timeout": 0}, "positive number of seconds"),
        ({"timeout": float("inf")}, r"at most 2147483 \(24 days\), received inf"),
        ({"timeout": float("nan")}, "positive number of seconds"),
        ({"timeout": 1e10}, r"received 10000000000\.0"),  # an OverflowError, or late at once
        ({"retries": -1}, "nonnegative"),
        ({"token": "a\r\nb: c"}, "one line of ASCII"),
        ({"headers": {"a": "b\nc"}}, "'a': expected one line of ASCII"),
        ({"headers": {"a b": "c"}}, "'a b': expected a name of letters"),
        ({"headers": {"ü": "c"}}, "'ü': expected a name of letters"),
        ({"headers": {"\u212a": "c"}}, "expected a name"),  # its lower case is the letter k
        ({"headers": {"": "c"}}, "'': expected a name of letters"),
        ({"url": "grpc://a", "headers": {"a!": "c"}}, "'a!': expected .* over grpc://, received"),
        ({"token": "a", "headers": {"Authorization": "b"}}, "received both"),
        ({"ca_file": __file__}, "use https://"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_sent(arguments, text):
    with pytest.raises(ValueError, match=text):
        connect(**{"url": "http://localhost:8501", "model": "m", **arguments})


def test_legal_names_of_headers_pass():
    for url, name in (("http://a", "X_Tenant!"), ("grpc://a", "X_Tenant.b")):
        assert parse_endpoint(url, "m", headers={name: "c"}).headers == {name.lower(): "c"}


def test_missing_authorities_are_told():
    with pytest.raises(FileNotFoundError, match=r"no/such\.pem"):
        connect("https://localhost", model="m", ca_file="no/such.pem")


def test_addresses():
    assert parse_endpoint("http://h", "m").address == "http://h:8501"
    assert parse_endpoint("grpc://h", "m").target == "h:8500"
    assert parse_endpoint("https://h/team/", "m").address == "https://h:443/team"
    assert parse_endpoint("http://[::1]:80", "m").target == "[::1]:80"


def test_token_in_the_clear_is_told(caplog):
    parse_endpoint("http://example.org:8501", "m", token="s3cret")
    assert "unencrypted to example.org:8501; use https://" in caplog.text
    caplog.clear()
    for url in ("https://example.org", "http://localhost:8501", "http://[::1]:8501"):
        parse_endpoint(url, "m", token="s3cret")
    assert not caplog.text


@pytest.mark.parametrize("missing", ["httpx", "grpc"])
def test_missing_package_names_the_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)  # importing it fails
    url = "http://localhost" if missing == "httpx" else "grpc://localhost"
    with pytest.raises(
        ModuleNotFoundError, match=f"{missing}.*{re.escape(install_command('serving'))}"
    ):
        connect(url, model="m")
