# %% [markdown]
# # Your own table: from a CSV file to a served model
#
# You have a table, and you want a small model that answers over HTTP. Four commands do it. Replace
# `houses.csv` by your own file: a header line, then numbers. One column is what you want to predict.
#
# ## The table
#
# So that this page runs everywhere, it makes a table: 1,000 houses and a price.

# %%
import csv

import numpy as np

rng = np.random.default_rng(0)
area, age = rng.uniform(30, 200, 1000), rng.uniform(0, 100, 1000)
rooms, distance = np.round(area / 25 + rng.uniform(0, 2, 1000)), rng.uniform(0, 30, 1000)
price = 3 * area + 40 * rooms - 2 * age - 4 * distance - area * distance / 30
price += rng.normal(0, 20, 1000)

with open("houses.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["area", "rooms", "age", "distance", "price"])
    table.writerows(np.round([area, rooms, age, distance, price], 1).T)
print(open("houses.csv").read()[:120])

# %% [markdown]
# ## Train
#
# `--target` names the column to predict. 40 % of the rows train the network and 20 % test it. Columns are
# standardised for you.

# %% language="bash"
# python -m trainers.regression --data houses.csv --target price --gamma 0.2 --alpha 0.5 \
#     --steps 2000 --records 10 --ntg-examples 0 --quiet --out-dir runs/houses

# %% [markdown]
# The folder `runs/houses` now holds the trained model, its learning curves and its pruning curve. Risks are
# mean squared errors of the standardised price: 1 would be as good as always answering the mean.

# %%
import asym_keras as ak

run = ak.load_run("runs/houses")
print(f"test risk {run.metrics['test_risk']:.4f}")
for row in list(run.pruning)[-4:]:
    print(f"{row['kept']:.0f} nodes: test risk {row['test_risk']:.4f}")

# %% [markdown]
# ## Export
#
# Cut the network to 40 nodes, fit its last layer anew, and write it for TensorFlow Serving. The exported
# model takes columns in their own units and answers in the unit of the price.

# %% language="bash"
# python -m serving.export runs/houses --keep 40 --refit --name houses --to models

# %% [markdown]
# ## Serve
#
# In a terminal you would run `python -m serving.serve --models models --preview`, and leave it running. Here
# the server is started from Python; port 0 asks for any free port. The preview server is for development; without
# `--preview` the same command starts TensorFlow Serving.

# %%
import json
import subprocess
import sys

command = "-m serving.serve --models models --preview --rest-port 0 --grpc-port 0"
server = subprocess.Popen(
    [sys.executable, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
)
where = json.loads(server.stdout.readline())
print(where)

# %% [markdown]
# ## Ask
#
# Columns go in the order of the table, without the target. What would a new house of 120 square metres cost,
# at 2 and at 25 kilometres from the centre?

# %%
from serving.client import connect

houses = np.array([[120, 5, 10, 2], [120, 5, 10, 25]], dtype="float32")
with connect(f"http://localhost:{where['rest_port']}", model="houses") as client:
    answers = client.predict(houses)["outputs"].ravel()
print(np.round(answers, 1))

# %%
area, rooms, age, distance = houses.T
print("without noise:", 3 * area + 40 * rooms - 2 * age - 4 * distance - area * distance / 30)
server.terminate()

# %% [markdown]
# ## Next
#
# - [Serve a network](../serving.md): gRPC, Docker, versions, the demo page.
# - [Search gamma and alpha](sweep.py): which pair is best for so many nodes.
