# %% [markdown]
# # Gamma and alpha in pictures
#
# A hidden layer has m nodes. Node j has a fixed scaling `lambda_j`, which multiplies its part of the output by
# `sqrt(lambda_j)`. Two numbers choose all m scalings:
#
#     lambda_j = gamma / m + (1 - gamma) w_j / sum_k w_k,     w_j = j^(-1/alpha)
#
# They add up to 1, whatever the numbers are.
#
# ## Alpha: how steep the tail is
#
# With `gamma = 0` the scalings follow a power law. The smaller `alpha` is, the fewer nodes have nearly all
# of the total.

# %%
import matplotlib.pyplot as plt
import numpy as np

import asym_keras as ak

WIDTH = 2000
nodes = np.arange(1, WIDTH + 1)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
for alpha in (0.3, 0.5, 0.7, 0.9):
    scalings = ak.node_scalings(WIDTH, 0, alpha)
    axes[0].loglog(nodes, scalings, label=f"alpha = {alpha}")
    axes[1].semilogx(nodes, scalings.cumsum(), label=f"alpha = {alpha}")
    print(
        f"alpha = {alpha}: half of the total is in {np.searchsorted(scalings.cumsum(), 0.5) + 1} nodes"
    )
axes[0].set(xlabel="node j", ylabel="lambda_j", ylim=(1e-12, 1))
axes[1].set(xlabel="the first j nodes", ylabel="their share of the total")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Gamma: the share for everybody
#
# `gamma` is the share of the total that all nodes divide equally. At `gamma = 1` each node has `1/m`: this is
# the usual scaling of neural tangent kernels, and `alpha` does nothing.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
for gamma in (0, 0.2, 0.5, 1):
    scalings = ak.node_scalings(WIDTH, gamma, 0.5)
    axes[0].loglog(nodes, scalings, label=f"gamma = {gamma}")
    axes[1].semilogx(nodes, scalings.cumsum(), label=f"gamma = {gamma}")
axes[0].set(xlabel="node j", ylabel="lambda_j", ylim=(1e-8, 1))
axes[1].set(xlabel="the first j nodes", ylabel="their share of the total")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What follows
#
# | | gamma near 1 | gamma near 0 |
# | --- | --- | --- |
# | features | stay nearly as they were drawn | change, most at nodes with large scalings |
# | training | fast | slow, as few nodes carry the gradient |
# | convergence | promised by Theorem 4.1, for wide networks | not promised at gamma = 0 |
# | pruning | the network needs most of its nodes | it needs few |
#
# [The paper in ten minutes](../tutorials/paper.py) shows all of these on two networks;
# [Beyond the paper](../beyond.md) measures them.
#
# ## Other laws
#
# `AsymScaledDense(..., scalings=...)` takes any numbers from 0 on that are not all 0, such as those of
# `ak.scaling.geometric_weights` or `ak.scaling.finite_weights`, mixed by `ak.scaling.mix_scalings`.

# %%
layer_scalings = ak.scaling.mix_scalings(ak.scaling.geometric_weights(8, 0.5), 0.2)
print(np.round(layer_scalings, 3), layer_scalings.sum())
