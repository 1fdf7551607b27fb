"""From a run, a preset or a Keras model to a checked version folder for the model server.

`packaging` makes of a run a Keras model of raw values and its card (`wrapping`); `sources` finds
what a command names; `writing` makes a version of a packaged model: `network` and `folding` turn it
into functions of constants, `saved_model` and `warmup` write the files, `check` compares their
answers with the model's as far as `rounding` allows, and `half` measures what float16 weights cost.
`nan_guard` keeps NaN in every file.

Any other Keras model goes through `own_files`, `interface` (its inputs and outputs by name),
`heads` (Classify and Regress), `rows` (to try it on), `any_model`, `any_check` and `any_card`.
`exports` is the one function for all.
"""
