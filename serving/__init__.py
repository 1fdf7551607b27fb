"""Serving with TensorFlow Serving: export and clients come in a later release."""
