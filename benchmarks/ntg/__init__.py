"""Time and memory of the NTG beside peers: `python -m benchmarks.ntg`."""
