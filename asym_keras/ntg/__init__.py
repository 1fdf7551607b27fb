"""Neural tangent Gram (NTG) matrices: of any Keras model, and of the shallow network."""

from asym_keras.ntg.empirical import empirical_ntg
from asym_keras.ntg.probe import NTGProbe
from asym_keras.ntg.shallow import shallow_ntg
from asym_keras.ntg.spectrum import minimum_eigenvalue, spectral_norm

__all__ = ["NTGProbe", "empirical_ntg", "minimum_eigenvalue", "shallow_ntg", "spectral_norm"]
