"""Errors with a canonical status code, as TensorFlow, gRPC and TF Serving's REST API name them."""

from __future__ import annotations

import grpc
import tensorflow as tf

from serving.codes import HTTP_STATUS, code_of_number


class ServingError(Exception):
    """Why a request or the loading of a model failed.

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
        return HTTP_STATUS.get(self.code, 500)

    @property
    def grpc_code(self) -> grpc.StatusCode:
        return grpc.StatusCode[self.code]


def invalid(message: str) -> ServingError:
    """An INVALID_ARGUMENT error: the request is wrong, whatever the state of the server."""
    return ServingError("INVALID_ARGUMENT", message)


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """A TensorFlow error as `ServingError`, with the same code and message."""
    return ServingError(code_of_number(error.error_code), error.message)
