"""Functions compiled once, for one shape."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def traced_once(function: Callable, *, jit_compile: bool) -> Callable:
    """`tf.function(function)`, traced at its first call and never again.

    For a function of one model, called with tensors of one structure, shape and dtype. Other
    arguments are TensorFlow's error; a `tf.function` would trace anew. TensorFlow also warns of
    retracing where one piece of Python code is traced for one model after another, though each of
    the functions is traced once: it counts by code. Nothing is counted here, nor need it be.

    As in Keras, a Python `if` or `for` over tensors is not rewritten into TensorFlow's (AutoGraph):
    that would take longer than the tracing itself.

    Args:
        function: of tensors, in any structure; of no other arguments.
        jit_compile: whether XLA compiles it.
    """
    concrete = None

    def call(*arguments):
        nonlocal concrete
        if concrete is None:
            compiled = tf.function(function, jit_compile=jit_compile, autograph=False)
            concrete = compiled.get_concrete_function(*arguments)
        return concrete(*arguments)

    return call
