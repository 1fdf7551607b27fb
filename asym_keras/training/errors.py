"""What can end a training run before its end."""


class TrainingError(RuntimeError):
    """The run can't go on (divergence, no step small enough); its last good state is kept."""


class WorkerLostError(TrainingError):
    """Another process that trained along is gone; the run goes on from its checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or that belongs to another run."""
