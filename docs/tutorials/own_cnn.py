# %% [markdown]
# # The layer in your own Keras model
#
# `AsymScaledDense` is an ordinary Keras layer. This page puts it into a small convolutional network in the
# place of the wide hidden layer, trains the network with `compile` and `fit`, and cuts the layer to a few nodes.
#
# ## The model

# %%
import keras

import asym_keras as ak
from asym_keras.datasets import load_mnist

data = load_mnist()
images, labels = data.x_train[:1500].reshape(-1, 28, 28, 1), data.labels_train[:1500]
images_test, labels_test = data.x_test.reshape(-1, 28, 28, 1)[:1000], data.labels_test[:1000]

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        ak.AsymScaledDense(500, gamma=0, alpha=0.6, seed=0),  # in the place of Dense(500)
        keras.layers.Dense(10),
    ]
)
model.summary()

# %% [markdown]
# ## Train it as ever

# %%
model.compile(
    keras.optimizers.Adam(3e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(images, labels, epochs=4, batch_size=64, verbose=0)
whole = model.evaluate(images_test, labels_test, verbose=0)[1]
print(f"500 nodes: test accuracy {whole:.3f}")

# %% [markdown]
# ## Cut it
#
# `prune` finds the layer, keeps its most important nodes, and removes the rows of the next layer that read the
# other nodes. It gives a new model and leaves yours as it is.

# %%
loss, optimizer = model.loss, "adam"
for keep in (200, 100, 50, 20):
    small = ak.prune(model, keep=keep)
    small.compile(optimizer, loss, metrics=["accuracy"])
    accuracy = small.evaluate(images_test, labels_test, verbose=0)[1]
    print(f"{keep:>3} nodes: test accuracy {accuracy:.3f}, {small.count_params():,} numbers")

# %% [markdown]
# Fitting the last layer anew helps the smallest networks. `regression="cross_entropy"` says that the outputs
# are logits.

# %%
small = ak.prune(model, keep=50, refit=(images, labels), regression="cross_entropy")
small.compile(optimizer, loss, metrics=["accuracy"])
print(
    f"50 nodes, refitted: test accuracy {small.evaluate(images_test, labels_test, verbose=0)[1]:.3f}"
)

# %% [markdown]
# ## Save it
#
# The small model is an ordinary Keras model. Import `asym_keras` before you load it, so that Keras knows the
# layer.

# %%
small.save("small.keras")
again = keras.models.load_model("small.keras")
print(abs(again.predict(images_test, verbose=0) - small.predict(images_test, verbose=0)).max())

# %% [markdown]
# ## Next
#
# - [What works with which model](../any_model.md): 117 kinds of models, and which operation works with each.
# - [The NTG of your own model](own_ntg.py) follows its neural tangent Gram matrix while it trains.
