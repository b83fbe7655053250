"""The order in which the machine's BLAS adds, given by threads and processor, showed in the generated numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_cnn"
PROGRAM = """
import hashlib, sys, aot
net = aot.compile(sys.argv[1], data=sys.argv[2], name="digits")
print(hashlib.sha256("".join(net.files.values()).encode()).hexdigest())
"""


def test_threads_and_processor_leave_no_trace() -> None:
    machines = ({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "2"},
                {"OPENBLAS_CORETYPE": "Nehalem"}, {"OPENBLAS_CORETYPE": "Prescott"})
    made = {subprocess.run([sys.executable, "-c", PROGRAM, EXAMPLE / "model.onnx", EXAMPLE / "calib.npz"],
                           env={**os.environ, **machine}, capture_output=True, text=True, check=True).stdout
            for machine in machines}
    assert len(made) == 1
