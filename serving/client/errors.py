"""The error that clients raise, whatever the protocol."""

from __future__ import annotations

_ADVICE = {
    "ABORTED": "try again",
    "DEADLINE_EXCEEDED": "give a longer timeout, or fewer rows with batch_size",
    "FAILED_PRECONDITION": "see metadata() for the signatures that the model has",
    "INTERNAL": "see the server's log",
    "INVALID_ARGUMENT": "see metadata() for the inputs that the signature takes",
    "NOT_FOUND": "see status() for the versions there are, and the server's list of models",
    "PERMISSION_DENIED": "ask for access, or give another token",
    "RESOURCE_EXHAUSTED": "send fewer rows at once with batch_size, or less often",
    "UNAUTHENTICATED": "give a token or the headers that the proxy asks for",
    "UNAVAILABLE": "see that the server runs at this address and has loaded the model",
    "UNIMPLEMENTED": "this server does not answer this call; try another signature or protocol",
    "UNKNOWN": "see that a model server, and nothing else, listens at this address",
}
_BUSY = "give a longer timeout, ask with fewer clients, or start it with more --grpc-max-threads"


class ServingError(RuntimeError):
    """A request that a server refused, or that did not reach one in time.

    Attributes:
        code: Name of a gRPC status: "NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED", ... Over REST
            it stands for the HTTP status.
        message: What the server or the network said.
        model: Name of the model that was asked, with version or label if one was given.
        advice: What the user can do.
        retryable: Whether the client may send the request again: the server or a gateway said
            UNAVAILABLE, the connection was refused, or the server is `busy`.
        busy: Whether the server had no thread for the request, and so ran no part of it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        model: str,
        address: str = "",
        retryable: bool = False,
        busy: bool = False,
    ):
        self.code = code
        self.message = message.strip() or "no reason given"
        self.model = model
        self.advice = _BUSY if busy else _ADVICE.get(code, _ADVICE["UNKNOWN"])
        self.retryable = retryable or busy
        self.busy = busy
        where = f" at {address}" if address else ""
        reason = self.message.rstrip(".")
        super().__init__(f"model {model!r}{where}: {code}: {reason}; {self.advice}")
