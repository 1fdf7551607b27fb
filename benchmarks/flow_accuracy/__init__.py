"""The flow beside plain descent: `python -m benchmarks.flow_accuracy`."""
