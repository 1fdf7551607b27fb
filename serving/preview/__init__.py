"""A preview of TensorFlow Serving, for development and tests; not for production.

It answers a short list of `tensorflow_model_server`'s calls on the same SavedModels, with the
server's own protos, number formats and errors:

- REST: `GET /v1/models/NAME`, the same `/metadata`, `POST ...:predict`, `:classify`, `:regress`,
  each with `/versions/N` or `/labels/LABEL`;
- gRPC: `Predict`, `Classify`, `Regress`, `GetModelMetadata` of `PredictionService` and
  `GetModelStatus` of `ModelService`.

Everything else is UNIMPLEMENTED (REST: a malformed request). Warm-up requests are run when a
version is loaded, which fails if one of them does. Where it differs on purpose:

- an input's shape is checked against the signature (the server leaves that to the kernels, some
  of which end the process);
- a damaged newest version is skipped at the start, too, in favour of the newest good one (the
  server would not start);
- warm-up requests for `MultiInference` are passed over;
- a request is limited in size (256 MB: 413) and time (a body that does not come: 408), few large
  ones are taken at once, and the address is the loopback by default.

It is started by `python -m serving.serve --preview`, and names itself in the header `Server`.
"""
