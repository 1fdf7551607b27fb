"""Load on a server: latency and throughput of models, side by side."""

from serving.client.load.measure import measure as measure
from serving.client.load.plan import Plan as Plan
from serving.client.load.results import Result as Result
