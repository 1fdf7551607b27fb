"""Memory and time at long widths: `python -m benchmarks.width`."""
