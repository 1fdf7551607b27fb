"""Models from the wild times the operations of the library: `python -m benchmarks.wild --help`.

Each cell of the table is equal to an independent reference, or is refused with the name of what
stands in the way. `tests/wild` runs the same cells.
"""
