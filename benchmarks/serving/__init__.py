"""Pruned models behind a model server: `python -m benchmarks.serving`."""
