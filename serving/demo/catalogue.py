"""The list of models that the page shows, from their cards and from the model server."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from typing import Any

from serving.demo.cards import SHAPE, Facts, find_models
from serving.demo.settings import Settings
from serving.demo.upstream import Upstream, UpstreamError

START = "python -m serving.serve --models {models} --preview"


async def catalogue(settings: Settings, upstream: Upstream) -> dict[str, Any]:
    """The content of `/models.json`.

    Returns:
        A JSON object: `server` (URL), `problem` (text; None if the server is reachable), `start`
        (the command that starts a server) and `models`, which has for each model the fields of
        `Facts`, `name`, `version` (None if no version is served) and `problem` (why, or None).
    """
    cards = find_models(settings.models_dir)
    names = settings.models or tuple(cards)
    models: list[dict[str, Any]] = []
    start, problem = START.format(models=settings.models_dir), None
    try:
        asked = (_describe(name, cards.get(name), upstream) for name in names)
        models = await asyncio.gather(*asked)
    except UpstreamError as error:
        problem = str(error)
    except (AttributeError, KeyError, TypeError, ValueError):  # JSON of another form
        problem = f"what answers at {settings.server} is no TF Serving REST server"
    return {"server": settings.server, "start": start, "problem": problem, "models": models}


async def _describe(name: str, facts: Facts | None, upstream: Upstream) -> dict[str, Any]:
    content = await upstream.ask_json(f"/v1/models/{name}")
    entries = content.get("model_version_status", ())
    available = (int(entry["version"]) for entry in entries if entry["state"] == "AVAILABLE")
    version, problem = max(available, default=None), None
    if version is None:
        problem = content.get("error", "no version of it is available")
    elif facts is None:
        facts, problem = await _facts_from_metadata(name, upstream)
    known = dataclasses.asdict(facts or Facts())
    return {"name": name, "version": version, "problem": problem, **known}


async def _facts_from_metadata(name: str, upstream: Upstream) -> tuple[Facts, str | None]:
    """What the signatures of a model without a card tell of it, and a problem or None."""
    content = await upstream.ask_json(f"/v1/models/{name}/metadata")
    signatures = content.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
    widths = [_width(t) for t in signatures.get("serving_default", {}).get("inputs", {}).values()]
    pixels = math.prod(SHAPE)
    if widths != [pixels]:
        return Facts(), f"expected one input of {pixels} pixels, received inputs of {widths}"
    features = [_width(t) for t in signatures.get("features", {}).get("outputs", {}).values()]
    return Facts(nodes=features[0] if features else None), None


def _width(tensor: dict[str, Any]) -> int | None:
    """Columns of a `(None, d)` tensor."""
    sizes = [int(dim["size"]) for dim in tensor.get("tensor_shape", {}).get("dim", ())]
    return sizes[1] if len(sizes) == 2 and sizes[1] > 0 else None
