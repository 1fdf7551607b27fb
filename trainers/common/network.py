"""The network of a run: its activation, and the law of its node scalings."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path

if TYPE_CHECKING:
    import numpy as np

# The elementwise activations that Keras knows by name.
ACTIVATIONS = (
    *("relu", "tanh", "sigmoid", "softplus", "linear", "celu", "elu", "exponential", "gelu"),
    *("hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu"),
    *("log_sigmoid", "mish", "relu6", "selu", "silu", "soft_shrink", "softsign", "sparse_plus"),
    *("sparse_sigmoid", "squareplus", "swish", "tanh_shrink"),
)
# These jump, so the risk has no gradient that a flow could follow.
JUMPING = ("hard_shrink",)
LAWS = "zipf, geometric, finite:K or file:weights.csv"
# The digest of a weights file's content, which `resolved` puts behind the file's name.
_DIGEST = re.compile(r"#[0-9a-f]{8}$")


def check_activation(name: str, *, solver: str) -> None:
    """Refuses a name that is no elementwise activation of Keras, or that has no gradient flow.

    Raises:
        ValueError: The name is refused.
    """
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(name, ACTIVATIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(
            f"--activation: expected an elementwise activation of Keras ({', '.join(ACTIVATIONS)})"
            f", received {name!r}{hint}"
        )
    if name in JUMPING and solver == "flow":
        raise ValueError(
            f"--activation {name}: expected a continuous activation for --solver flow, received "
            "one that jumps. Use --solver descent, or another activation."
        )


def depends_on_alpha(law: str) -> bool:
    """Whether a law's scalings depend on alpha."""
    return law in ("zipf", "geometric")


def resolved(law: str) -> str:
    """A law as a run keeps it: for a file, its name followed by a digest of its content.

    So runs that go on, or are compared, have the same weights and not only the same file name.

    Raises:
        ValueError: An unknown law, no such file, or other weights than those of the digest.
    """
    kind, _, rest = law.partition(":")
    if kind == "finite" and rest.isdecimal() and int(rest):
        return f"finite:{int(rest)}"
    if law in ("zipf", "geometric"):
        return law
    if kind != "file" or not rest:
        raise ValueError(f"--law: expected {LAWS}, received {law!r}.")
    path = _path(law)
    if not path.is_file():
        raise ValueError(f"--law: expected a CSV file of weights, received no such file: {path}.")
    digest = f"#{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    if _DIGEST.search(rest) and not rest.endswith(digest):
        raise ValueError(
            f"--law: expected the weights of {law}, received a file with others ({digest}). Put "
            "the file back, or name it without the part from # on for a new run."
        )
    return f"file:{path}{digest}"


def scalings(law: str, width: int, gamma: float, alpha: float) -> np.ndarray:
    """The node scalings lambda of Eq. (1), float64 (width,), under any of `LAWS`.

    `geometric` is `w_j = alpha**(j - 1)`: each node has the share alpha of the one before.

    Raises:
        ValueError: A law that does not fit the width; weights that are no numbers.
    """
    from asym_keras import scaling

    kind, _, rest = law.partition(":")
    if law == "zipf":
        return scaling.node_scalings(width, gamma, alpha)
    try:
        if law == "geometric":
            weights = scaling.geometric_weights(width, alpha)
        elif kind == "finite":
            weights = scaling.finite_weights(width, int(rest))
        else:
            weights = _read(_path(law))
            if len(weights) != width:
                raise ValueError(
                    f"expected {width} weights, one a node (--width), received {len(weights)}"
                )
        return scaling.mix_scalings(weights, gamma)
    except ValueError as error:
        raise ValueError(f"--law {law}: {error}.") from error


def options(config) -> dict[str, Any]:
    """What `shallow_network` takes of a configuration for its activation and its law."""
    given: dict[str, Any] = {"activation": config.activation}
    if config.law != "zipf":  # for zipf, the layer computes them from gamma and alpha
        given["scalings"] = scalings(config.law, config.width, config.gamma, config.alpha)
    return given


def in_names(config) -> str:
    """The part of a run folder's name that tells its network; empty for the paper's."""
    activation = "" if config.activation == "relu" else f"-{config.activation}"
    return activation + law_in_names(config.law)


def law_in_names(law: str) -> str:
    """The part of a run folder's name that tells its law; empty for Zipf's."""
    if law.startswith("file:"):
        return "-" + re.sub(r"[^\w.-]+", "_", _path(law).stem) + f"-{law[-8:]}"
    return "" if law == "zipf" else f"-{law.replace(':', '')}"


def _path(law: str) -> Path:
    return user_path(_DIGEST.sub("", law.removeprefix("file:")))


def _read(path: Path) -> np.ndarray:
    """The numbers of a CSV file, one a line, with or without a header."""
    import numpy as np

    lines = path.read_text(encoding="utf-8-sig").splitlines()
    cells = [(i, line.strip().rstrip(",;")) for i, line in enumerate(lines, 1) if line.strip()]
    if cells and not _is_number(cells[0][1]):
        cells = cells[1:]
    for line, cell in cells:
        if not _is_number(cell):
            raise ValueError(f"expected one number a line, received {cell!r} in line {line}")
    return np.array([float(cell) for _, cell in cells])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
