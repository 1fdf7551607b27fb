"""Training speed beside PyTorch and JAX: `python -m benchmarks.training`."""
