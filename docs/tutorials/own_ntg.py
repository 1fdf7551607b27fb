# %% [markdown]
# # The NTG of your own model through training
#
# The *neural tangent Gram matrix* (NTG) says how strongly a step on one example moves the output of another.
# Its entry (i, k) is the inner product of the gradients of f(x_i) and f(x_k). If the NTG stays as it was at the
# start, training is *lazy*: the features stay, too. If the NTG changes, the model learns features.
#
# This page measures it for an ordinary Keras model, while `fit` trains it.
#
# ## A model and data

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import asym_keras as ak

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 5)).astype("float32")
y = np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
x_test = rng.normal(size=(100, 5)).astype("float32")


def make(units: int) -> keras.Model:
    """Two hidden layers of so many nodes."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,))]
    layers += [keras.layers.Dense(units, activation="tanh") for _ in range(2)]
    return keras.Sequential([*layers, keras.layers.Dense(1)])


# %% [markdown]
# ## The NTG now
#
# Any built Keras model will do.

# %%
model = make(64)
ntg = ak.empirical_ntg(model, x, dtype="float64")  # small eigenvalues need it
eigenvalues = np.linalg.eigvalsh(ntg)
print(ntg.shape, f"eigenvalues from {eigenvalues[0]:.2g} to {eigenvalues[-1]:.2g}")

# %% [markdown]
# ## Through training
#
# The callback `NTGHistory` records three numbers: how far the NTG has moved from its start, its smallest
# eigenvalue, and how far the farthest node has moved. Compare a narrow model with a wide one.

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
for units in (64, 512):
    model = make(units)
    start = ak.ntg.spectral_norm(ak.empirical_ntg(model, x[:100]))
    record = ak.callbacks.NTGHistory(x[:100], every=10)
    model.compile(keras.optimizers.SGD(0.02), "mse")
    history = model.fit(x, y, epochs=30, batch_size=20, callbacks=[record], verbose=0).history
    epochs = np.array(record.epochs)
    change = np.array(history["ntg_change"])[epochs] / start
    axes[0].plot(history["loss"], label=f"{units} nodes a layer")
    axes[1].plot(epochs, change, ".-", label=f"{units} nodes a layer")
    print(f"{units} nodes a layer: the NTG has moved by {change[-1]:.0%} of its first norm")
axes[0].set(xlabel="epoch", ylabel="training loss", yscale="log")
axes[1].set(xlabel="epoch", ylabel="change of the NTG, relative")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What lazy training would have done
#
# `ntg_predict` follows the training of the model made linear in its weights, around where it starts. At infinite
# time this is kernel regression with the NTG. Here is its answer for new examples at three times.

# %%
lazy = ak.ntg.ntg_predict(make(64), x, y, x_test, t=[0, 100, 10_000])
y_test = np.sin(2 * x_test[:, :1]) + x_test[:, 1:2] * x_test[:, 2:3]
for t, answer in zip((0, 100, 10_000), np.asarray(lazy), strict=True):
    print(f"t = {t:>6}: test risk {np.mean((answer - y_test) ** 2):.3f}")

# %% [markdown]
# ## Next
#
# - [The NTG](../ntg.md): methods, precision, memory, the infinite-width limit.
# - [What works with which model](../any_model.md).
