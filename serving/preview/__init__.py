"""A preview of TensorFlow Serving, for development and tests; not for production.

It answers a short list of `tensorflow_model_server`'s calls on the same SavedModels, with the
server's own protos, number formats and errors:

- REST: `GET /v1/models/NAME`, the same `/metadata`, `POST ...:predict`, `:classify`, `:regress`,
  each with `/versions/N` or `/labels/LABEL`;
- gRPC: `Predict`, `Classify`, `Regress`, `GetModelMetadata` of `PredictionService` and
  `GetModelStatus` of `ModelService`.

Every other call is UNIMPLEMENTED (over REST a malformed request). Warm-up requests run when a
version is loaded, and if one of them fails, so does the loading. A `models.config` may change,
and `GET /monitoring/prometheus/metrics` has two of the server's metrics. The preview differs on
purpose:

- it compares an input's shape with the signature (the server leaves that to the kernels, some of
  which end the process);
- at the start, too, it serves the newest good version if the newest one is damaged (the server
  does not start);
- it leaves out warm-up requests for `MultiInference`;
- it limits a request's size (413 beyond 256 MB) and the time that its body may take (408), reads
  few large requests at once, and listens on the loopback by default.

`python -m serving.serve --preview` starts it. It names itself in the header `Server`.
"""
