"""Flags: fields of a dataclass with their limits, and those that all trainers share."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.common import network, pictures

if TYPE_CHECKING:
    import numpy as np

    from asym_keras.datasets import Dataset

PAIRS = {
    "paper": ((1.0, 0.4), (0.5, 0.7), (0.5, 0.5), (0.0, 0.4)),
    "authors": ((1.0, 0.4), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4)),
}


def knob(
    default,
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    positive: bool = False,
    file: str | None = None,
    later: bool = False,
    **options,
):
    """A dataclass field that is a flag.

    Args:
        default: its value where the flag is not given.
        text: what `--help` says of it.
        least: the least number that it takes.
        most: the largest one.
        positive: whether it takes any finite number above 0.
        file: what must lie at the path that it names, in words such as "an .npz file".
        later: whether older folders lack this flag; to match them, new ones leave its default out.
        **options: argparse's own, such as `choices`.
    """
    limits = {"least": least, "most": most, "positive": positive, "file": file}
    return dataclasses.field(
        default=default,
        metadata={"options": {"help": text, **options}, "limits": limits, "later": later},
    )


def shared(name: str, default=dataclasses.MISSING) -> Any:
    """The trainers' flag `name`, for another program, which may give it another default."""
    field = TrainerConfig.__dataclass_fields__[name]
    if default is dataclasses.MISSING:
        default = field.default
    return dataclasses.field(default=default, metadata=field.metadata)


def settings_of(config) -> dict[str, Any]:
    """The flags of a configuration as its folder keeps them, by name."""
    left_out = {f.name: f.default for f in dataclasses.fields(config) if f.metadata["later"]}
    settings = dataclasses.asdict(config)
    return {k: v for k, v in settings.items() if k not in left_out or v != left_out[k]}


def flag_of(name: str) -> str:
    """The flag of a field."""
    return f"--{name.replace('_', '-')}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Checks the flags of a program against the limits of each `knob`.

    Attributes:
        growing: flags that `--resume` may raise; a complete run then goes on from its end.
    """

    growing: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _check(flag_of(field.name), value, **field.metadata["limits"])
        if hasattr(self, "format"):
            pictures.formats_of(self.format)
        if getattr(self, "resume", False) and getattr(self, "overwrite", False):
            raise ValueError("expected --resume or --overwrite, received both.")

    def methods(self) -> dict[str, str]:
        """How this version computes what earlier versions computed otherwise; folders keep it."""
        return {}


def _check(flag: str, value, least, most, positive: bool, file: str | None) -> None:
    if positive and not 0 < value < math.inf:
        raise ValueError(f"{flag}: expected a positive number, received {value}.")
    if least is not None and not least <= value < math.inf:
        raise ValueError(f"{flag}: expected at least {least}, received {value}.")
    if most is not None and not value <= most:
        raise ValueError(f"{flag}: expected at most {most}, received {value}.")
    if file is not None and not Path(value).is_file():
        raise ValueError(f"{flag}: expected {file}, received no such file: {value}.")


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows on which networks are measured, to choose among them or to report them.

    Attributes:
        x: float32 (n, d).
        y: float32 (n, K).
        labels: int64 (n,); None for a regression.
        words: which rows of the dataset they are, for messages.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray | None
    words: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig(Flags):
    """Flags of every trainer."""

    growing: ClassVar[tuple[str, ...]] = ("steps",)

    gamma: float = knob(
        0.0, "symmetric share of the node scalings, in [0, 1]; 1 is NTK scaling", least=0, most=1
    )
    alpha: float = knob(0.4, "tail of the Zipf law, in (0, 1); smaller is more asymmetrical")
    activation: str = knob(
        "relu",
        "elementwise activation of the hidden nodes, by its name in Keras: tanh, gelu, ...",
        metavar="NAME",
        later=True,
    )
    law: str = knob(
        "zipf",
        "law of the node weights: zipf; geometric, each node's weight alpha times that of the one "
        "before; finite:K, equal for the first K nodes; file:weights.csv, one number a line",
        metavar="LAW",
        later=True,
    )
    width: int = knob(2000, "hidden nodes, m", least=1)
    protocol: str = knob(
        "paper", "settings of the paper's text, or of its figures (authors)", choices=[*PAIRS]
    )
    solver: str = knob("flow", "gradient flow or gradient descent", choices=["flow", "descent"])
    steps: int = knob(
        200_000, "steps N, to time t = learning rate x N; --resume may take more", least=1
    )
    learning_rate: float = knob(
        1.0, "step of gradient descent, and unit of --steps under flow", positive=True
    )
    batch_size: int | None = knob(
        None, "examples of a mini-batch, for --solver descent (default: all)", least=1
    )
    rtol: float = knob(1e-2, "relative tolerance of --solver flow", positive=True)
    atol: float = knob(1e-2, "absolute tolerance of --solver flow", positive=True)
    target_risk: float | None = knob(None, "stop when the training risk is at or below this")
    seed: int = knob(0, "seed of initial weights, readout and mini-batches", least=0)
    seeds: int | None = knob(
        None, "run seeds 0 to N-1, one folder each in --out-dir", metavar="N", least=1
    )
    pairs: str | None = knob(
        None, "'all': the protocol's four (gamma, alpha); or a list such as 1:0.4,0:0.4"
    )
    jobs: int = knob(1, "runs at once, in processes that share the cores", least=1)
    records: int = knob(50, "rows of the history", least=2)
    record_spacing: str = knob(
        "cubic", "spaced like cubes, or evenly on a log axis", choices=["cubic", "log"], later=True
    )
    ntg_examples: str | None = knob(
        None, "examples of the NTG: a number, 'all', or 0 for none (default: the protocol's)"
    )
    ntg_method: str = knob(
        "auto", "how the NTG is computed", choices=["auto", "jacobian", "structured", "closed_form"]
    )
    refit: bool = knob(False, "pruning curves with a refitted readout too")
    transfer: bool = knob(False, "transfer curves too: train networks on the top features")
    strategy: str = knob(
        "none",
        "share each gradient among all GPUs of this machine (mirrored), or the workers that "
        "TF_CONFIG names (multiworker; to --resume, all have to see --out-dir)",
        choices=["none", "mirrored", "multiworker"],
    )
    device: str = knob("auto", "where to run", choices=["auto", "cpu", "gpu"])
    dtype: str = knob("float32", "precision of model and data", choices=["float32", "float64"])
    format: str = knob("png", "formats of figures, such as pdf,svg", metavar="NAMES", later=True)
    out_dir: str | None = knob(None, "run folder (default: runs/<task>-<settings>)")
    overwrite: bool = knob(False, "replace a run that is in the folder")
    resume: bool = knob(False, "go on with an interrupted run")
    tensorboard: bool = knob(False, "write TensorBoard summaries too (extra: tensorboard)")
    quiet: bool = knob(False, "no progress bar")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        super().__post_init__()
        network.check_activation(self.activation, solver=self.solver)
        object.__setattr__(self, "law", network.resolved(self.law))
        pairs = self.scaling_pairs()
        for gamma, alpha in [(self.gamma, self.alpha), *pairs]:
            network.scalings("zipf", self.width, gamma, alpha)  # checks both, whatever the law
            network.scalings(self.law, self.width, gamma, alpha)
        by_alpha = network.depends_on_alpha(self.law)
        if len({f"{g:g}:{a:g}" if by_alpha else f"{g:g}" for g, a in pairs}) < len(pairs):
            kind = "pairs" if by_alpha else f"gammas, since --law {self.law} has no alpha"
            raise ValueError(f"--pairs: expected different {kind}, received {self.pairs}.")
        if self.target_risk is not None and math.isnan(self.target_risk):
            raise ValueError("--target-risk: expected a number, received nan.")
        if self.solver == "flow" and self.batch_size is not None:
            raise ValueError(
                f"--solver flow: expected no mini-batches, received --batch-size {self.batch_size}."
                " Leave it out, or use --solver descent."
            )
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

    def held_out(self, dataset: Dataset) -> HeldOut:
        """Rows beside the training and the test rows: here both halves of the part for transfer."""
        import numpy as np

        part = dataset.transfer
        if part is None:
            raise ValueError(f"expected {dataset.name} with a part for transfer, received none.")
        halves: list[tuple] = [(part.x_train, part.x_test), (part.y_train, part.y_test)]
        if part.labels_train is not None and part.labels_test is not None:
            halves.append((part.labels_train, part.labels_test))
        x, y, *labels = map(np.concatenate, halves)
        return HeldOut(x, y, labels[0] if labels else None, "the part for transfer")

    def end_step(self, examples: int) -> int:
        """The number of steps of a run on `examples` training examples."""
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
