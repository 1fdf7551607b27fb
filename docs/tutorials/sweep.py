# %% [markdown]
# # A sweep: which gamma and alpha?
#
# How unequal should the scalings be? That depends on the data and on how many nodes you want to keep. A sweep
# tries pairs, trains a network for each, cuts it to that many nodes, and judges it on rows that were not
# trained on. KerasTuner proposes the pairs.
#
# ## Run it
#
# This runs three trials on MNIST. Each trains a network of 200 nodes for a short time and cuts it to 20 nodes.
# For the full size leave out `--width`, `--steps` and `--records`: 200 trials take half an hour on two cores.

# %% language="bash"
# python -m trainers.sweep --task mnist --keep 20 --trials 3 \
#     --width 200 --steps 2000 --records 5 --quiet --out-dir runs/sweep

# %% [markdown]
# ## What it found
#
# `trials.csv` has a row for each trial, `best.json` the best one.

# %%
import csv
import json

with open("runs/sweep/trials.csv") as file:
    for row in csv.DictReader(file):
        print(f"gamma {float(row['gamma']):.2f}  alpha {float(row['alpha']):.2f}  {row['status']}")
with open("runs/sweep/best.json") as file:
    best = json.load(file)
print(json.dumps(best, indent=1)[:600])

# %% [markdown]
# The test rows are asked once, at the end, for the best trial.
#
# ## Look at it

# %%
from IPython.display import Image

Image("runs/sweep/figures/plane.png", width=500)

# %% [markdown]
# ## Go on
#
# `--resume` with a larger number of `--trials` adds trials to the same folder. Keep all other flags as they were.

# %% language="bash"
# python -m trainers.sweep --task mnist --keep 20 --trials 4 \
#     --width 200 --steps 2000 --records 5 --quiet --out-dir runs/sweep --resume

# %% [markdown]
# ## Next
#
# - [Search gamma and alpha](../sweeps.md): early stopping, several processes and machines, what a sweep on
#   MNIST found.
