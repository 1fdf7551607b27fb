"""Versions of the preview server: policies, hot reload, damaged versions, requests under way."""

from __future__ import annotations

import shutil
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import serving_models

from serving import model_config
from serving.preview import store as store_module
from serving.preview.errors import ServingError
from serving.preview.store import Store


class FakeServable:
    """A version that is as good as the text in its folder says."""

    log: list[str]

    def __init__(self, path):
        self.name = f"{path.parent.name}/{int(path.name)}"
        if (path / "saved_model.pb").read_text() != "good":
            raise ValueError("damaged")
        self.log.append(f"load {self.name}")

    def close(self):
        self.log.append(f"close {self.name}")


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(FakeServable, "log", [], raising=False)
    return FakeServable.log


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "models" / "m"
    base.mkdir(parents=True)
    return base


def put(base, number, text="good"):
    folder = base / str(number)
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_text(text)


def store_of(base, **options):
    config = model_config.build(base.parent, **options)
    store = Store(config, FakeServable)
    store.start(0)
    return store


def served(store, **spec):
    with store.lease("m", **spec) as version:
        return version.number


@pytest.mark.parametrize(
    ("versions", "expected"),
    [("latest", [20]), ("latest:2", [3, 20]), ("all", [1, 3, 20]), ("1,3", [1, 3])],
)
def test_policies(log, base, versions, expected):
    for number in ("1", "3", "20", "x2", "-4", str(2**63)):
        put(base, number)
    store = store_of(base, versions=[versions])
    assert store.available() == {"m": expected}
    assert served(store) == max(expected)
    put(base, 21)
    store.poll()
    newest = [] if versions == "1,3" else [21]
    kept = {"latest": [], "latest:2": [20]}.get(versions, expected)
    assert store.available() == {"m": kept + newest}


def test_leading_zeros(log, base):
    put(base, "00000123")
    assert served(store_of(base), number=123) == 123


def test_new_versions_are_loaded_before_old_ones_are_unloaded(log, base):
    put(base, 1)
    store = store_of(base)
    put(base, 2)
    store.poll()
    assert log == ["load m/1", "load m/2", "close m/1"]
    assert store.states("m") == [(2, "AVAILABLE", None), (1, "END", None)]
    store.stop()
    assert log[-1] == "close m/2"


def test_a_removed_newest_version_brings_the_last_one_back(log, base):
    put(base, 1)
    put(base, 2)
    store = store_of(base)
    shutil.rmtree(base / "2")
    store.poll()
    assert log == ["load m/2", "load m/1", "close m/2"]
    assert served(store) == 1


def test_of_several_versions_the_oldest_goes_before_the_new_one_comes(log, base):
    put(base, 1)
    put(base, 2)
    store = store_of(base, versions=["latest:2"])
    put(base, 3)
    store.poll()
    assert log == ["load m/2", "load m/1", "close m/1", "load m/3"]
    put(base, 4, "bad")
    store.poll()
    assert log[4:] == ["close m/2"]
    assert store.available() == {"m": [3]}


@pytest.fixture
def clock(monkeypatch):
    """A clock of the store that a test sets."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(store_module, "time", clock)
    return clock


def test_a_damaged_version_costs_no_other_and_is_tried_again_each_minute(log, base, clock):
    put(base, 1)
    store = store_of(base)
    put(base, 2, "bad")
    store.poll()
    assert served(store) == 1
    (_, state, error), good = store.states("m")
    assert (state, error.code, error.message) == ("END", "UNKNOWN", "damaged")
    assert good == (1, "AVAILABLE", None)
    put(base, 2, "good")
    clock.now += 59
    store.poll()
    assert served(store) == 1
    clock.now += 2
    store.poll()
    assert served(store) == 2
    assert log == ["load m/1", "load m/2", "close m/1"]


def test_a_damaged_version_that_was_away_is_tried_at_once(log, base):
    put(base, 1)
    store = store_of(base)
    put(base, 2, "bad")
    store.poll()
    (base / "2").rename(base / ".2")
    store.poll()
    put(base, 2, "good")
    store.poll()
    assert served(store) == 2


def test_a_damaged_newest_version_at_the_start(log, base):
    put(base, 1)
    put(base, 2, "bad")
    store = store_of(base)
    assert store.available() == {"m": [1]}
    assert [state for _, state, _ in store.states("m")] == ["END", "AVAILABLE"]


def test_what_serves_beside_a_damaged_version_is_told(log, base, caplog):
    put(base, 1)
    put(base, 2, "bad")
    store = store_of(base)
    told = "m version {} can't be loaded (serving on: {}): damaged"
    assert caplog.messages == [told.format(2, "no other version")]
    put(base, 3, "bad")
    store.poll()
    assert caplog.messages[1:] == [told.format(3, "1")]


def test_a_removed_version_serves_on_until_a_good_one_is_there(log, base):
    put(base, 1)
    store = store_of(base)
    shutil.rmtree(base / "1")
    put(base, 2, "bad")
    store.poll()
    assert served(store) == 1
    put(base, 3)
    store.poll()
    assert log == ["load m/1", "load m/3", "close m/1"]


def test_no_good_version_at_all_is_an_error(log, base):
    put(base, 1, "bad")
    with pytest.raises(RuntimeError, match="expected at least one model that can be loaded"):
        store_of(base)


def test_an_empty_folder_unloads_all_and_a_missing_one_nothing(log, base):
    put(base, 1)
    store = store_of(base)
    base.rename(base.parent / "away")
    store.poll()
    assert served(store) == 1
    base.mkdir()
    store.poll()
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        served(store)
    assert log == ["load m/1", "close m/1"]


def test_requests_under_way_keep_their_version(log, base):
    put(base, 1)
    store = store_of(base)
    with store.lease("m") as first, store.lease("m") as second:
        put(base, 2)
        store.poll()
        assert served(store) == 2
        assert store.states("m")[1] == (1, "UNLOADING", None)
        assert first.servable is second.servable is not None
        assert "close m/1" not in log
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            served(store, number=1)
    assert log[-1] == "close m/1"
    assert store.states("m")[1] == (1, "END", None)


def test_labels(log, base):
    put(base, 1)
    put(base, 2)
    store = store_of(base, versions=["all"], labels=["m:stable=1"])
    assert served(store, label="stable") == 1
    for model in ("m", "none"):
        with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
            with store.lease(model, label="canary"):
                pass


def test_polling_survives_any_error(log, base, monkeypatch):
    put(base, 1)
    store = Store(model_config.build(base.parent), FakeServable)
    store.start(0.01)
    polls = threading.Semaphore(0)
    poll = store.poll

    def fails_then_polls():
        polls.release()
        monkeypatch.setattr(store, "poll", poll)
        raise RuntimeError("once")

    monkeypatch.setattr(store, "poll", fails_then_polls)
    assert polls.acquire(timeout=10)
    put(base, 2)
    until(lambda: store.available() == {"m": [2]})
    store.stop()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_real_versions_come_and_go_over_rest(tmp_path):
    base = tmp_path / "dense"
    base.mkdir()
    serving_models.save_dense(base / "1")
    with serving_models.running_preview(tmp_path) as server:

        def states():
            answer = httpx.get(f"{server.rest}/v1/models/dense").json()["model_version_status"]
            return {int(version["version"]): version for version in answer}

        def predicted():
            body = {"signature_name": "features", "instances": [[1, 0, 0, 0]]}
            answer = httpx.post(f"{server.rest}/v1/models/dense:predict", json=body)
            return answer.json()["predictions"][0]

        assert predicted() == serving_models.scores([1, 0, 0, 0]).tolist()
        # Half a copy is a damaged version: the good one is written beside, then renamed.
        serving_models.save_dense(base / "hidden", factor=2.0)
        (base / "hidden" / "saved_model.pb").unlink()
        (base / "hidden").rename(base / "2")
        until(lambda: states().get(2, {}).get("state") == "END")
        assert states()[2]["status"]["error_code"] != "OK"
        assert "saved_model.pb" in states()[2]["status"]["error_message"]
        assert predicted() == serving_models.scores([1, 0, 0, 0]).tolist()
        serving_models.save_dense(base / "3", factor=2.0)
        until(lambda: states().get(3, {}).get("state") == "AVAILABLE")
        until(lambda: states()[1]["state"] == "END")
        assert predicted() == serving_models.scores([1, 0, 0, 0], 2.0).tolist()
