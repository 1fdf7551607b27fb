"""From a run, a preset or a Keras model to a checked version folder for the model server.

`packaging` makes of a run a Keras model of raw values and its card (`wrapping`); `sources` finds
what a command names; `writing` makes a version of a packaged model: `network` and `folding` turn it
into functions of constants, `saved_model` and `warmup` write the files, `check` compares their
answers with the model's, and `half` measures what float16 weights cost.
"""
