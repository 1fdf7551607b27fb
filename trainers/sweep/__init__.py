"""Searches (gamma, alpha) for the best network with --keep nodes, by KerasTuner (extra: tune).

    python -m trainers.sweep --task mnist --keep 100 --trials 30
    python -m trainers.sweep --task energy --keep 50 --tuner random --workers 2 --pareto
    python -m trainers.sweep --task mnist --trials 60 --resume
    python -m trainers.sweep --task mnist --nested

A trial trains one network, prunes it to --keep nodes and measures it on validation rows: the part
for transfer; for `simulated` fresh draws; for `cifar10` a tenth of the training rows. The test rows
serve once, at the end, to measure the best trial and the pairs of --paper-first. Each trial has a
run folder in OUT_DIR/trials; trials.csv, best.json and figures/ are in OUT_DIR. Where
KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT are set, the command is the
chief or a worker of a sweep on many machines.
"""

from trainers.common.cli import run_main
from trainers.sweep.config import MODULE
from trainers.sweep.config import Config as Config
from trainers.sweep.run import carry_out


def main(argv=None) -> dict | None:
    """Runs the command line; returns `best.json`, or None in a worker."""
    return run_main(Config, carry_out, argv, module=MODULE, description=__doc__)
