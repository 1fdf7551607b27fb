"""What the trainers share on the command line: flags from a dataclass, errors, exit codes."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import os
import shlex
import signal
import sys
import types
import typing
from collections.abc import Callable, Sequence

PAIRS = {
    "paper": ((1.0, 0.4), (0.5, 0.7), (0.5, 0.5), (0.0, 0.4)),
    "authors": ((1.0, 0.4), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4)),
}


def knob(default, text: str, **options):
    """A dataclass field that is a flag: default, help text, argparse options (choices, ...)."""
    return dataclasses.field(default=default, metadata={"help": text, **options})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Flags of every trainer."""

    gamma: float = knob(0.0, "symmetric share of the node scalings, in [0, 1]; 1 is NTK scaling")
    alpha: float = knob(0.4, "tail of the Zipf law, in (0, 1); smaller is more asymmetrical")
    width: int = knob(2000, "hidden nodes, m")
    protocol: str = knob("paper", "what the paper says or what its figures show", choices=[*PAIRS])
    solver: str = knob("flow", "gradient flow or gradient descent", choices=["flow", "descent"])
    steps: int = knob(200_000, "steps N; the time reached is t = learning rate x N, also by flow")
    learning_rate: float = knob(1.0, "step of gradient descent, and unit of --steps under flow")
    batch_size: int | None = knob(None, "mini-batches for --solver descent (default: full batch)")
    rtol: float = knob(1e-2, "relative tolerance of --solver flow")
    atol: float = knob(1e-2, "absolute tolerance of --solver flow")
    target_risk: float | None = knob(None, "stop where the training risk is at or below this")
    seed: int = knob(0, "seed of initial weights, readout and mini-batches")
    seeds: int | None = knob(None, "run seeds 0 to N-1, one folder each in --out-dir", metavar="N")
    pairs: str | None = knob(
        None, "'all': the protocol's four (gamma, alpha); or a list such as 1:0.4,0:0.4"
    )
    jobs: int = knob(1, "runs of --pairs and --seeds at once, in processes that share the cores")
    records: int = knob(50, "rows of the history")
    ntg_examples: str | None = knob(
        None, "examples of the NTG: a number, 'all', or 0 for none (default: the protocol's)"
    )
    ntg_method: str = knob(
        "auto",
        "how the NTG is computed",
        choices=["auto", "jacobian", "structured", "closed_form"],
    )
    refit: bool = knob(False, "pruning curves with a refitted readout too (ridge regression)")
    transfer: bool = knob(False, "transfer curves too: train networks on the top features")
    strategy: str = knob(
        "none",
        "share each gradient among all GPUs of this machine (mirrored), or the workers that "
        "TF_CONFIG names (multiworker; to --resume, all have to see --out-dir)",
        choices=["none", "mirrored", "multiworker"],
    )
    device: str = knob("auto", "where to run", choices=["auto", "cpu", "gpu"])
    dtype: str = knob("float32", "precision of model and data", choices=["float32", "float64"])
    out_dir: str | None = knob(None, "run folder (default: runs/<task>-<settings>)")
    overwrite: bool = knob(False, "replace a run that is in the folder")
    resume: bool = knob(False, "go on with an interrupted run")
    tensorboard: bool = knob(False, "write TensorBoard summaries too (extra: tensorboard)")
    quiet: bool = knob(False, "no progress bar")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        from asym_keras.scaling import node_scalings

        for gamma, alpha in [(self.gamma, self.alpha), *self.scaling_pairs()]:
            node_scalings(self.width, gamma, alpha)
        # A history has at least two rows, the start and the end.
        least_of = {"steps": 1, "records": 2, "seeds": 1, "jobs": 1, "batch_size": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{_flag(name)}: expected at least {least}, received {value}.")
        for name in ("learning_rate", "rtol", "atol"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"--{_flag(name)}: expected a positive number, received {value}.")
        if self.target_risk is not None and math.isnan(self.target_risk):
            raise ValueError("--target-risk: expected a number, received nan.")
        if self.seed < 0:
            raise ValueError(f"--seed: expected a nonnegative integer, received {self.seed}.")
        if self.solver == "flow" and self.batch_size is not None:
            raise ValueError(
                f"--solver flow: expected no mini-batches, received --batch-size {self.batch_size}."
                " Leave it out, or use --solver descent."
            )
        if self.resume and self.overwrite:
            raise ValueError("expected --resume or --overwrite, received both.")
        if self.strategy != "none" and self.jobs > 1:
            raise ValueError(
                f"--strategy {self.strategy}: expected runs one after another, received --jobs "
                f"{self.jobs}. Leave out one of the two."
            )
        self.ntg_count(1)

    def scaling_pairs(self) -> list[tuple[float, float]]:
        """The (gamma, alpha) to run."""
        if self.pairs is None:
            return [(self.gamma, self.alpha)]
        if self.pairs == "all":
            return list(PAIRS[self.protocol])
        try:
            pairs = [tuple(map(float, pair.split(":"))) for pair in self.pairs.split(",")]
            return [(gamma, alpha) for gamma, alpha in pairs]
        except ValueError:
            raise ValueError(
                "--pairs: expected 'all' or gamma:alpha separated by commas, such as "
                f"1:0.4,0:0.4, received {self.pairs!r}."
            ) from None

    def run_seeds(self) -> list[int]:
        """The seeds to run."""
        return [self.seed] if self.seeds is None else list(range(self.seeds))

    def task(self) -> str:
        """Name of the task in folder names."""
        raise NotImplementedError

    def load(self):
        """The `Dataset` that the flags name."""
        raise NotImplementedError

    def loss(self):
        """What is minimised, as `asym_keras.training.train` takes it."""
        return "mse"

    def further_probes(self, dataset) -> dict:
        """Probes beside the paper's, for more columns of the history."""
        return {}

    def end_step(self, examples: int) -> int:
        """Steps of a run on so many training examples."""
        return self.steps

    def runs(self) -> list[TrainerConfig]:
        """One configuration for each (gamma, alpha) and seed."""
        return [
            dataclasses.replace(self, gamma=gamma, alpha=alpha, seed=seed)
            for gamma, alpha in self.scaling_pairs()
            for seed in self.run_seeds()
        ]

    def ntg_count(self, examples: int) -> int:
        """How many of `examples` training examples the NTG is computed on."""
        text = self.ntg_examples
        if text is None:
            return min(examples, 50 if self.protocol == "authors" else 500)
        if text == "all":
            return examples
        if not text.isdecimal():
            raise ValueError(
                f"--ntg-examples: expected a nonnegative number or 'all', received {text!r}."
            )
        return min(int(text), examples)


def parse_config(config_class, argv: Sequence[str] | None, *, module: str, description: str | None):
    """Parses `argv` into `config_class`; a bad value ends the program with its message."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        options = dict(field.metadata)
        if hints[field.name] is bool:
            options["action"] = "store_true"
        else:
            options |= {"type": _scalar(hints[field.name]), "default": field.default}
        parser.add_argument(f"--{_flag(field.name)}", **options)
    namespace = parser.parse_args(argv)
    try:
        return config_class(**vars(namespace))
    except (TypeError, ValueError) as error:
        parser.error(str(error))


def train_main(config_class, argv: Sequence[str] | None, *, module: str, description: str | None):
    """What a trainer's `main` does: parses, runs every run, returns the metrics of each."""
    config = parse_config(config_class, argv, module=module, description=description)

    def body(config):
        from trainers._batch import run_all

        return run_all(config, argv=argv, module=module)

    return run_main(body, config, argv, module=module)


def run_main(body: Callable, config, argv: Sequence[str] | None, *, module: str):
    """Runs `body(config)`; errors become a message and an exit code, Ctrl-C says how to go on.

    A command without --resume takes what is complete whenever it is repeated.
    """
    prepare_process()
    try:
        return body(config)
    except KeyboardInterrupt:
        flags = [a for a in (sys.argv[1:] if argv is None else argv) if a != "--overwrite"]
        flags += ["--resume"] if hasattr(config, "resume") and "--resume" not in flags else []
        print(
            f"\ninterrupted; go on with:\n  {shlex.join(['python', '-m', module, *flags])}",
            file=sys.stderr,
        )
        sys.exit(130)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        if config.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, but not where there is none."""

    def _get_help_string(self, action):
        if action.default in (None, False, argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


def _text(text: str) -> str:
    """A flag's text. The shell leaves the `~` of `--data=~/x` to us."""
    if not text.startswith("~") or os.sep not in text:
        return text
    from asym_keras.files import user_path

    try:
        return str(user_path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _scalar(hint):
    """`int` of `int | None`; for `str` what reads it."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in hint.__args__ if part is not type(None))
    return _text if hint is str else hint


def prepare_process() -> None:
    """Logging to stderr, little of it from TensorFlow; SIGTERM acts as Ctrl-C does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)


def _as_keyboard_interrupt(signum, frame):
    raise KeyboardInterrupt
