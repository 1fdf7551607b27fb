"""A preview of TensorFlow Serving, for development and tests; not for production.

It answers these calls of `tensorflow_model_server` for the same SavedModels, with the server's own
protos, number formats and errors:

- REST: `GET /v1/models/NAME`, the same `/metadata`, `POST ...:predict`, `:classify`, `:regress`,
  each with `/versions/N` or `/labels/LABEL`;
- gRPC: `Predict`, `Classify`, `Regress`, `GetModelMetadata` of `PredictionService` and
  `GetModelStatus` of `ModelService`.

Every other call is UNIMPLEMENTED (over REST a malformed request). Warm-up requests run when a
version is loaded. If one of them fails, the version is not loaded. A `models.config` may change
while the preview runs, and `GET /monitoring/prometheus/metrics` has two of the server's metrics.
The preview differs from the server on purpose:

- it compares an input's shape with the signature (the server leaves that to the kernels, some of
  which end the process);
- if the newest version is damaged when the preview starts, it serves the newest good one (the
  server does not start);
- it leaves out warm-up requests for `MultiInference`;
- it limits the size of a request (413 beyond 256 MB) and the time that its body may take (408),
  reads few large requests at the same time, and listens on the loopback by default.

`python -m serving.serve --preview` starts it. It names itself in the header `Server`.
"""
