"""Overhead of sweeps: `python -m benchmarks.sweep`."""
