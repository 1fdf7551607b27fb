"""What a process does first."""

from __future__ import annotations

import os

import pytest

from trainers.common import process

LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"no_proxy": LOOPBACK}),
        ({"no_proxy": "a.org, ::1"}, {"no_proxy": "a.org,::1,localhost,127.0.0.1"}),
        # Python prefers the lower case, so that it must say the same.
        ({"NO_PROXY": "a.org"}, {"NO_PROXY": "a.org", "no_proxy": f"a.org,{LOOPBACK}"}),
        ({"no_proxy": "*"}, {"no_proxy": "*"}),
        # Where it is set, gRPC looks at it alone.
        (
            {"no_grpc_proxy": "a.org"},
            {"no_grpc_proxy": f"a.org,{LOOPBACK}", "no_proxy": LOOPBACK},
        ),
    ],
)
def test_this_machine_is_asked_without_a_proxy(monkeypatch, given, expected):
    monkeypatch.setattr(os, "environ", {"http_proxy": "http://p:1", **given})
    for _ in range(2):
        process._spare_loopback_the_proxy()
        assert os.environ == {"http_proxy": "http://p:1", **expected}
