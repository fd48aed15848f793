"""Fitted estimators as ONNX graphs, one emitter next to nothing else for each piece."""
