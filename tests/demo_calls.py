"""Calls of the demo's server as they go over the wire."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from serving.demo.settings import Settings

JSON = "application/json"


def settings(server, folder, **changes):
    return Settings(**{"server": server, "models": (), "models_dir": folder, **changes})


def ask(url, path, *, method="GET", body=None, headers=None):
    """Status, headers and body; the path goes out as it stands."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def error(answer):
    """Status and text of an answer in the form of TF Serving's errors."""
    status, headers, body = answer
    content = json.loads(body)
    assert headers.get_content_type() == JSON
    assert list(content) == ["error"]
    return status, content["error"]
