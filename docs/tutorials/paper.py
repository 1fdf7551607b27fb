# %% [markdown]
# # The paper in ten minutes
#
# A hidden layer of a neural network usually treats all its nodes alike. Caron et al. give each node j a
# fixed weight of its own, its *scaling* `lambda_j`. Some nodes get a large one, most a tiny one. Such a
# network still finds a global minimum, and the few nodes with large scalings do nearly all of the work.
#
# This page trains two networks and cuts both to a few nodes. You need no data of your own.
#
# ## Two laws for the scalings
#
# `gamma` is the share that is given to all nodes equally. The rest falls off by a power law: the smaller `alpha`
# is, the steeper the tail. All scalings add up to 1.

# %%
import matplotlib.pyplot as plt

import asym_keras as ak

WIDTH = 400
for gamma in (1, 0):
    scalings = ak.node_scalings(WIDTH, gamma, 0.4)
    print(f"gamma = {gamma}: the 20 largest of {WIDTH} have {scalings[:20].sum():.1%} of the total")

# %% [markdown]
# ## Train both
#
# MNIST comes with the package. We take 500 images, so that this page runs in seconds. The method is
# *gradient flow*: what gradient descent does when its steps become very small. `train` solves it with steps
# as long as accuracy allows.

# %%
from asym_keras.datasets import load_mnist
from asym_keras.training import GradientFlow, RiskProbe, train

data = load_mnist()
x, y, labels = data.x_train[:500], data.y_train[:500], data.labels_train[:500]
x_test, y_test, labels_test = data.x_test[:500], data.y_test[:500], data.labels_test[:500]

models = {}
for gamma in (1, 0):
    model = ak.shallow_network(784, 10, width=WIDTH, gamma=gamma, alpha=0.4, seed=0)
    probe = RiskProbe("test", x_test, y_test, labels=labels_test)
    history = train(
        model, x, y, method=GradientFlow(), end_time=100_000, probes=[probe], progress=False
    )
    models[gamma] = model
    accuracy = history.column("test_accuracy")[-1]
    print(f"gamma = {gamma}: test accuracy {accuracy:.3f}")

# %% [markdown]
# With equal scalings (`gamma = 1`) the network learns faster. That is the price of asymmetry.
#
# ## Cut both
#
# Now remove the least important nodes, those with the smallest `lambda_j ||w_j||^2`. `pruning_curve` measures
# the networks of all sizes.

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
for gamma, model in models.items():
    rows = ak.pruning.pruning_curve(
        model, x, y, x_test, y_test, labels_train=labels, labels_test=labels_test
    )
    kept = [row["kept"] for row in rows]
    accuracy = [row["test_accuracy"] for row in rows]
    style = ak.plotting.style_of_pair(gamma, 0.4)  # the same in all figures of this package
    axes.semilogx(kept, accuracy, color=style.colour, ls=style.dashes, label=f"gamma = {gamma}")
axes.set(xlabel="nodes kept", ylabel="test accuracy")
axes.legend()
plt.show()

# %% [markdown]
# The network with equal scalings falls apart. The other one keeps its accuracy until very few nodes are left.
#
# ## Keep the small one
#
# `prune` gives a smaller Keras model. With `refit` its last layer is fitted anew to the training data.

# %%
small = ak.prune(models[0], keep=20, refit=(x, y))
predicted = small.predict(x_test, verbose=0).argmax(axis=1)
print(f"{small.count_params():,} of {models[0].count_params():,} numbers")
print(f"test accuracy {(predicted == labels_test).mean():.3f}")

# %% [markdown]
# ## Next
#
# - The same at full size, 2,000 nodes and 5,000 images, is one command:
#   `python -m trainers.mnist --gamma 0`. [Run the experiments](../experiments.md) has the others.
# - [Beside the published curves](../reproduction.md) compares such runs with the paper's figures.
# - [Gamma and alpha in pictures](../explanations/gamma_and_alpha.py) shows what the two numbers do.
