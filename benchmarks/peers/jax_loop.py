"""Full-batch gradient descent in JAX: all steps in one `lax.fori_loop` under `jax.jit`."""

from __future__ import annotations

import math

import _shared
import jax
import jax.numpy as jnp
import numpy as np


def main() -> None:
    arguments = _shared.parse(__doc__)
    arrays = {k: jnp.asarray(v) for k, v in _shared.load(arguments.input).items()}
    x, y, a, sqrt_scalings = (arrays[k] for k in ("x", "y", "readout", "sqrt_scalings"))
    learning_rate, unit = arrays["learning_rate"], arrays["x_unit"]
    root = math.sqrt(x.shape[1])

    def risk(w: jax.Array) -> jax.Array:
        z = x @ w / root
        f = (jax.nn.relu(z) * sqrt_scalings) @ a
        return jnp.mean((f - y) ** 2)

    @jax.jit
    def descend(w: jax.Array, steps: int) -> jax.Array:
        return jax.lax.fori_loop(0, steps, lambda _, w: w - learning_rate * jax.grad(risk)(w), w)

    @jax.jit
    def multiply(v: jax.Array, steps: int) -> jax.Array:
        return jax.lax.fori_loop(0, steps, lambda _, v: unit.T @ (unit @ v), v)

    w = arrays["kernel"]

    def train(steps: int) -> np.ndarray:
        nonlocal w
        w = descend(w, steps)
        return np.asarray(w)

    def products(steps: int) -> object:
        return multiply(arrays["kernel"], steps).block_until_ready()

    device = jax.devices()[0].platform
    _shared.measure(
        arguments, version=jax.__version__, device=device, train=train, products=products
    )


if __name__ == "__main__":
    main()
