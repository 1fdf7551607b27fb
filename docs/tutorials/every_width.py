# %% [markdown]
# # One training for every width
#
# How wide should a hidden layer be? Usually you train once for each width that you consider. With unequal
# scalings the nodes are ordered by importance from the start, so one wide network holds many narrow ones.
# This page trains one network, and reads off what each width would give.
#
# ## One network

# %%
import keras
import matplotlib.pyplot as plt

import asym_keras as ak
from asym_keras.datasets import load_mnist

data = load_mnist()
x, y, labels = data.x_train[:1500], data.y_train[:1500], data.labels_train[:1500]
x_test, y_test, labels_test = data.x_test[:1000], data.y_test[:1000], data.labels_test[:1000]


def trained(units: int, gamma: float) -> keras.Model:
    """A hidden layer of so many nodes, trained for five epochs."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            ak.AsymScaledDense(units, gamma=gamma, alpha=0.4, seed=0),
            keras.layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(x, y, epochs=5, batch_size=100, verbose=0)
    return model


# %% [markdown]
# ## All its widths
#
# `pruning_curve` measures all widths in one pass over the data. `refit` adds columns for networks whose last
# layer is fitted anew.

# %%
counts = (500, 200, 100, 50, 20, 10)
curves = {}
for gamma in (1, 0):
    rows = ak.pruning.pruning_curve(
        trained(500, gamma),
        x,
        y,
        x_test,
        y_test,
        labels_train=labels,
        labels_test=labels_test,
        pruned=[500 - count for count in counts],
        refit=True,
    )
    curves[gamma] = {row["kept"]: row for row in rows}

print("nodes   gamma = 1, refitted   gamma = 0, refitted")
for count in counts:
    cells = [
        f"{curves[gamma][count][name]:9.3f}"
        for gamma in (1, 0)
        for name in ("test_accuracy", "test_accuracy_refit")
    ]
    print(f"{count:5}", *cells)

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
for gamma, curve in curves.items():
    accuracies = [curve[count]["test_accuracy"] for count in counts]
    axes.semilogx(counts, accuracies, ".-", label=f"one training, gamma = {gamma}")
narrow = (50, 20, 10)
accuracies = []
for count in narrow:
    predicted = trained(count, 1).predict(x_test, verbose=0).argmax(axis=1)
    accuracies.append((predicted == labels_test).mean())
axes.semilogx(narrow, accuracies, "k^", label="trained at that width")
axes.set(xlabel="nodes", ylabel="test accuracy")
axes.legend()
plt.show()

# %% [markdown]
# Read the picture with care. The triangles are networks that were trained at the narrow width: where you
# know the width beforehand, train at it. The network with `gamma = 0` serves every width from one training.
#
# ## Next
#
# - [Beyond the paper](../beyond.md#one-training-for-every-width) has the same at full size.
# - [Search gamma and alpha](sweep.py) finds the pair for one width.
