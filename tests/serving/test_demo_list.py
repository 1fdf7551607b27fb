"""The demo's page, and its list of models: from their cards, and what the model server says."""

from __future__ import annotations

import json
import re

import pytest
from aiohttp import web
from demo_calls import ask, error, settings
from fake_tf_serving import FakeServing, running, write_model
from loopback import refused_port

from serving.demo.app import STATIC, make_app
from serving.demo.cards import find_models


@pytest.fixture
def serving():
    return FakeServing(small=1, large=-1)


@pytest.fixture
def upstream(serving):
    with running(serving.app()) as url:
        yield url


@pytest.fixture
def models(tmp_path):
    write_model(tmp_path, "large", kept=100)
    write_model(tmp_path, "small", kept=20)
    return tmp_path


@pytest.fixture
def demo(upstream, models):
    with running(make_app(settings(upstream, models))) as url:
        yield url


def test_page_comes_with_all_its_files_and_a_policy_that_forbids_others(demo):
    files = {f"/static/{path.name}" for path in STATIC.iterdir() if path.name != "index.html"}
    named = re.compile(r'(?:href|src)="([^"]+)"|from "\.(/[^"]+)"')
    seen, wanted = set(), {"/"}
    while wanted - seen:
        path = min(wanted - seen)
        status, headers, body = ask(demo, path)
        assert status == 200, path
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        if path.endswith(".js"):
            assert headers.get_content_type() in ("text/javascript", "application/javascript")
        wanted |= {whole or f"/static{part}" for whole, part in named.findall(body.decode())}
        seen.add(path)
    assert seen == {"/", *files}


def test_page_names_no_other_host():
    texts = "".join(path.read_text(encoding="utf-8") for path in STATIC.iterdir())
    assert re.findall(r"\w+://[^\s\"']+", texts) == ["http://www.w3.org/2000/svg"]


def test_a_model_of_ones_own_is_no_drawing_and_no_fault(models, caplog):
    (models / "house" / "1").mkdir(parents=True)
    (models / "house" / "1" / "card.json").write_text('{"kind": "keras", "inputs": {}}')
    assert list(find_models(models)) == ["small", "large"]
    assert caplog.text == ""


def test_list_has_the_models_of_the_cards_smallest_first(demo, upstream, models):
    status, _, body = ask(demo, "/models.json")
    content = json.loads(body)
    assert status == 200
    assert content["server"] == upstream
    assert content["problem"] is None
    assert [model["name"] for model in content["models"]] == ["small", "large"]
    assert content["models"][1] == {
        "name": "large",
        "version": 3,
        "problem": None,
        "title": "MNIST, 100 nodes",
        "nodes": 100,
        "width": 2000,
        "size": 100_500,  # graph and weights, no warm-up requests
        "accuracy": 0.82,
        "classes": [str(k) for k in range(10)],
    }


def test_list_leaves_out_what_cannot_read_a_drawing(demo, models, caplog):
    write_model(models, "regressor", task="regression")
    write_model(models, "columns", inputs={"kind": "columns", "dim": 8, "shape": [8]})
    write_model(models, "colour", inputs={"kind": "image", "dim": 3072, "shape": [32, 32, 3]})
    write_model(models, "broken", inputs=None)
    write_model(models, ".hidden")
    (models / "empty" / "1").mkdir(parents=True)
    (models / "file").touch()
    names = [model["name"] for model in json.loads(ask(demo, "/models.json")[2])["models"]]
    assert names == ["small", "large"]
    assert "broken" in caplog.text


def test_list_reads_the_newest_card_by_number(demo, models):
    write_model(models, "large", kept=30, version=20)
    write_model(models, "large", kept=40, version=100)
    nodes = [model["nodes"] for model in json.loads(ask(demo, "/models.json")[2])["models"]]
    assert nodes == [20, 40]


def test_models_without_a_card_are_known_by_their_signatures(upstream, serving, tmp_path):
    named = settings(upstream, tmp_path / "none", models=("large", "missing"))
    with running(make_app(named)) as demo:
        large, missing = json.loads(ask(demo, "/models.json")[2])["models"]
        serving.dim = 8
        narrow = json.loads(ask(demo, "/models.json")[2])["models"][0]
    assert (large["nodes"], large["size"], large["version"], large["problem"]) == (
        50,
        None,
        3,
        None,
    )
    assert (missing["version"], missing["nodes"]) == (None, None)
    assert missing["problem"] == "Servable not found for request: Latest(missing)"
    assert "784" in narrow["problem"]
    assert "[8]" in narrow["problem"]


def test_list_says_which_model_is_not_available(demo, serving):
    serving.state = "LOADING"
    small = json.loads(ask(demo, "/models.json")[2])["models"][0]
    assert (small["version"], small["nodes"]) == (None, 20)
    assert "available" in small["problem"]


def test_without_a_model_server_the_list_says_how_to_start_one(models):
    with refused_port() as port:
        server = f"http://127.0.0.1:{port}"
        with running(make_app(settings(server, models))) as demo:
            content = json.loads(ask(demo, "/models.json")[2])
            status, text = error(ask(demo, "/v1/models/small:predict", method="POST", body=b"{}"))
    assert content["models"] == []
    assert server in content["problem"]
    assert content["start"] == f"python -m serving.serve --models {models} --preview"
    assert status == 502
    assert server in text


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1]", b'{"model_version_status": [1]}', b'{"model_version_status": 1}']
)
def test_list_says_that_another_server_listens_there(models, body):
    async def answer(request):
        return web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    with running(app) as server, running(make_app(settings(server, models))) as demo:
        content = json.loads(ask(demo, "/models.json")[2])
    assert content["problem"] == f"what answers at {server} is no TF Serving REST server"
