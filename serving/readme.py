"""The text of a version's README.md, rendered from its card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_NETWORKS = {
    "full": "all {width} nodes",
    "pruned": "{kept} nodes",
    "refit": "{kept} nodes, readout refitted",
    "half": "{kept} nodes as exported, float16 weights",
}
_MEASURES = {"test_accuracy": "test accuracy", "test_risk": "test risk"}
_PRUNED = (
    "A network with asymmetrical node scaling (asym_keras) that was cut to its most important "
    "nodes, as a SavedModel for TensorFlow Serving."
)
_NESTED = (
    "A network whose first nodes are networks of their own (asym_keras), as one SavedModel for "
    "TensorFlow Serving: a client chooses how many nodes answer by `signature_name`."
)
LONG_INPUT = 32  # most numbers that a reader can still make out in a command


def curl(card: dict[str, Any], server: str = "http://localhost:8501") -> str:
    r"""One line for the shell that asks a model server for a prediction.

    Args:
        card: of the model. The request holds its `inputs.example` if there are few inputs.
        server: address of the server's REST API.

    Example:
        >>> curl({"name": "line", "inputs": {"dim": 2, "example": [1.5, 20]}})
        'curl -d \'{"instances": [[1.5, 20]]}\' http://localhost:8501/v1/models/line:predict'
    """
    url = f"{server}/v1/models/{card['name']}:predict"
    dim = card["inputs"]["dim"]
    if dim <= LONG_INPUT:
        row = ", ".join(f"{value:.7g}" for value in card["inputs"].get("example") or [0.0] * dim)
        return f"curl -d '{{\"instances\": [[{row}]]}}' {url}"
    # A row of zeros, such as a black image, made by the shell.
    zeros = f"$(printf '0,%.0s' $(seq 2 {dim}))0"
    return f'curl -d "{{\\"instances\\": [[{zeros}]]}}" {url}'


def metrics_table(card: dict[str, Any]) -> str:
    """A Markdown table of the networks that were measured; empty if there are none."""
    rows = {kind: card["metrics"][kind] for kind in _NETWORKS if kind in card["metrics"]}
    names = dict(_NETWORKS)
    if "widths" in card:
        rows = {f"width {width}": row for width, row in card["metrics"]["widths"].items()}
        names = {kind: f"the first {kind.partition(' ')[2]} nodes" for kind in rows}
    measures = [key for key in _MEASURES if any(key in row for row in rows.values())]
    if not measures:
        return ""
    cells = [
        ["network", *(_MEASURES[key] for key in measures)],
        ["---"] * (len(measures) + 1),
    ]
    for kind, row in rows.items():
        numbers = (f"{row[key]:.4g}" if row.get(key) is not None else "" for key in measures)
        cells.append([names[kind].format(**card), *numbers])
    return table(cells)


def render(card: dict[str, Any]) -> str:
    """The text of `README.md`, Markdown.

    Args:
        card: of the model. It has no SHA-256 of the files yet, since `README.md` is one of them.
    """
    name = card["name"]
    volume = f'"$PWD/saved_models/{name}:/models/{name}"'
    server = f"docker run --rm -p 8501:8501 -v {volume} -e MODEL_NAME={name} tensorflow/serving"
    parts = [
        f"# {name}\n\n{card['title']}",
        _NESTED if "widths" in card else _PRUNED,
        _metrics(card),
        f"## Ask it\n\n```sh\n{server}\n{curl(card)}\n```",
        f"## Signatures\n\n{_signatures(card)}",
        f"## How it was made\n\n{_origin(card)}",
        "`card.json` holds all of this for programs, and the SHA-256 of every file here; "
        "`serving.card.verify` compares them.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metrics(card: dict[str, Any]) -> str:
    measured = metrics_table(card)
    if not measured:
        return ""
    units = card["metrics"].get("units")
    rows = card["data"]["examples"]
    note = f"On {rows[-1]} test examples" if rows else "On the test examples"
    return f"## Metrics\n\n{note}{f'; risk: {units}' if units else ''}.\n\n{measured}"


def _signatures(card: dict[str, Any]) -> str:
    inputs = card["inputs"]
    d, raw = inputs["dim"], f"float32 (n, {inputs['dim']}), {_raw_values(inputs)}"
    classifies = card["task"] == "classification"
    answer = (
        "`scores` float32 (n, K), as trained, without softmax; `classes` int64 (n,), -1 where a "
        "score is NaN"
        if classifies
        else f"`outputs` float32 (n, 1): {card['outputs']['target'] or 'the target'}"
    )
    rows = [["name", "inputs", "answers"], ["---"] * 3, ["`serving_default`", raw, answer]]
    if inputs["kind"] == "image":
        rows.append(["`serving_uint8`", f"the same as uint8 (n, {d})", "the same"])
    if "widths" in card:
        same = f"as `serving_default`, float32 (n, {d})"
        rows += [[f"`width_{w}`", same, f"of the first {w} nodes"] for w in card["widths"]]
        if card.get("anytime"):
            sure = f"{card['anytime']['threshold']:.4g}"
            first = f"of the first width whose largest probability is {sure}; `width` int64 (n,)"
            rows.append(["`anytime`", same, first])
    features = f"`features` float32 (n, {card['kept']}), the kept nodes' sqrt(lambda) sigma(z)"
    if "widths" not in card:
        rows.append(["`features`", f"as `serving_default`, float32 (n, {d})", features])
    example = f"tf.Example with {d} floats named `inputs`"
    if classifies:
        rows.append(["`classify`", example, "every class and its score"])
    else:
        rows.append(["`regress`", example, "as `serving_default`"])
    names = card["outputs"]["classes"]
    note = "\n\nIn JSON, numbers of an example need a decimal point (`255.0`)."
    classes = f"\n\nClasses, in the order of the scores: {', '.join(names)}." if names else ""
    return table(rows) + note + classes


def _raw_values(inputs: dict[str, Any]) -> str:
    if inputs["kind"] == "image":
        shape = " x ".join(map(str, inputs["shape"]))
        return f"pixels {inputs['low']:g} to {inputs['high']:g} of {shape}, row by row"
    if inputs["kind"] == "columns":
        return "raw values: " + "; ".join(inputs["names"])
    return "raw values"


def _origin(card: dict[str, Any]) -> str:
    data, export = card["data"], card.get("export", {})
    rows = data["examples"]
    versions = export.get("versions") or card["versions"]
    regression = card.get("regression") or "ridge"  # older cards don't say it
    facts = [
        ("data", f"{data['name']}, {data['source']}"),
        ("licence of the data", data["licence"] or "not known"),
        ("fingerprint of the data", data["fingerprint"]),
        ("examples", " training, ".join(map(str, rows)) + " test" if rows else "not known"),
        ("protocol", card["protocol"]),
        ("scalings", f"gamma {card['gamma']:g}, alpha {card['alpha']:g}"),
        ("nodes", f"{card['kept']} of {card['width']}"),
        ("readout", f"refitted ({regression} regression)" if card["refit"] else "as trained"),
        ("seed", card["seed"]),
        ("weights", "float16, computed with in float32" if export.get("half") else "float32"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    commands = "\n".join(card["commands"])
    known = table([["", ""], ["---", "---"], *([name, str(fact)] for name, fact in facts)])
    return f"{known}\n\n```sh\n{commands}\n```"


def table(rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the second row holds the dashes below the header."""
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    )
