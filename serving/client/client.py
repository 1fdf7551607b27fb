"""One interface to a served model, whatever the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from serving.client import batches
from serving.client.deadlines import Deadline, with_retries
from serving.client.endpoint import Endpoint, parse_endpoint
from serving.client.errors import ServingError
from serving.client.examples import Example, as_features
from serving.client.signatures import ModelMetadata, Signature
from serving.client.status import ModelVersion
from serving.client.transports import Transports

_Result = TypeVar("_Result")

# After errors with these codes the client reads the signatures again, since the cause may be a new
# version with other signatures.
_STALE = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "UNKNOWN")


def connect(
    url: str,
    *,
    model: str,
    version: int | None = None,
    label: str | None = None,
    timeout: float = 30.0,
    retries: int = 4,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | Path | None = None,
) -> Client:
    """A client for one model behind TensorFlow Serving. Nothing is sent yet.

    Args:
        url: "http://HOST:PORT" or "https://..." for REST, "grpc://HOST:PORT" or "grpcs://..." for
            gRPC. The default ports are 8501 for http, 8500 for grpc, and 443 for https and grpcs.
        model: Name of the model on the server.
        version: A version's number. None: the newest version, or that of `label`.
        label: A version's label, such as "stable" or "canary".
        timeout: Seconds for a whole call, waits and batches included.
        retries: Most further tries if the server is UNAVAILABLE (503 over REST, or a gateway's 502)
            or refuses the connection, after random waits of at most 0.1, 0.2, 0.4, ... seconds. A
            server that has no thread for a request (gRPC: RESOURCE_EXHAUSTED "Server Threadpool
            Exhausted") is asked again until the time is up, unless `retries` is 0. No other error
            leads to another try, not even a connection that breaks: the request may have run.
        token: Sent as `Authorization: Bearer TOKEN`.
        headers: Sent with every request.
        ca_file: PEM file of the authorities that may sign the server's certificate. None: those
            of the system.

    Returns:
        The `Client`.

    Raises:
        ValueError: An argument is not as expected.
        FileNotFoundError: There is no file `ca_file`.
        ModuleNotFoundError: The extra "serving" is not installed.

    Example:
        >>> with connect("http://localhost:8501", model="mnist_gamma0_k100") as client:
        ...     client.predict(np.zeros((2, 784)))["scores"].shape
        (2, 10)
    """
    endpoint = parse_endpoint(
        url, model, version=version, label=label, token=token, headers=headers, ca_file=ca_file
    )
    return Client(endpoint, timeout=timeout, retries=retries)


class Client:
    """Calls one model. Made by `connect`; several threads may share it.

    After a fork each process has connections of its own.

    Args:
        endpoint: Model, address and headers.
        timeout: Seconds for a call, unless the call has a `timeout` of its own.
        retries: Most further tries of a request.

    Raises:
        ValueError: `timeout` is not positive or above 24 days, or `retries` is negative.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 30.0, retries: int = 4):
        Deadline(timeout)
        if retries < 0:
            raise ValueError(f"retries: expected a nonnegative integer, received {retries}")
        self.endpoint = endpoint
        self._timeout = timeout
        self._retries = retries
        self._known: ModelMetadata | None = None  # threads replace it as a whole
        self._transports = Transports(endpoint)

    def predict(
        self,
        inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        signature: str = "serving_default",
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, npt.NDArray]:
        """The model's answers to `inputs`.

        The signature names the inputs and outputs and gives their dtypes. The client reads it from
        the server once, and again after an error that a new version may have caused.

        Args:
            inputs: Array `(n, ...)`, or arrays by input name. They are compared with the signature
                before anything is sent, because on a server with batching a wrong shape harms the
                requests of others. For the same reason inputs without rows are never sent.
            signature: Name of the signature.
            batch_size: Rows in one request. None: all. Changes memory and speed, not the result.
            timeout: Seconds for the whole call. None: the client's `timeout`.

        Returns:
            Arrays by output name, in the dtypes of the signature; strings as arrays of bytes.

        Raises:
            ValueError: Inputs do not fit the signature's dtypes or shapes, or cannot be split.
            ServingError: The server refused, or did not answer in time.

        Example:
            >>> client.predict(images, batch_size=1000)["classes"].dtype
            dtype('int64')
        """
        deadline = self._deadline(timeout)
        spec, arrays = self._fitted(inputs, signature, deadline)
        if spec.has_no_rows(arrays):
            return spec.no_answers()
        parts = list(batches.split(arrays, batch_size))
        predict = self._transport.predict
        answers = [self._send(deadline, predict, part, signature, spec) for part in parts]
        if len(parts) == 1:
            return answers[0]
        return batches.join(answers, [len(next(iter(part.values()))) for part in parts])

    def classify(
        self,
        examples: npt.ArrayLike | Sequence[Example],
        *,
        signature: str = "classify",
        timeout: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Label and score of every class, by TF Serving's Classify.

        Args:
            examples: Features by name, a dict for each example; or numbers of shape `(n, d)`: rows
                of the feature "inputs".
            signature: Name of a signature whose method is "tensorflow/serving/classify".
            timeout: Seconds for the whole call. None: the client's `timeout`.

        Returns:
            For each example, (label, score) of each class in the model's order.

        Raises:
            ValueError: The examples have another form.
            ServingError: The server refused, or did not answer in time.
        """
        deadline, features = self._deadline(timeout), as_features(examples)
        if not features:
            return []
        return self._send(deadline, self._transport.classify, features, signature)

    def regress(
        self,
        examples: npt.ArrayLike | Sequence[Example],
        *,
        signature: str = "regress",
        timeout: float | None = None,
    ) -> npt.NDArray[np.float32]:
        """One number for each example, by TF Serving's Regress.

        Args:
            examples, timeout: As in `classify`.
            signature: Name of a signature whose method is "tensorflow/serving/regress".

        Returns:
            Array, float32 `(n,)`.

        Raises:
            ValueError: The examples have another form.
            ServingError: The server refused, or did not answer in time.
        """
        deadline, features = self._deadline(timeout), as_features(examples)
        if not features:
            return np.zeros(0, np.float32)
        return self._send(deadline, self._transport.regress, features, signature)

    def status(self, *, timeout: float | None = None) -> list[ModelVersion]:
        """State of the model's versions, newest first, or of the client's version or label alone.

        Raises:
            ServingError: There is no such model, version or label, or no answer came in time.
        """
        deadline = self._deadline(timeout)
        if self.endpoint.label is None:
            return self._send(deadline, self._transport.status)
        # The server's status call ignores labels, but its metadata call does not. The label may
        # move between the two calls.
        version = self._metadata(deadline).version
        versions = self._send(deadline, self._transport.status)
        return [state for state in versions if state.version == version]

    def metadata(self, *, timeout: float | None = None) -> dict[str, Any]:
        """The model's inputs and outputs as plain data. Each call reads them from the server.

        Returns:
            `{"model", "version", "signatures": {name: {"inputs", "outputs", "method"}}}`, where
            inputs and outputs are `{alias: {"dtype": "float32", "shape": [None, 784]}}`.

        Raises:
            ServingError: There is no such model, or no answer came in time.
        """
        known = self._metadata(self._deadline(timeout))
        signatures = {name: s.plain() for name, s in sorted(known.signatures.items())}
        return {"model": self.endpoint.model, "version": known.version, "signatures": signatures}

    def signature(
        self, name: str = "serving_default", *, timeout: float | None = None
    ) -> Signature:
        """Inputs and outputs of one signature, as last read from the server.

        Raises:
            ServingError: There is no such model or signature, or no answer came in time.
        """
        return self._signature(name, self._deadline(timeout))

    def close(self) -> None:
        """Closes the connections. The client cannot be used afterwards."""
        self._transports.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.endpoint.model_name!r} at {self.endpoint.address}>"

    @property
    def _transport(self) -> Any:
        return self._transports.own()

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _signature(self, name: str, deadline: Deadline) -> Signature:
        known = self._known
        if known is None or name not in known.signatures:
            known = self._metadata(deadline)
        if name not in known.signatures:
            problem = f"expected a signature of {', '.join(sorted(known.signatures))}"
            raise self.endpoint.error("FAILED_PRECONDITION", f"{problem}, received {name!r}")
        return known.signatures[name]

    def _fitted(
        self, inputs: Any, name: str, deadline: Deadline
    ) -> tuple[Signature, dict[str, npt.NDArray]]:
        """The signature `name`, and the inputs as arrays of its dtypes and shapes."""
        known, spec = self._known, self._signature(name, deadline)
        try:
            return spec, spec.arrays(inputs)
        except ValueError:
            if self._known is not known:  # it has just been read
                raise
        self._known = None  # a new version may take what the last one did not
        spec = self._signature(name, deadline)
        return spec, spec.arrays(inputs)

    def _metadata(self, deadline: Deadline) -> ModelMetadata:
        self._known = known = self._send(deadline, self._transport.metadata)
        return known

    def _send(self, deadline: Deadline, call: Callable[..., _Result], *arguments: Any) -> _Result:
        try:
            return with_retries(
                lambda: call(*arguments, deadline), deadline=deadline, retries=self._retries
            )
        except ServingError as error:
            if error.code in _STALE:
                self._known = None
            raise
