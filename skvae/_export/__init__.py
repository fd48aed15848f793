"""Fitted estimators as ONNX graphs, with one emitter per piece."""
