"""One comparison of theory and training, from configuration to run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

import asym_keras as ak
from asym_keras.files import atomic_path, write_text
from asym_keras.runs.saving import describe
from trainers.common import environment, experiment
from trainers.common.folder import RunFolder
from trainers.common.network import options as network_options
from trainers.common.pictures import formats_of

logger = logging.getLogger("trainers")

# Bound (b) falls to exp(-DECAY) by the end, unless that takes longer than this.
DECAY, LONGEST = 5.0, 1_000_000

# The flow's tolerance, as a share of how far weights are expected to move. The weights of wide
# networks move so little that a fixed tolerance on them says nothing of the risk, and one far below
# that change makes the flow stop at each kink of ReLU.
TOLERANCE, LOOSEST = 1e-3, 1e-2


@dataclasses.dataclass(frozen=True)
class Examples:
    """What the network is trained on, float64: x (n, d), y (n,), and what x was divided by."""

    x: np.ndarray
    y: np.ndarray
    divisor: float


@contextlib.contextmanager
def _methods_untold() -> Iterator[None]:
    """Keeps the log from naming the NTG's method at every record."""
    log = logging.getLogger("asym_keras.ntg")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@_methods_untold()
def run(config, command: str) -> dict:
    """Trains, draws, and fills the folder; returns the content of `theory.json`."""
    folder = RunFolder(config.path())
    folder.check(config)
    text = folder.path / "theory.txt"  # the last file that is written
    device = environment.prepare_device(config.device)
    activation = _activation(config.activation)
    dataset = config.load()
    if config.resume and text.is_file():
        folder.require_data(dataset.fingerprint())
        logger.info("%s is finished", folder.path)
        print(text.read_text(encoding="utf-8"), folder.path, sep="")
        return folder.read("theory.json")
    examples = take_examples(config, dataset)

    from trainers.theory import report
    from trainers.theory.draws import draw_networks
    from trainers.theory.numbers import theory_of

    x, y = examples.x, examples.y
    scalings = config.scalings()
    both = {"activation": activation, "seed": config.seed}
    theory = theory_of(x, y, gamma=config.gamma, delta=config.delta, scalings=scalings, **both)
    end = config.steps or theory.end_time(DECAY, LONGEST)
    facts = {
        "command": command,
        "device": device,
        **environment.versions(),
        "dataset": describe(dataset),
    }
    folder.open(config, facts)
    head = f"{_head(config, dataset, examples, end)}\n\n{theory.assumptions}\n"
    head += _duplicates_elsewhere(dataset, len(x))
    print(head, flush=True)
    measured, method = _train(config, folder, examples, theory, end)
    draws = draw_networks(x, y, theory, count=config.draws, progress=not config.quiet, **both)
    rows = report.theory_rows(theory, measured, draws)
    how = {"end_time": end, "rtol": method.rtol, "atol": method.atol}
    content = report.theory_json(rows, theory, input_divisor=examples.divisor, **how)
    table = report.table_text(rows)
    folder.write("theory.json", content)
    ak.plotting.theory_bounds(folder.path, formats=formats_of(config.format))
    write_text(text, f"{head}\n{table}\n")
    print(report.table_text(rows, fit=True), folder.path, sep="\n")
    return content


def take_examples(config, dataset) -> Examples:
    """The first examples and one target of `dataset`, at the run's precision, inputs scaled.

    Raises:
        ValueError: No such target, or nothing but zero inputs.
    """
    column = config.column()
    if column >= dataset.outputs:
        raise ValueError(
            f"--target: expected a column from 0 to {dataset.outputs - 1} of {dataset.name}, "
            f"received {column}."
        )
    x = dataset.x_train[: config.count()].astype("float64")
    y = dataset.y_train[: config.count(), column].astype("float64")
    largest = float(np.linalg.norm(x, axis=1).max())
    if not largest:
        raise ValueError(
            f"expected inputs other than zero in the first {len(x)} examples of {dataset.name}, "
            "received none. Take more with --examples, or repair the data."
        )
    divisor = largest if config.scale == "max" else 1.0
    # The theory gets exactly the numbers that the network sees.
    return Examples((x / divisor).astype(config.dtype).astype("float64"), y, divisor)


def _activation(name: str):
    try:
        return ak.ntg.describe_activation(name)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"--activation: expected an elementwise activation of Keras, received {name!r}: {error}"
        ) from error


def _head(config, dataset, examples: Examples, end: float) -> str:
    """What is compared, in words."""
    n, d = examples.x.shape
    scaled = "inputs as they are"
    if config.scale == "max":
        scaled = f"inputs divided by their largest norm, {examples.divisor:.6g}"
    law = "" if config.law == "zipf" else f"law {config.law}, "
    return (
        f"{dataset.name}, target {config.target or 0}: {scaled}\n"
        f"n = {n}, d = {d}, m = {config.width}, gamma = {config.gamma:g}, alpha = "
        f"{config.alpha:g}, {config.activation}, {law}delta = {config.delta:g}\n"
        f"gradient flow to t = {end}, of seed {config.seed}; {config.draws} further "
        "initialisations\n"
        f"all numbers in this clock; the paper's time is 2 t / n = {2 / n:.4g} t"
    )


def _duplicates_elsewhere(dataset, taken: int) -> str:
    """A line on equal inputs among all training examples, where some of them were not taken."""
    if taken == len(dataset.x_train):
        return ""
    report = ak.theory.check_assumptions(dataset.x_train, dataset.y_train)
    if not report.duplicate_pairs:
        return ""
    pairs = [f"({i}, {k})" for i, k, kind in report.first_pairs if kind == "duplicate"]
    more = ["..."] * (len(pairs) < report.duplicate_pairs)
    named = f" ({', '.join(pairs + more)})" if pairs else ""
    return (
        f"kappa_n = 0 of all {report.examples} training examples: {report.duplicate_pairs} pairs "
        f"of them have equal inputs{named}\n"
    )


def _train(config, folder: RunFolder, examples: Examples, theory, end: float):
    """Trains, or goes on; writes history, nodes and model. Returns what it measured, and how."""
    from trainers.theory.report import Measured

    x, y = examples.x.astype(config.dtype), examples.y.astype(config.dtype)[:, None]
    names = ("width", "gamma", "alpha", "seed", "dtype")
    options = {name: getattr(config, name) for name in names} | network_options(config)
    model = ak.shallow_network(x.shape[1], **options)
    folder.require_space(model, config.dtype)
    # The symmetric part of the NTG depends on the kernel and not on the law; the same seed draws
    # the same kernel under any law.
    scaled = {name: value for name, value in options.items() if name != "scalings"}
    zipf = model if config.law == "zipf" else ak.shallow_network(x.shape[1], **scaled)
    layer = zipf.get_layer("asym_scaled_dense")
    symmetric, _ = ak.ntg.split_ntg(layer, examples.x, dtype="float64")
    residuals = model.predict(x, verbose=0)[:, 0].astype("float64") - examples.y
    tightest = 20.0 * float(np.finfo(config.dtype).eps)
    tolerance = max(min(TOLERANCE * theory.weight_scale(residuals, end), LOOSEST), tightest)
    tolerance = float(f"{tolerance:.1e}")  # so that round-off gives a resumed run no other one
    probes: list[Callable] = [
        ak.training.RiskProbe("train", x, y),
        ak.training.WeightChange(),
        ak.ntg.NTGProbe(x),
    ]
    method = ak.training.GradientFlow(config.rtol or tolerance, config.atol or tolerance)
    history = ak.training.train(
        model,
        x,
        y,
        method=method,
        end_time=end,
        times=ak.training.record_times(end, config.records, spacing=config.record_spacing),
        probes=probes,
        checkpoint=folder.checkpoint,
        resume=config.resume,
        progress=not config.quiet,
        on_record=lambda history: experiment.ordered(history).to_csv(folder.path / "history.csv"),
    )
    columns = ("time", "train_risk", "ntg_min_eigenvalue", "ntg_change")
    time, risk, eigenvalue, ntg_change = map(history.column, columns)
    nodes = np.stack(history.arrays["node_weight_change"])
    bound = np.full(config.width, np.inf)
    if theory.silence is None and theory.convergence is not None:
        bound = theory.convergence.weight_change(theory.scalings)
    with atomic_path(folder.path / "nodes.npz") as temporary:
        np.savez(
            temporary,
            step=history.column("step"),
            time=time,
            node_weight_change=nodes,
            scalings=theory.scalings,
            weight_change_bound=bound,
        )
    folder.save(model)
    smallest = ak.ntg.minimum_eigenvalue(symmetric)
    return Measured(time, risk, eigenvalue, ntg_change, nodes, smallest), method
