"""NTG of output 0 by the library neural-tangents, on the same network written in JAX."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the library imports TensorFlow

import jax
import jax.numpy as jnp
import neural_tangents as nt
import numpy as np

from benchmarks.peers import _ntg

Weights = dict[str, jax.Array]


def shallow(w: Weights, fixed: Weights, x: jax.Array) -> jax.Array:
    z = x @ w["asym_scaled_dense.kernel"] / x.shape[1] ** 0.5
    hidden = jax.nn.relu(z) * fixed["asym_scaled_dense.sqrt_scalings"]
    return hidden @ fixed["asym_scaled_dense.readout"][:, :1]


def mlp(w: Weights, fixed: Weights, x: jax.Array) -> jax.Array:
    for i in (1, 2, 3):
        x = jax.nn.relu(x @ w[f"hidden_{i}.kernel"] + w[f"hidden_{i}.bias"])
    return (x @ w["output.kernel"] + w["output.bias"])[:, :1]


def cnn(w: Weights, fixed: Weights, x: jax.Array) -> jax.Array:
    for i in (1, 2):
        layout = ("NHWC", "HWIO", "NHWC")
        z = jax.lax.conv_general_dilated(
            x, w[f"conv_{i}.kernel"], (1, 1), "SAME", dimension_numbers=layout
        )
        x = jax.nn.relu(z + w[f"conv_{i}.bias"])
        if i == 2:
            variance = fixed["norm.moving_variance"] + _ntg.NORM_EPSILON
            normalised = (x - fixed["norm.moving_mean"]) * jax.lax.rsqrt(variance)
            x = normalised * w["norm.gamma"] + w["norm.beta"]
        window = (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    return (x.reshape(len(x), -1) @ w["output.kernel"] + w["output.bias"])[:, :1]


NETWORKS = {"shallow": shallow, "mlp": mlp, "cnn": cnn}


def main() -> None:
    arguments = _ntg.parse(__doc__)
    x, weights = _ntg.load(arguments.input)
    arrays = {name: jnp.asarray(value) for name, value in weights.items()}
    trained = {name: value for name, value in arrays.items() if _ntg.is_trained(name)}
    fixed = {name: value for name, value in arrays.items() if not _ntg.is_trained(name)}
    network = NETWORKS[arguments.network]
    kernel = nt.empirical_ntk_fn(
        lambda w, x: network(w, fixed, x),
        trace_axes=(),
        vmap_axes=0,
        implementation=nt.NtkImplementation[arguments.method.upper()],
    )
    compiled = jax.jit(lambda x, w: kernel(x, None, w))

    def ntg(x: np.ndarray) -> np.ndarray:
        return np.asarray(compiled(x, trained)).reshape(len(x), len(x))

    _ntg.measure(
        arguments,
        ntg,
        x,
        version=nt.__version__,
        device=jax.devices()[0].platform,
        compiled=True,
    )


if __name__ == "__main__":
    main()
