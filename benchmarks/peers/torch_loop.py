"""Full-batch gradient descent in PyTorch: autograd, one step a call, as one would write it."""

from __future__ import annotations

import math

import _shared
import numpy as np
import torch


def main() -> None:
    arguments = _shared.parse(__doc__)
    torch.set_num_threads(arguments.threads)
    arrays = _shared.load(arguments.input)
    learning_rate = float(arrays.pop("learning_rate"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    x, y, a, sqrt_scalings = (tensors[k] for k in ("x", "y", "readout", "sqrt_scalings"))
    w = tensors["kernel"].clone().requires_grad_()
    root = math.sqrt(x.shape[1])

    def step() -> None:
        z = x @ w / root
        f = (torch.relu(z) * sqrt_scalings) @ a
        risk = ((f - y) ** 2).mean()
        risk.backward()
        with torch.no_grad():
            w.sub_(w.grad, alpha=learning_rate)
        w.grad = None

    def train(steps: int) -> np.ndarray:
        for _ in range(steps):
            step()
        return w.detach().cpu().numpy()

    @torch.no_grad()
    def products(steps: int) -> object:
        unit, v = tensors["x_unit"], tensors["kernel"]
        for _ in range(steps):
            v = unit.T @ (unit @ v)
        return v.cpu()

    _shared.measure(
        arguments, version=torch.__version__, device=device, train=train, products=products
    )


if __name__ == "__main__":
    main()
