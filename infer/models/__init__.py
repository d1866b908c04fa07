"""Learned models: ONNX files by their digest, checked before they are run, warmed before use."""
