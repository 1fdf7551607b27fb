"""Data sets: one source a file, one return type, `Dataset`.

Importing this package needs NumPy alone; TFDS and TensorFlow load when a loader needs them.
"""

from __future__ import annotations

from asym_keras.datasets.cifar10 import load_cifar10 as load_cifar10
from asym_keras.datasets.cifar10 import load_cifar10_features as load_cifar10_features
from asym_keras.datasets.dataset import Dataset as Dataset
from asym_keras.datasets.mnist import load_mnist as load_mnist
from asym_keras.datasets.npz import from_arrays as from_arrays
from asym_keras.datasets.npz import load_npz as load_npz
from asym_keras.datasets.orthogonal import load_orthogonal as load_orthogonal
from asym_keras.datasets.saved import load_dataset as load_dataset
from asym_keras.datasets.simulated import load_simulated as load_simulated
from asym_keras.datasets.table import load_table as load_table
from asym_keras.datasets.tfds_images import load_tfds_images as load_tfds_images
from asym_keras.datasets.uci import load_uci as load_uci
