"""Load on a model server: latency and throughput of models, side by side.

`python -m serving.client bench` runs it. It is the one benchmark in the wheel, since whoever serves
models wants to measure their own server.
"""
