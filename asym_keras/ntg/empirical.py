"""The empirical neural tangent Gram (NTG) matrix of a Keras model."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.backend import require_tensorflow
from asym_keras.evaluator import complete
from asym_keras.fingerprint import PerModel
from asym_keras.inputs import as_inputs
from asym_keras.ntg.assembly import Compiled, assemble
from asym_keras.ntg.choice import Choice, choose
from asym_keras.ntg.evidence import agrees
from asym_keras.ntg.factors import gram
from asym_keras.ntg.jacobian import jacobian_factors
from asym_keras.ntg.precision import at_precision, computes_in_less
from asym_keras.ntg.shallow import find_shallow_layer, kept_for, shallow_gradients, shallow_ntg
from asym_keras.ntg.structured import known_variables, structured_factors
from asym_keras.pairs import pair_of

logger = logging.getLogger(__name__)

METHODS = ("auto", "jacobian", "structured", "closed_form")

# Of each model as it is: a compiled function of another activation is not the model's.
_compiled = PerModel()


def empirical_ntg(
    model: keras.Model,
    x: Any,
    x2: Any = None,
    *,
    output: int | str | tuple = 0,
    variables: Any = None,
    method: str = "auto",
    batch_size: int | None = None,
    dtype: Any = None,
) -> tf.Tensor:
    """Neural tangent Gram (NTG) matrix of `model` at its current weights, Eq. (6)-(7).

    Entry `(i, k)` is the inner product of the gradients of `f(x_i)` and `f(x2_k)` with
    respect to `variables`, the model being in inference. With `x2=None` the matrix is
    symmetric and positive semi-definite. Frozen weights do not count.

    The fast ways are taken where the model's graph of layers shows all that happens. Besides, the
    first time that a model is seen, and again when more than its weights has changed, the
    gradients of two examples are compared with the definition, one backward pass each. If they
    differ, `"auto"` takes the Jacobian and says so in the log.

    Args:
        model: built Keras model, `(n, ...)` -> `(n, K)` or `(n,)`, or several such outputs.
        x: examples (n, ...); of a model with several inputs, a list or dict of such arrays, as
            the model takes it.
        x2: examples (n2, ...), for the cross matrix, also of other sizes (shorter sequences, say)
            than those of `x`. None: `x`.
        output: int, which of the K outputs; `"trace"`, the mean of their K matrices; or
            `"all"`, inner products for every pair of outputs. Of a model with several outputs:
            the name or the index of one, or a pair of that and one of these, `("price", "all")`.
        variables: what to differentiate by. None: `model.trainable_variables`.
        method: `"jacobian"`, rows of the Jacobian by `tf.GradientTape`: any model;
            `"structured"`, layer by layer without the Jacobian: functional and Sequential
            models whose layers reach no weights but their own. Weights of Dense, AsymScaledDense,
            Conv2D, BatchNormalization and Embedding layers; the Jacobian for other weights, if
            there are any;
            `"closed_form"`, Eq. (7), for `shallow_network`;
            `"auto"`: the fastest of these that applies.
        batch_size: examples that go through the model at once. Changes speed and memory,
            not the result. None: by size; what is held beside the result is about 256 MiB.
        dtype: to compute in, model and all. None: that of the variables, also under mixed
            precision. Small eigenvalues can be trusted in float64 only.

    Returns:
        Tensor (n, n2), or (n, K, n2, K) for `output="all"`, of `dtype`.

    Raises:
        ValueError: An unknown method, no such output, a method or dtype that does not
            apply, a batch_size below 1, no variables, or others than the model's; no examples, or
            not as the model takes them; a model in which the examples of a batch meet.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.empirical_ntg(model, np.ones((5, 3), "float32")).shape
        TensorShape([5, 5])
    """
    require_tensorflow("empirical_ntg")
    if method not in METHODS:
        raise ValueError(f"empirical_ntg: expected method in {METHODS}, received {method!r}.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"empirical_ntg: expected batch_size of at least 1, or None, received {batch_size}."
        )
    closed = method in ("auto", "closed_form") and variables is None
    layer = find_shallow_layer(model) if closed else None
    given, kind = (x, x2), dtype or (layer.variable_dtype if layer else None)
    x, x2 = (None if a is None else as_inputs(model, a, dtype=kind) for a in given)
    for tensor in tf.nest.flatten((x, x2)):
        if isinstance(tensor, (tf.RaggedTensor, tf.SparseTensor)):
            raise ValueError(
                f"empirical_ntg: expected dense arrays, received a {type(tensor).__name__}. Pad it "
                "(to_tensor, tf.sparse.to_dense)."
            )
    complete(model, x)
    choice = choose(model, x, output)
    if layer is not None and not _closed_form_holds(model, layer, x, choice):
        layer = None
    if method == "closed_form" and layer is None:
        raise ValueError(
            "empirical_ntg: expected for method='closed_form' a model of one trainable "
            "AsymScaledDense with outputs, and nothing else, and variables=None, "
            f"received {model.name!r}. Use method='auto'."
        )
    if layer is not None:
        options = {"output": choice.column, "dtype": dtype, "batch_size": batch_size}
        return shallow_ntg(layer, x, x2, **options)
    if variables is None:
        variables = model.trainable_variables
    variables = [variables] if isinstance(variables, keras.Variable) else variables
    variables = list({id(v): v for v in variables}.values())  # each once
    exact, variables = _at_dtype(model, variables, dtype)
    if exact is not model or kind is not None:
        x, x2 = (None if a is None else as_inputs(exact, a) for a in given)
    model, kept = exact, _compiled(exact)
    same = x2 is None or _sizes(x) == _sizes(x2)
    known: list = []
    if method != "jacobian" and same:  # asked once while the model stays what it is
        key = ("known", *map(id, variables))
        kept[key] = known = kept[key] if key in kept else known_variables(model, variables)
    if method == "structured" and not known:
        fault = f"{model.name!r} without any" if same else f"sizes {_sizes(x)} and {_sizes(x2)}"
        raise ValueError(
            "empirical_ntg: expected for method='structured' a functional or Sequential model "
            "with weights in layers of known classes, which reach no other weights, and x2 of the "
            f"sizes of x, received {fault}. Use method='jacobian'."
        )
    compiled = _compile(kept, model, x, choice, variables, known, method)
    columns = None if same else _compile(kept, model, x2, choice, variables, known, method)
    matrix = assemble(compiled, x, x2, batch_size=batch_size, columns=columns)
    several = choice.column == "trace" and choice.columns > 1
    return matrix / choice.columns if several else matrix


def _sizes(x) -> list:
    """Shapes of one example of each input."""
    return [tuple(t.shape[1:]) for t in tf.nest.flatten(x)]


def _closed_form_holds(model, layer, x, choice: Choice) -> bool:
    """Whether Eq. (7) gives the NTG of `model`, tried once for its activation as it is."""
    kept = kept_for(layer)
    holds, sure = kept.get("holds", (True, False))
    if sure:
        return holds
    pair, telling = pair_of(x)
    if telling or "holds" not in kept:
        dtype = tf.as_dtype(layer.variable_dtype)
        exact = at_precision(model, dtype) if computes_in_less(model) else model
        [gradients] = shallow_gradients(layer, choice.last.column, dtype)(pair)
        holds = agrees(
            gram(gradients, gradients, False), exact, pair, exact.trainable_variables, choice
        )
        kept["holds"] = holds, telling
        if not holds:
            logger.warning(
                "NTG of %s: the closed form is not what backward passes give; not taken", model.name
            )
    return holds


def _at_dtype(model, variables: list, dtype):
    """The model in `dtype`, and in it the counterparts of `variables`."""
    if not variables:
        raise ValueError(
            "empirical_ntg: expected at least one variable, received none. Unfreeze a layer "
            "(trainable=True), or name variables=."
        )
    places = {id(w): place for place, w in enumerate(model.weights)}
    strangers = [str(getattr(v, "path", v)) for v in variables if id(v) not in places]
    if strangers:
        raise ValueError(
            f"empirical_ntg: expected variables of {model.name!r}, received "
            f"{', '.join(strangers)}, which are not among its weights."
        )
    if dtype is None and not computes_in_less(model):
        return model, variables
    dtype = dtype or np.result_type(*(tf.as_dtype(v.dtype).as_numpy_dtype for v in variables))
    copy = at_precision(model, dtype)
    return copy, [copy.weights[places[id(v)]] for v in variables]


def _compile(kept: dict, model, x, choice: Choice, variables, known, method: str) -> Compiled:
    """Gradients of any number of examples like `x`; compiled once per model and shape.

    An eager `tape.jacobian` would be traced at each call.

    Args:
        kept: what has been compiled for the model as it is now.
    """
    signature = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
    specs = tuple(tf.nest.flatten(signature))
    key = (choice, *specs, tuple(map(id, variables)), tuple(map(id, known)), method)
    compiled, sure = kept.get(key, (None, False))
    if not sure:
        pair, sure = pair_of(x)
        # What agreed on examples that could not tell is asked again where they can.
        if compiled is None or (
            sure and not agrees(compiled.of_last_output(pair), model, pair, variables, choice)
        ):
            compiled = _checked(model, pair, signature, choice, variables, known, method)
        kept[key] = compiled, sure
    return compiled


def _checked(model, pair, signature, choice, variables, known, method) -> Compiled:
    """The fastest way that gives, for two examples, what the definition gives."""
    every = choice.columns if choice.column == "all" else None
    ways = [(known, True)] if known else []
    if method != "structured":
        ways += [([], True), ([], False)]
    for place, (taken, vectorised) in enumerate(ways):
        others = [v for v in variables if id(v) not in map(id, taken)]
        named = _describe(model, taken, others, vectorised)
        compiled = Compiled(_factors(model, choice, taken, others, vectorised), signature, every)
        if agrees(compiled.of_last_output(pair), model, pair, variables, choice):
            # Said aloud if it is not the way that was expected.
            logger.log(logging.WARNING if place else logging.INFO, "%s", named)
            return compiled
        logger.warning("%s: not what backward passes of two examples give; not taken", named)
    raise ValueError(
        f"empirical_ntg: expected outputs of {model.name!r} that depend, each, on its own example "
        "and on nothing random, received gradients that change with the other examples of the "
        "batch or from call to call. Take the part of the model that mixes or draws out."
    )


def _describe(model, known, others, vectorised: bool) -> str:
    named = f" ({', '.join(v.path for v in others)})" if known and others else ""
    rows = "" if vectorised else ", row by row"
    return (
        f"NTG of {model.name}: structured for {len(known)} weights, jacobian for "
        f"{len(others)}{named}{rows}"
    )


def _factors(model, choice: Choice, known, others, vectorised: bool) -> Callable:
    # A strong reference would keep the model alive for as long as the cache.
    reference = weakref.ref(model)

    def factors(x):
        model = reference()
        found = structured_factors(model, x, known, choice.outputs) if known else []
        if not others:
            return found
        rows = jacobian_factors(model, x, others, choice.outputs, vectorised=vectorised)
        return found + rows

    return factors
