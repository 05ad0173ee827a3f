"""How the matrix's programs of each language are started.

Each entry of LANGUAGES makes the command of a program ("service" or "client") and the variables that it
needs beside the usual ones. What has to be built first is: by CMake, or here, once.
"""
import functools
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
HERE = ROOT / "tests" / "matrix"


def cpp(program):
    return [str(BUILD / "matrix" / "cpp" / program)], {}


def node(program):
    packages = BUILD / "runtime" / "node" / "node_modules"
    return [shutil.which("node"), str(HERE / "node" / f"{program}.js")], {"NODE_PATH": str(packages)}


def python(program):
    # Beside the package lies what it needs itself.
    return ([shutil.which("python3"), str(HERE / "python" / f"{program}.py")],
            {"PYTHONPATH": str(BUILD / "runtime" / "python")})


@functools.cache
def go_folder():
    folder = BUILD / "matrix" / "go"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(folder) + "/", "./..."], cwd=HERE / "go", check=True)
    return folder


def go(program):
    return [str(go_folder() / program)], {}


LANGUAGES = {"cpp": cpp, "node": node, "python": python, "go": go}
WAYS = {"tcp": "--tcp", "host": "--through-host", "introduced": "--introduced"}
