"""Serving with TensorFlow Serving: export, the server, its preview, clients and a demo.

    python -m serving.export RUN --keep 100 --refit --name mnist_gamma0_k100
    python -m serving.serve --models saved_models --preview
    python -m serving.client predict --model mnist_gamma0_k100 --input digit.png

`package` makes a network that takes raw values of a run, `export` a SavedModel of it; `serve`
starts a server, `client` asks it, `demo` shows it. What needs the extra `serving` is imported when
it is used.
"""
