"""Scripts that train the networks of the paper: `python -m trainers.<task> --help`."""
