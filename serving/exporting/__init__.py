"""From a run, a preset or a Keras model to a checked version folder for the model server.

`packaging` turns a run into a Keras model of raw values (`wrapping`) and a card. `sources` finds
what a command names. `writing` turns a packaged model into a version: `network` and `folding` make
functions of constants, `saved_model` and `warmup` write the files, `check` compares their answers
with the model's as far as `rounding` allows, and `half` measures what float16 weights cost.
`nan_guard` sees to it that a SavedModel answers NaN wherever the model does. For nested networks
`nested_packaging` takes the place of `packaging`, and `nested` that of `writing`.

Any other Keras model goes through `own_files` (reads it), `interface` (its inputs and outputs by
name), `heads` (Classify and Regress), `rows` (inputs to try it on), `any_model` (writes it),
`any_check` and `any_card`. `exports` has the one function that exports all kinds.
"""
