"""The connections of a client: each process has its own."""

from __future__ import annotations

import os
from typing import Any

from serving.client.endpoint import Endpoint


class Transports:
    """Makes connections to an endpoint for each process that uses them, at its first call.

    If a parent and its forked children shared connections, they would read each other's answers. A
    child does not close its parent's connections, since that would end them for the parent, too.

    Args:
        endpoint: where to connect. The connections of this process are made at once, so that
            errors in the settings show early.
    """

    def __init__(self, endpoint: Endpoint):
        self._endpoint = endpoint
        self._by_process: dict[int, Any] = {os.getpid(): _transport(endpoint)}

    def own(self) -> Any:
        """The `RestTransport` or `GrpcTransport` of this process; its threads share it."""
        process = os.getpid()
        if process not in self._by_process:
            made = _transport(self._endpoint)
            if self._by_process.setdefault(process, made) is not made:  # another thread was first
                made.close()
        return self._by_process[process]

    def close(self) -> None:
        """Closes the connections of this process."""
        if own := self._by_process.get(os.getpid()):
            own.close()


def _transport(endpoint: Endpoint) -> Any:
    if endpoint.is_rest:
        from serving.client.rest import RestTransport

        return RestTransport(endpoint)
    from serving.client.rpc import GrpcTransport

    return GrpcTransport(endpoint)
