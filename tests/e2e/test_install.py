"""A host from what `cmake --install` lays down. (Building against it is tests/capi/install_test.sh.)"""

import json
import pathlib
import shutil
import subprocess

import pytest
from lever_testing import BUILD, ROOT, Host, open_directory


@pytest.fixture
def prefix():
    path = pathlib.Path(open_directory())
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(path)], check=True,
                   capture_output=True)
    yield path
    shutil.rmtree(path)


def test_an_installed_host_serves(prefix):
    with Host(build=prefix) as host:
        host.deploy(ROOT / "examples" / "hello")
        assert host.invoke("/hello/sayHello", "Ann") == "Hello, Ann!"
        assert json.loads(host.cli("--json", "version").ok().out)
