"""Load on a model server: latency and throughput of models, side by side.

`python -m serving.client bench` runs it. It is the one benchmark in the wheel, since whoever serves
models wants to measure their own server.
"""

from benchmarks.load.measure import measure as measure
from benchmarks.load.plan import Plan as Plan
from benchmarks.load.results import Result as Result
