"""NTG of output 0 in PyTorch: a loop of backward passes, or `torch.func`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.func import grad, jvp, vmap
from torch.nn import functional

from benchmarks.peers import _ntg

Weights = dict[str, torch.Tensor]


def shallow(w: Weights, fixed: Weights, x: torch.Tensor) -> torch.Tensor:
    z = x @ w["asym_scaled_dense.kernel"] / math.sqrt(x.shape[1])
    hidden = torch.relu(z) * fixed["asym_scaled_dense.sqrt_scalings"]
    return hidden @ fixed["asym_scaled_dense.readout"][:, 0]


def mlp(w: Weights, fixed: Weights, x: torch.Tensor) -> torch.Tensor:
    for i in (1, 2, 3):
        x = torch.relu(x @ w[f"hidden_{i}.kernel"] + w[f"hidden_{i}.bias"])
    return (x @ w["output.kernel"] + w["output.bias"])[:, 0]


def cnn(w: Weights, fixed: Weights, x: torch.Tensor) -> torch.Tensor:
    for i in (1, 2):
        z = functional.conv2d(x, w[f"conv_{i}.kernel"], w[f"conv_{i}.bias"], padding="same")
        x = torch.relu(z)
        if i == 2:
            statistics = fixed["norm.moving_mean"], fixed["norm.moving_variance"]
            x = functional.batch_norm(
                x, *statistics, w["norm.gamma"], w["norm.beta"], eps=_ntg.NORM_EPSILON
            )
        x = functional.max_pool2d(x, 2)
    return (x.flatten(1) @ w["output.kernel"] + w["output.bias"])[:, 0]


NETWORKS = {"shallow": shallow, "mlp": mlp, "cnn": cnn}


def channels_first(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The CNN's kernels in PyTorch's order; this changes no inner product of gradients."""
    weights = dict(weights)
    for name in ("conv_1.kernel", "conv_2.kernel"):
        weights[name] = weights[name].transpose(3, 2, 0, 1)
    channels, outputs = len(weights["norm.gamma"]), weights["output.kernel"].shape[1]
    kernel = weights["output.kernel"].reshape(-1, channels, outputs)
    weights["output.kernel"] = kernel.transpose(1, 0, 2).reshape(-1, outputs)
    return weights


def backward(f, w: Weights, x: torch.Tensor) -> torch.Tensor:
    """One backward pass per example, its gradients in a row."""
    rows = torch.empty(len(x), sum(v.numel() for v in w.values()))
    for v in w.values():
        v.requires_grad_()
    for i in range(len(x)):
        f(w, x[i : i + 1]).sum().backward()
        torch.cat([v.grad.flatten() for v in w.values()], out=rows[i])
        for v in w.values():
            v.grad = None
    return rows @ rows.T


def jacobian(f, w: Weights, x: torch.Tensor) -> torch.Tensor:
    """Gradients of all examples at once; those of each weight multiplied by themselves."""
    rows = vmap(grad(lambda w, x: f(w, x[None])[0]), (None, 0))(w, x)
    flat = [r.flatten(1) for r in rows.values()]
    return sum(r @ r.T for r in flat)


def vector_products(f, w: Weights, x: torch.Tensor) -> torch.Tensor:
    """Row by row: the derivative of all outputs along the gradient of one."""
    gradient = grad(lambda w, x: f(w, x[None])[0])

    def row(one: torch.Tensor) -> torch.Tensor:
        return jvp(lambda w: f(w, x), (w,), (gradient(w, one),))[1]

    return torch.stack([row(one) for one in x])


METHODS = {"backward": backward, "jacobian": jacobian, "vector_products": vector_products}


def main() -> None:
    arguments = _ntg.parse(__doc__)
    torch.set_num_threads(arguments.threads)
    x, weights = _ntg.load(arguments.input)
    if arguments.network == "cnn":
        x, weights = x.transpose(0, 3, 1, 2), channels_first(weights)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in weights.items()}
    trained = {k: v for k, v in tensors.items() if _ntg.is_trained(k)}
    network, method = NETWORKS[arguments.network], METHODS[arguments.method]

    def ntg(x: np.ndarray) -> np.ndarray:
        examples = torch.from_numpy(x).to(device)
        theta = method(lambda w, x: network(w, tensors, x), trained, examples)
        return theta.detach().cpu().numpy()

    _ntg.measure(
        arguments,
        ntg,
        np.ascontiguousarray(x),
        version=torch.__version__,
        device=device,
        compiled=False,
    )


if __name__ == "__main__":
    main()
