"""Requests over REST."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from serving import extra
from serving.client import json_tensors
from serving.client.deadlines import Deadline
from serving.client.endpoint import Endpoint
from serving.client.examples import Features, Labelled
from serving.client.signatures import Arrays, ModelMetadata, Signature, signatures_from_json
from serving.client.status import ModelVersion, versions_from_json
from serving.codes import code_of_status

_Read: TypeAlias = Callable[[Any], Any]  # turns parsed JSON into what the client's method returns
_SHOWN = 300  # most characters of an answer in another form than TF Serving's, in a message


def model_path(endpoint: Endpoint) -> str:
    """The path `/v1/models/NAME`, with version or label."""
    path = f"{endpoint.prefix}/v1/models/{urllib.parse.quote(endpoint.model, safe='')}"
    if endpoint.version is not None:
        return f"{path}/versions/{endpoint.version}"
    if endpoint.label is not None:
        return f"{path}/labels/{urllib.parse.quote(endpoint.label, safe='')}"
    return path


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """A context that checks certificates by `ca_file`, or by the system's authorities.

    Raises:
        FileNotFoundError: OpenSSL reads `SSL_CERT_FILE` and `SSL_CERT_DIR`, and one of them names a
            path that does not exist.
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if endpoint.ca_file is None and path and not os.path.exists(path):
            received = f"received {path}, where nothing is; unset it, or give --ca-file (ca_file)"
            raise FileNotFoundError(
                f"{name}: expected the authorities that sign certificates, {received}"
            )
    return ssl.create_default_context(cafile=endpoint.ca_file)


class RestTransport:
    """Sends a request for each call, over connections that stay open.

    Args:
        endpoint: A model at an `http://` or `https://` address.
    """

    def __init__(self, endpoint: Endpoint):
        self._httpx = extra.load("httpx", wanted_by="REST")
        self._endpoint = endpoint
        self._client = self._httpx.Client(
            base_url=f"{endpoint.scheme}://{endpoint.target}",
            headers=dict(endpoint.headers),
            proxy=endpoint.proxy,
            trust_env=False,  # httpx itself would ask even the loopback through a proxy
            # Unencrypted addresses need no certificates, and reading them takes 20 ms.
            verify=tls_context(endpoint) if endpoint.is_secure else False,
        )
        self._path = model_path(endpoint)

    def predict(
        self, arrays: Arrays, name: str, signature: Signature, deadline: Deadline
    ) -> dict[str, npt.NDArray]:
        """Outputs by name, in the dtypes of `signature`."""
        body = json_tensors.encode_request(arrays, signature=name)
        path = f"{self._path}:predict"
        return self._ask(path, lambda a: json_tensors.decode_answer(a, signature), deadline, body)

    def classify(self, examples: Features, signature: str, deadline: Deadline) -> Labelled:
        """Label and score of every class, for each example."""
        return self._infer("classify", examples, signature, _labelled, deadline)

    def regress(
        self, examples: Features, signature: str, deadline: Deadline
    ) -> npt.NDArray[np.float32]:
        """One number for each example."""
        return self._infer("regress", examples, signature, lambda r: np.array(r, "f4"), deadline)

    def status(self, deadline: Deadline) -> list[ModelVersion]:
        """The versions that the server knows, newest first."""
        return self._ask(self._path, versions_from_json, deadline)

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Version and signatures."""
        return self._ask(f"{self._path}/metadata", _metadata, deadline)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _infer(
        self, method: str, examples: Features, signature: str, read: _Read, deadline: Deadline
    ) -> Any:
        body = {"signature_name": signature, "examples": examples}
        content = json.dumps(body, default=json_tensors.encode_bytes).encode()
        return self._ask(f"{self._path}:{method}", lambda a: read(a["results"]), deadline, content)

    def _ask(self, path: str, read: _Read, deadline: Deadline, body: bytes | None = None) -> Any:
        status, content = self._exchange(path, deadline, body)
        if status != 200:
            raise self._endpoint.error(
                code_of_status(status), _reason(status, content), retryable=status in (502, 503)
            )
        try:
            return read(json.loads(content))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"the answer is not in TF Serving's form: {error!r}"
            raise self._endpoint.error("UNKNOWN", message) from error

    def _exchange(self, path: str, deadline: Deadline, body: bytes | None) -> tuple[int, bytes]:
        httpx, endpoint = self._httpx, self._endpoint
        method = "GET" if body is None else "POST"
        headers = {} if body is None else {"content-type": "application/json"}
        request = self._client.build_request(
            method, path, content=body, headers=headers, timeout=endpoint.seconds_left(deadline)
        )
        try:
            with contextlib.closing(self._client.send(request, stream=True)) as response:
                if response.has_redirect_location:  # following it may turn a POST into a GET
                    to = response.headers["location"]
                    return response.status_code, f"leads to {to}; ask there".encode()
                return response.status_code, b"".join(self._chunks(request, response, deadline))
        except httpx.TimeoutException as error:
            raise endpoint.late(deadline) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise endpoint.error("UNAVAILABLE", reason, retryable=_is_refused(error)) from error

    def _chunks(self, request: Any, response: Any, deadline: Deadline) -> Iterator[bytes]:
        # httpx limits each wait, not the sum of all waits. So the time that is left becomes the
        # limit of each wait for the body, and is checked after each chunk.
        request.extensions["timeout"]["read"] = self._endpoint.seconds_left(deadline)
        for chunk in response.iter_bytes():
            yield chunk
            self._endpoint.seconds_left(deadline)


def _labelled(results: list) -> Labelled:
    return [[(label, float(score)) for label, score in result] for result in results]


def _metadata(answer: Any) -> ModelMetadata:
    definitions = answer["metadata"]["signature_def"]["signature_def"]
    return signatures_from_json(answer["model_spec"]["version"], definitions)


def _reason(status: int, content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):  # the page of a proxy, or no body
        text = content.decode("utf-8", "replace").strip()
        return f"HTTP status {status} {text[:_SHOWN]}"


def _is_refused(error: BaseException | None) -> bool:
    """Whether the error, or one that it was raised from, is a refused connection."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False
