"""The short form of leak.py."""

import os
import pathlib
import subprocess
import sys

from conftest import PACKAGE


def test_calls_streams_and_resources_leave_nothing():
    program = pathlib.Path(__file__).parent / "leak.py"
    out = subprocess.run([sys.executable, program, "20000", "3000", "3000"], capture_output=True, text=True,
                         timeout=170, env={**os.environ, "PYTHONPATH": str(PACKAGE)})
    assert (out.returncode, out.stderr) == (0, ""), out.stdout + out.stderr
