"""Ahead-of-time compiler from neural networks to fixed-point C for microcontrollers.

>>> import aot                                                              # doctest: +SKIP
>>> net = aot.compile("model.onnx", data=calib, target="cortex-m4")         # doctest: +SKIP
>>> net.write("firmware/model")                                             # doctest: +SKIP
"""

from aot.compiler import Net, Options, compile, search
from aot.diagnosis import doctor
from aot.errors import AotError, Problem
from aot.front import Front
from aot.health import Diagnosis

__version__ = "0.1.0"
__all__ = ["AotError", "Diagnosis", "Front", "Net", "Options", "Problem", "__version__", "compile", "doctor", "search"]
