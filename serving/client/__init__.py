"""Calls a model behind TensorFlow Serving, over REST or gRPC.

    from serving.client import connect

    with connect("http://localhost:8501", model="mnist_gamma0_k100") as client:
        answers = client.predict(images)

On the command line: `python -m serving.client predict|status|metadata|bench --help`.
"""

from serving.client.client import Client as Client
from serving.client.client import connect as connect
from serving.client.errors import ServingError as ServingError
from serving.client.status import ModelVersion as ModelVersion
