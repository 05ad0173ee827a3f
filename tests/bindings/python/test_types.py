"""The types that the package ships."""

import os
import pathlib
import subprocess
import sys

from conftest import PACKAGE

HERE = pathlib.Path(__file__).parent


def mypy(tmp_path, *arguments):
    return subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, *arguments],
                          capture_output=True, text=True, timeout=170, cwd=PACKAGE,
                          env={**os.environ, "MYPYPATH": str(PACKAGE)})


def test_package_and_a_program_pass_strictly(tmp_path):
    assert (PACKAGE / "lever" / "py.typed").exists()
    result = mypy(tmp_path, "lever", HERE / "typed_program.py")
    assert result.returncode == 0, result.stdout + result.stderr


def test_wrong_programs_are_told(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import lever\nlever.Client(host=5)\nlever.Client().call('/a/b', timeout='x')\n"
                     "lever.Nothing()\n")
    result = mypy(tmp_path / "cache", wrong)
    lines = [line for line in result.stdout.splitlines() if ": error:" in line]
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4"], result.stdout
