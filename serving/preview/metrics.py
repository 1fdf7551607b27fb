"""Counts requests and their times for Prometheus, under the names that TensorFlow Serving uses."""

from __future__ import annotations

import re

from serving import extra

PATH = "/monitoring/prometheus/metrics"
# Upper bounds in microseconds, as the server has them.
_BOUNDS = [10 * 1.8**power for power in range(33)]


class Metrics:
    """Two metrics about Predict, Classify and Regress, over both protocols.

    - `:tensorflow:serving:request_count{model_name, status}`: requests, by their status codes;
    - `:tensorflow:serving:request_latency{model_name, API, entrypoint}`: a histogram of the
      microseconds that answered requests took.

    As in the server, requests that gRPC refuses unread are not counted.

    Raises:
        ModuleNotFoundError: The package prometheus_client is not installed.
    """

    def __init__(self) -> None:
        self._library = extra.load("prometheus_client", wanted_by="metrics")
        self._registry = self._library.CollectorRegistry()
        self._count = self._library.Counter(
            ":tensorflow:serving:request_count",
            "Requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = self._library.Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds that a request took.",
            ["model_name", "API", "entrypoint"],
            buckets=_BOUNDS,
            registry=self._registry,
        )

    def count(self, model: str, code: str, *, api: str, entrypoint: str, seconds: float) -> None:
        """Counts one request.

        Args:
            model: name that was asked for.
            code: name of a status code.
            api: the call, as the protocol writes it: "predict" over REST, "Predict" over gRPC, ...
            entrypoint: "REST" or "GRPC".
            seconds: how long the request took.
        """
        self._count.labels(model, code).inc()
        if code == "OK":
            self._latency.labels(model, api, entrypoint).observe(1e6 * seconds)

    def page(self) -> str:
        """All numbers in Prometheus's text format."""
        text = self._library.generate_latest(self._registry).decode()
        # The library adds the suffix `_total` to counters, and times of creation. The server does
        # neither.
        kept = [line for line in text.splitlines() if "_created" not in line.partition("{")[0]]
        return re.sub(r"(request_count)_total\b", r"\1", "\n".join(kept)) + "\n"
