"""Models in: every file format is read by a module of this folder, and by nothing else."""

from aot.frontend.onnx import Loaded, Survey, load, survey

__all__ = ["Loaded", "Survey", "load", "survey"]
