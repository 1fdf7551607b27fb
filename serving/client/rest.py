"""Requests over REST."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client import extra, json_tensors
from serving.client.deadlines import Deadline
from serving.client.endpoint import Endpoint
from serving.client.errors import ServingError, code_of_status
from serving.client.signatures import ModelMetadata, Signature, signatures_from_json
from serving.client.status import ModelVersion

_SHOWN = 300  # characters of an answer that is no error in TF Serving's form


def model_path(endpoint: Endpoint) -> str:
    """`/v1/models/NAME` with version or label."""
    path = f"{endpoint.prefix}/v1/models/{urllib.parse.quote(endpoint.model, safe='')}"
    if endpoint.version is not None:
        return f"{path}/versions/{endpoint.version}"
    if endpoint.label is not None:
        return f"{path}/labels/{urllib.parse.quote(endpoint.label, safe='')}"
    return path


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Checks certificates and names, against `ca_file` or the system's authorities."""
    return ssl.create_default_context(cafile=endpoint.ca_file)


class RestTransport:
    """One request for one answer, over connections that are kept open.

    Args:
        endpoint: A model at an `http://` or `https://` address.
    """

    def __init__(self, endpoint: Endpoint):
        self._httpx = extra.load("httpx", wanted_by="REST")
        self._endpoint = endpoint
        self._client = self._httpx.Client(
            base_url=f"{endpoint.scheme}://{endpoint.target}",
            headers=dict(endpoint.headers),
            verify=tls_context(endpoint) if endpoint.is_secure else True,
        )
        self._path = model_path(endpoint)

    def predict(
        self, arrays: Mapping[str, npt.NDArray], name: str, signature: Signature, deadline: Deadline
    ) -> dict[str, npt.NDArray]:
        """Outputs by name, in the dtypes of `signature`."""
        body = json_tensors.encode_request(arrays, signature=name)
        answer = self._answer("POST", f"{self._path}:predict", deadline, body)
        with self._reading():
            return json_tensors.decode_answer(answer, signature)

    def classify(
        self, examples: Sequence[Mapping[str, list]], signature: str, deadline: Deadline
    ) -> list[list[tuple[str, float]]]:
        """Label and score of every class, for each example."""
        results = self._results("classify", examples, signature, deadline)
        with self._reading():
            return [[(label, float(score)) for label, score in result] for result in results]

    def regress(
        self, examples: Sequence[Mapping[str, list]], signature: str, deadline: Deadline
    ) -> npt.NDArray[np.float32]:
        """One number for each example."""
        results = self._results("regress", examples, signature, deadline)
        with self._reading():
            return np.array(results, np.float32)

    def status(self, deadline: Deadline) -> list[ModelVersion]:
        """The versions that the server knows, newest first."""
        answer = self._answer("GET", self._path, deadline)
        with self._reading():
            return [
                ModelVersion(
                    version=int(entry["version"]),
                    state=entry["state"],
                    code=entry["status"]["error_code"],
                    message=entry["status"]["error_message"],
                )
                for entry in answer["model_version_status"]
            ]

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Version and signatures."""
        answer = self._answer("GET", f"{self._path}/metadata", deadline)
        with self._reading():
            return signatures_from_json(answer)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _results(self, method, examples, signature, deadline) -> list:
        body = {
            "signature_name": signature,
            "examples": [
                {name: [_json_value(v) for v in values] for name, values in example.items()}
                for example in examples
            ],
        }
        content = json.dumps(body).encode()
        answer = self._answer("POST", f"{self._path}:{method}", deadline, content)
        with self._reading():
            return answer["results"]

    def _answer(self, method: str, path: str, deadline: Deadline, body: bytes | None = None) -> Any:
        status, content = self._exchange(method, path, deadline, body)
        if status == 200:
            with self._reading():
                return json.loads(content)
        raise self._error(code_of_status(status), _reason(status, content), retryable=status == 503)

    def _exchange(self, method, path, deadline: Deadline, body) -> tuple[int, bytes]:
        httpx = self._httpx
        headers = {} if body is None else {"content-type": "application/json"}
        request = self._client.build_request(
            method, path, content=body, headers=headers, timeout=self._remaining(deadline)
        )
        try:
            response = self._client.send(request, stream=True)
            try:
                return response.status_code, b"".join(self._chunks(request, response, deadline))
            finally:
                response.close()
        except httpx.TimeoutException as error:
            raise self._late(deadline) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise self._error("UNAVAILABLE", reason, retryable=_is_refused(error)) from error

    def _chunks(self, request, response, deadline: Deadline) -> Iterator[bytes]:
        # httpx limits each wait, not their sum: what is left is told anew before the body.
        request.extensions["timeout"]["read"] = self._remaining(deadline)
        for chunk in response.iter_bytes():
            yield chunk
            self._remaining(deadline)

    def _remaining(self, deadline: Deadline) -> float:
        seconds = deadline.remaining()
        if seconds <= 0:
            raise self._late(deadline)
        return seconds

    def _late(self, deadline: Deadline) -> ServingError:
        return self._error("DEADLINE_EXCEEDED", f"no answer within {deadline.seconds:g} s")

    def _error(self, code: str, message: str, *, retryable: bool = False) -> ServingError:
        return ServingError(
            code,
            message,
            model=self._endpoint.model_name,
            address=self._endpoint.address,
            retryable=retryable,
        )

    def _reading(self) -> _Reading:
        return _Reading(self)


class _Reading:
    """Turns whatever goes wrong with an answer of another form into a `ServingError`."""

    def __init__(self, transport: RestTransport):
        self._transport = transport

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)):
            message = f"the answer is not in TF Serving's form: {error!r}"
            raise self._transport._error("UNKNOWN", message) from error


def _reason(status: int, content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):  # a proxy's page, or nothing
        text = content.decode("utf-8", "replace").strip()
        return f"HTTP status {status} {text[:_SHOWN]}"


def _is_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value
