"""Serving with TensorFlow Serving: export, the server, its preview, clients and a demo.

    python -m serving.export RUN --keep 100 --refit --name mnist_gamma0_k100
    python -m serving.serve --models saved_models --preview
    python -m serving.client predict --model mnist_gamma0_k100 --input digit.png

`package` makes of a run a network that takes raw values, and `export` a SavedModel of it; `serve`
starts a server, `client` asks it, and `demo` shows it in a browser. Packages of the extra `serving`
are imported when they are used.
"""
