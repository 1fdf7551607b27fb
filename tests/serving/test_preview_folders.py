"""Folders that the preview server can't read, and the addresses that it listens on."""

from __future__ import annotations

import itertools
import logging
import shutil

import pytest
import serving_models

from serving import model_config
from serving.client import connect
from serving.preview import server as preview_server
from serving.preview import store as store_module
from serving.preview.store import Store


class Servable:
    """A version that answers nothing."""

    def close(self):
        pass


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "models" / "m"
    base.mkdir(parents=True)
    return base


def put(base, number):
    (base / str(number)).mkdir(parents=True)


def test_a_folder_that_can_not_be_read_stops_no_other_model(base, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    put(base, 1)
    put(base.parent / "n", 1)
    store = Store(model_config.build(base.parent), lambda path: Servable())
    find = store_module.find_versions

    def find_versions(folder):
        if folder == base:
            raise PermissionError(13, "Permission denied", str(folder))
        return find(folder)

    store.poll()
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "find_versions", find_versions)
        for version in (2, 3):
            put(base, version)
            put(base.parent / "n", version)
            store.poll()
            assert store.available() == {"m": [1], "n": [version]}
    store.poll()
    store.poll()
    assert store.available() == {"m": [3], "n": [3]}
    shutil.rmtree(base)
    store.poll()
    store.poll()
    told = [r.message for r in caplog.records if r.message.startswith("m: ")]
    assert told == [
        f"m: Permission denied: {base}; nothing changes",
        "m: its folder can be read again",
        f"m: No such folder: {base}; nothing changes",
    ]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("host", "asked"),
    [("::1", ["[::1]"]), ("[::1]", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"])],
)
def test_addresses_of_ipv6(base, monkeypatch, host, asked):
    put(base, 1)
    monkeypatch.setattr(preview_server, "_load", lambda path, threads: Servable())
    with serving_models.running_preview(base.parent, host=host) as running:
        server = running.server
        ports = {"http": server.rest_port, "grpc": server.grpc_port}
        for address, (scheme, port) in itertools.product(asked, ports.items()):
            with connect(f"{scheme}://{address}:{port}", model="m", timeout=5) as client:
                assert client.status()[0].is_available
