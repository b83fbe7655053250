"""Models in: every file format is read by a module of this folder, and by nothing else."""

from aot.frontend.onnx import Loaded, Survey, load, showing, survey
from aot.frontend.translate import Layer

__all__ = ["Layer", "Loaded", "Survey", "load", "showing", "survey"]
