"""What `cmake --install` lays down is enough for programs outside of the tree."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory


@pytest.fixture(scope="module")
def prefix():
    path = pathlib.Path(open_directory())
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(path)], check=True,
                   capture_output=True)
    yield path
    shutil.rmtree(path)


def run(*words, **more):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def library_dir(prefix):
    (found,) = prefix.glob("**/liblever.so")
    return found.parent


def test_find_package_builds_the_cpp_example(prefix, tmp_path):
    run("cmake", "-S", ROOT / "examples" / "counter-cpp", "-B", tmp_path, "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DLEVER_MSGPACK_INCLUDE={ROOT}/.deps/msgpack-cxx/usr/include")
    run("cmake", "--build", tmp_path)
    assert (tmp_path / "bundle" / "serve").exists()


def test_pkg_config_builds_a_c_program(prefix, tmp_path):
    source = tmp_path / "version.c"
    source.write_text('#include <lever/lever.h>\n#include <stdio.h>\n'
                      'int main(void) { puts(lever_version()); return 0; }\n')
    environment = {**os.environ,
                   "PKG_CONFIG_PATH": str(library_dir(prefix) / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "lever", env=environment).split()
    run("cc", "-std=c11", "-o", tmp_path / "version", source, *flags)
    shown = run(tmp_path / "version", env={**environment,
                                           "LD_LIBRARY_PATH": str(library_dir(prefix))})
    assert shown.strip() == run("pkg-config", "--modversion", "lever", env=environment).strip()


def test_an_installed_host_serves(prefix):
    with Host(build=prefix) as host:
        host.deploy(ROOT / "examples" / "hello")
        assert host.invoke("/hello/sayHello", "Ann") == "Hello, Ann!"
        assert json.loads(host.cli("--json", "version").ok().out)
