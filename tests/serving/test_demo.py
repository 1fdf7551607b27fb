"""What passes through the demo's server to the model server, and what does not."""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import json
import re
import time
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from demo_calls import JSON, ask, error, settings
from fake_tf_serving import FakeServing, running, scores, write_model

from serving.demo.app import make_app


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


def test_predict_passes_through(demo, serving):
    row = list(range(784))
    body = json.dumps({"instances": [row]}).encode()
    private = {"Cookie": "a=b", "Authorization": "Basic x", "Content-Type": JSON}
    status, headers, answer = ask(
        demo, "/v1/models/large:predict", method="POST", body=body, headers=private
    )
    assert status == 200
    assert headers.get_content_type() == JSON
    assert re.fullmatch(r"server;dur=\d+\.\d+", headers["Server-Timing"])
    prediction = json.loads(answer)["predictions"][0]
    assert prediction["scores"] == pytest.approx(scores(row, sign=-1))
    ((method, path, sent, received),) = serving.asked
    assert (method, path, received) == ("POST", "/v1/models/large:predict", body)
    assert not {"Cookie", "Authorization"} & set(sent)


def test_errors_of_the_model_server_pass_through(demo, serving):
    missing = error(ask(demo, "/v1/models/missing"))
    assert missing == (404, "Servable not found for request: Latest(missing)")
    serving.instead = lambda: web.json_response({"error": "Missing 'inputs'"}, status=400)
    broken = error(ask(demo, "/v1/models/large:predict", method="POST", body=b"{}"))
    assert broken == (400, "Missing 'inputs'")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/foo"),
        ("GET", "/v1/models/large?x=1"),
        ("GET", "/v1/models/large/../small"),
        ("GET", "/v1/models/.."),
        ("GET", "/v1/models/../../etc/passwd"),
        ("GET", "/v1/models/%2e%2e/metadata"),
        ("GET", "/v1/models/large%2f..%2fsmall"),
        ("GET", "/v1/models/large/versions/HELLO"),
        ("GET", "/v1/models/large/labels/a/b"),
        ("GET", "/v1/models/large@127.0.0.1:80/metadata"),
        ("GET", "/v1/models/large:predict"),
        ("POST", "/v1/models/large"),
        ("POST", "/v1/models/large:predict/"),
        ("POST", "/v1/models/large:shutdown"),
        ("PUT", "/v1/models/large:predict"),
        ("DELETE", "/v1/models/large"),
        ("GET", "/v1/models/gr%C3%B6%C3%9Fe"),
    ],
)
def test_nothing_else_passes(demo, serving, method, path):
    status, text = error(ask(demo, path, method=method))
    assert status == 400
    assert text.startswith(f"Malformed request: {method} /v1/")
    assert serving.asked == []


@pytest.mark.parametrize(
    "path", ["/static/../settings.py", "/static/%2e%2e/settings.py", "/settings.py", "/static/"]
)
def test_no_file_but_the_page_is_served(demo, path):
    assert ask(demo, path)[0] in (403, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/a.b-c_D9",
        "/v1/models/large/versions/3/metadata",
        "/v1/models/large/labels/canary",
    ],
)
def test_other_paths_of_the_api_pass(demo, path):
    assert ask(demo, path)[0] == 404  # the stand-in's word: it has neither


def test_long_bodies_are_refused_packed_or_not(upstream, serving, models):
    body = json.dumps({"instances": [[0] * 50_000]}).encode()
    packed = gzip.compress(body)
    assert len(packed) < 10_000 < len(body)
    with running(make_app(settings(upstream, models, body_limit=10_000))) as demo:
        for sent, headers in ((body, {}), (packed, {"Content-Encoding": "gzip"})):
            answer = ask(
                demo, "/v1/models/small:predict", method="POST", body=sent, headers=headers
            )
            assert error(answer) == (413, "expected a body of at most 10000 bytes")
        assert ask(demo, "/models.json")[0] == 200
    assert serving.bodies() == []


def test_packed_bodies_go_on_unpacked_and_broken_ones_do_not(demo, serving):
    call = {"method": "POST", "headers": {"Content-Encoding": "gzip"}}
    body = json.dumps({"instances": [[0] * 784]}).encode()
    assert ask(demo, "/v1/models/small:predict", body=gzip.compress(body), **call)[0] == 200
    assert error(ask(demo, "/v1/models/small:predict", body=b"no gzip", **call))[0] == 400
    assert [sent for *_, sent in serving.asked] == [body]


def test_a_body_that_does_not_come_is_waited_for_a_while(upstream, models):
    with running(make_app(settings(upstream, models, timeout=0.2))) as demo:
        connection = http.client.HTTPConnection(urlsplit(demo).netloc, timeout=10)
        connection.putrequest("POST", "/v1/models/small:predict")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert error((answer.status, answer.headers, answer.read()))[0] == 408
        connection.close()


def test_a_slow_model_server_is_waited_for_a_while(upstream, serving, models):
    serving.delay = 60
    with running(make_app(settings(upstream, models, timeout=0.2))) as demo:
        start = time.monotonic()
        status, text = error(ask(demo, "/v1/models/small"))
        assert time.monotonic() - start < 5
    assert status == 504
    assert upstream in text


def test_too_long_an_answer_is_cut_off(upstream, serving, models):
    serving.instead = lambda: web.json_response({"predictions": [0] * 10_000})
    with running(make_app(settings(upstream, models, answer_limit=5_000))) as demo:
        answer = error(ask(demo, "/v1/models/small:predict", method="POST", body=b"{}"))
    assert answer == (502, "the model server's answer is longer than 5000 bytes")


def test_redirects_are_not_followed(demo, serving, upstream):
    serving.instead = lambda: web.Response(
        status=302, headers={"Location": f"{upstream}/v1/models/large"}
    )
    status, headers, _ = ask(demo, "/v1/models/small:predict", method="POST", body=b"{}")
    assert status == 302
    assert "Location" not in headers
    assert len(serving.asked) == 1


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"server": "127.0.0.1:8501"}, "--server"),
        ({"server": "ftp://host"}, "--server"),
        ({"server": "http://"}, "--server"),
        ({"server": "http://host:port"}, "--server"),
        ({"server": "http://host/?a=b"}, "--server"),
        ({"server": "http://user:secret@host"}, "--server"),
        ({"models": ("a", "../b")}, "--models"),
        ({"models": ("",)}, "--models"),
        ({"models": ("..",)}, "--models"),
    ],
)
def test_settings_are_checked(tmp_path, changes, flag):
    with pytest.raises(ValueError, match=f"^{flag}: expected .* received "):
        settings(**{"server": "http://127.0.0.1:8501", "folder": tmp_path, **changes})


def test_settings_keep_a_path_before_the_api(tmp_path):
    kept = settings("https://host:1/tf/", tmp_path, models=("a", "b.c-d_e"))
    assert dataclasses.astuple(kept)[:2] == ("https://host:1/tf", ("a", "b.c-d_e"))
