# %% [markdown]
# # Commands
#
# Each is `python -m NAME`, and tells its flags. This page shows what they print.
#
# ## Trainers
#
# Each trains one or several networks and writes run folders: [Run the experiments](../experiments.md).
#
# ### trainers.simulated

# %% language="bash"
# python -m trainers.simulated --help

# %% [markdown]
# ### trainers.regression

# %% language="bash"
# python -m trainers.regression --help

# %% [markdown]
# ### trainers.mnist

# %% language="bash"
# python -m trainers.mnist --help

# %% [markdown]
# ### trainers.cifar10

# %% language="bash"
# python -m trainers.cifar10 --help

# %% [markdown]
# ### trainers.nested

# %% language="bash"
# python -m trainers.nested --help

# %% [markdown]
# ### trainers.theory

# %% language="bash"
# python -m trainers.theory --help

# %% [markdown]
#
# ## Runs
#
# ### trainers.compare

# %% language="bash"
# python -m trainers.compare --help

# %% [markdown]
# ### trainers.figures

# %% language="bash"
# python -m trainers.figures --help

# %% [markdown]
#
# ## Searches and studies
#
# ### trainers.sweep

# %% language="bash"
# python -m trainers.sweep --help

# %% [markdown]
# ### trainers.beyond

# %% language="bash"
# python -m trainers.beyond --help

# %% [markdown]
# ### trainers.zoo

# %% language="bash"
# python -m trainers.zoo --help

# %% [markdown]
# ### trainers.zoo_gallery

# %% language="bash"
# python -m trainers.zoo_gallery --help

# %% [markdown]
#
# ## Serving
#
# [Serve a network](../serving.md) shows them at work.
#
# ### serving.export

# %% language="bash"
# python -m serving.export --help

# %% [markdown]
# ### serving.package

# %% language="bash"
# python -m serving.package --help

# %% [markdown]
# ### serving.serve

# %% language="bash"
# python -m serving.serve --help

# %% [markdown]
# ### serving.model_config

# %% language="bash"
# python -m serving.model_config --help

# %% [markdown]
# ### serving.demo

# %% language="bash"
# python -m serving.demo --help

# %% [markdown]
# ### serving.client

# %% language="bash"
# python -m serving.client --help
