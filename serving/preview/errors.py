"""Errors with a canonical status code, as TensorFlow, gRPC and TF Serving's REST API name them."""

from __future__ import annotations

import grpc

_NAME = {code.value[0]: code.name for code in grpc.StatusCode}

# TF Serving's own map; every code that is not here is a 500.
_HTTP = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ServingError(Exception):
    """What a request or a load failed of.

    Args:
        code: name of a canonical status code, such as "INVALID_ARGUMENT".
        message: the text that the client gets.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        return _HTTP.get(self.code, 500)

    @property
    def grpc_code(self) -> grpc.StatusCode:
        return grpc.StatusCode[self.code]


def invalid(message: str) -> ServingError:
    """The most frequent fault: a request that can't be right whatever the state of the server."""
    return ServingError("INVALID_ARGUMENT", message)


def from_tensorflow(error) -> ServingError:
    """The same fault as a `tf.errors.OpError`."""
    return ServingError(_NAME.get(error.error_code, "UNKNOWN"), error.message)
