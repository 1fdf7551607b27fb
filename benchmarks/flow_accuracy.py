"""Gradients that the flow needs on MNIST, and what its tolerance leaves of the final risk.

    python -m benchmarks.flow_accuracy

Protocol `authors`, t = 200,000, 50 records, seed 0; the tolerance 1e-2 beside 1e-4.
"""

from __future__ import annotations

import argparse
import time

PAIRS = ((1.0, 0.4), (0.0, 0.4))
END_TIME = 200_000.0


def run(dataset, gamma: float, alpha: float, tolerance: float) -> tuple[dict, float]:
    """Last record of a run, and its seconds."""
    import asym_keras as ak

    model = ak.shallow_network(
        dataset.input_dim, dataset.outputs, gamma=gamma, alpha=alpha, protocol="authors", seed=0
    )
    began = time.perf_counter()
    history = ak.training.train(
        model,
        dataset.x_train,
        dataset.y_train,
        method=ak.training.GradientFlow(tolerance, tolerance),
        end_time=END_TIME,
    )
    return history[-1], time.perf_counter() - began


def main(argv=None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tolerances", type=float, nargs="+", default=[1e-2, 1e-4], help="rtol = atol, last: exact"
    )
    arguments = parser.parse_args(argv)
    from asym_keras.datasets import load_mnist

    dataset = load_mnist()
    names = ("gamma", "alpha", "tolerance", "gradients", "steps", "rejected", "train risk", "s")
    print("  ".join(f"{name:>10}" for name in names) + "  relative difference")
    for gamma, alpha in PAIRS:
        rows = [(t, *run(dataset, gamma, alpha, t)) for t in arguments.tolerances]
        exact = rows[-1][1]["train_risk"]
        for tolerance, row, seconds in rows:
            counts = (row["gradients"], row["solver_steps"], row["rejected_steps"])
            cells = (gamma, alpha, tolerance, *counts, f"{row['train_risk']:.6f}", f"{seconds:.1f}")
            print(
                "  ".join(f"{cell:>10}" for cell in cells)
                + f"  {abs(row['train_risk'] / exact - 1):.3%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
