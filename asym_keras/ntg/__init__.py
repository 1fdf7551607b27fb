"""Neural tangent Gram (NTG) matrices: of any Keras model, of the shallow network, in the limit."""

from asym_keras.ntg.activation import Activation
from asym_keras.ntg.describe import describe_activation
from asym_keras.ntg.empirical import empirical_ntg
from asym_keras.ntg.limiting import (
    kappa_n,
    limiting_ntg_variance,
    mean_ntg,
    ntg_variance,
    ntg_variance_constant,
    sample_limiting_ntg,
)
from asym_keras.ntg.prediction import ntg_predict
from asym_keras.ntg.probe import NTGProbe
from asym_keras.ntg.shallow import leading_share, node_contributions, shallow_ntg, split_ntg
from asym_keras.ntg.spectrum import (
    condition_number,
    effective_rank,
    kernel_target_alignment,
    minimum_eigenvalue,
    spectral_norm,
    top_eigenpairs,
)

__all__ = [
    "Activation",
    "NTGProbe",
    "condition_number",
    "describe_activation",
    "effective_rank",
    "empirical_ntg",
    "kappa_n",
    "kernel_target_alignment",
    "leading_share",
    "limiting_ntg_variance",
    "mean_ntg",
    "minimum_eigenvalue",
    "node_contributions",
    "ntg_predict",
    "ntg_variance",
    "ntg_variance_constant",
    "sample_limiting_ntg",
    "shallow_ntg",
    "spectral_norm",
    "split_ntg",
    "top_eigenpairs",
]
