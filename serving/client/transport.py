"""Chooses the protocol, and loads what one protocol alone needs."""

from __future__ import annotations

from typing import Any

from serving.client.endpoint import Endpoint


def transport_to(endpoint: Endpoint) -> Any:
    """A `RestTransport` or a `GrpcTransport`, by the address."""
    if endpoint.is_rest:
        from serving.client.rest import RestTransport

        return RestTransport(endpoint)
    from serving.client.rpc import GrpcTransport

    return GrpcTransport(endpoint)
