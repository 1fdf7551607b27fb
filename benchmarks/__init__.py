"""Benchmarks: `python -m benchmarks.<name> --help`. Each prints tables, ours beside peers."""
