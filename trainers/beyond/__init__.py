"""What the paper could not ask: long training, small budgets of nodes, and ordinary Keras models.

    python -m trainers.beyond --study long-time
    python -m trainers.beyond --study budget
    python -m trainers.beyond --study one-training

long-time     the simulated task to t = 10,000,000: does gamma = 0 catch up, and do the others
              converge at the rate of Theorem 4.1?
budget        MNIST: which gamma, alpha and training time is best for 20, 50, 100 or 200 nodes?
one-training  the layer in an ordinary Keras model under Adam and cross-entropy: one training that
              serves every width, beside plain Dense networks.

Each study writes a table, `<study>.csv`, and a figure, `<study>.png`, and goes on where it stopped.
"""

from asym_keras.startup import import_tensorflow
from trainers.beyond.config import STUDIES
from trainers.beyond.config import Config as Config
from trainers.common.cli import run_main

MODULE = "trainers.beyond"


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the rows of the study's table."""

    def body(config: Config, command: str) -> list[dict]:
        import_tensorflow()  # before a study imports Keras, which would show its notices
        from trainers.beyond import budget, long_time, one_training

        study = dict(zip(STUDIES, (long_time, budget, one_training), strict=True))
        return study[str(config.study)].run(config, command)

    return run_main(Config, body, argv, module=MODULE, description=__doc__)
