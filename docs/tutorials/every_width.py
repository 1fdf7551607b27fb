# %% [markdown]
# # One training for every width
#
# How wide should a hidden layer be? Usually you train once for each width that you consider. A nested model
# is trained for all of them at once: its first 10 nodes are a network, its first 20 are another, and so on.
# This page trains one, and cuts networks of several widths out of it.
#
# ## One network
#
# We begin with an ordinary Keras model.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import asym_keras as ak
from asym_keras.datasets import load_mnist

data = load_mnist()
x, y = data.x_train[:3000], data.labels_train[:3000]
x_val, y_val = data.x_train[3000:4000], data.labels_train[3000:4000]
x_test, y_test = data.x_test[:2000], data.labels_test[:2000]


def network(units: int) -> keras.Model:
    """A hidden layer of so many nodes, compiled."""
    keras.utils.set_random_seed(0)
    stack = [keras.layers.Dense(units, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((784,)), *stack])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


# %% [markdown]
# `ak.nested` makes the model answer for each width. It stays compiled, and `fit` tells the accuracy of each width.

# %%
widths = (10, 20, 50, 100, 200, 500)
many = ak.nested(network(500), widths)
history = many.fit(x, y, epochs=6, batch_size=100, verbose=0).history
for width in widths:
    print(f"first {width:3} nodes: training accuracy {history[f'accuracy_{width}'][-1]:.3f}")

# %% [markdown]
# ## All its widths
#
# `ak.prune` takes the first nodes and their readout. The result is an ordinary Keras model. It needs no data,
# and it answers as the nested model does at that width.

# %%
small = ak.prune(many, keep=50)
small.summary()
place = widths.index(50)
print("largest difference:", np.abs(small(x_test) - many(x_test)[:, place]).max())

# %% [markdown]
# For comparison we train a network of each width, by itself and at the same rate.


# %%
def accuracy(model: keras.Model) -> float:
    """The share of test images that a model gets right."""
    return float((model.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean())


nested, alone = [], []
for width in widths:
    nested.append(accuracy(ak.prune(many, keep=width)))
    single = network(width)
    single.fit(x, y, epochs=6, batch_size=100, verbose=0)
    alone.append(accuracy(single))
    print(f"{width:3} nodes: {nested[-1]:.3f} of one training, {alone[-1]:.3f} trained by itself")

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.semilogx(widths, nested, ".-", label="one training")
axes.semilogx(widths, alone, "k^", label="a training for each width")
axes.set(xlabel="nodes", ylabel="test accuracy")
axes.legend()
plt.show()

# %% [markdown]
# ## As many nodes as an image needs
#
# Most images are easy. `ak.anytime` answers with the first width that is sure enough, and asks wider networks
# only for the other images. You say which accuracy you want on images that were held out.

# %%
wanted = float((many.predict(x_val, verbose=0)[:, -1].argmax(axis=1) == y_val).mean()) - 0.01
quick = ak.anytime(many, held_out=(x_val, y_val), accuracy=wanted)
outputs, used = quick.predict(x_test)
print(f"test accuracy {np.mean(outputs.argmax(axis=1) == y_test):.3f}")
print(f"{used.mean():.0f} nodes for an image in the mean, of {widths[-1]}")

# %% [markdown]
# ## Next
#
# - [Nested widths](../nested.md): what it is, why it works, numbers at full size, and where it does not pay.
# - `python -m trainers.nested --task mnist --baselines` compares with networks whose learning rates are tuned.
# - [Serve a network](../serving.md): one export answers for all widths.
