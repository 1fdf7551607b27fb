"""Training: gradient descent and gradient flow, with one interface.

history = train(model, x, y, method=GradientFlow(), end_time=1e4, probes={...})
"""

from asym_keras.tables import History
from asym_keras.training.checkpoint import Checkpoint
from asym_keras.training.descent import GradientDescent
from asym_keras.training.errors import CheckpointError, TrainingError, WorkerLostError
from asym_keras.training.flow import GradientFlow
from asym_keras.training.loop import record_times, train
from asym_keras.training.memory import peak_bytes
from asym_keras.training.objective import Objective
from asym_keras.training.probes import RiskProbe, WeightChange

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "GradientDescent",
    "GradientFlow",
    "History",
    "Objective",
    "RiskProbe",
    "TrainingError",
    "WeightChange",
    "WorkerLostError",
    "peak_bytes",
    "record_times",
    "train",
]
