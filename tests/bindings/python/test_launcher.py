"""Services with `pyEntry` under a real host."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, PACKAGE

os.environ["LEVER_BUILD_DIR"] = str(BUILD)
from lever_testing import Host, reachable_python, wait_until, write_service  # noqa: E402

import lever  # noqa: E402

HELLO = """
import lever

@lever.method
async def say_hello(name: str) -> str:
    return f"Hello, {name}!"

@lever.method
async def echo_chan(stream, greeting):
    await stream.write(greeting)
    async for message in stream:
        await stream.write(message)

@lever.method
def plain(name):
    context = lever.context()
    client = lever.SyncClient()
    with client.stream("/hello/echo_chan", "streamed") as stream:
        streamed = next(stream)
    return [context.client.invoke("/hello/say_hello", name), client.invoke("/hello/say_hello", name),
            streamed, context.config, context.service.version, lever.__file__]

@lever.method
async def chained(name):
    return [await lever.context().client.invoke("/hello/say_hello", name), lever.context().caller,
            await lever.Client().invoke("/hello/caller")]

@lever.method
async def caller():
    return lever.context().caller

@lever.method
async def blocking():
    return lever.SyncClient().invoke("/hello/say_hello", "a")

async def helper():
    return 1
"""


@pytest.fixture(scope="module")
def host():
    with Host("--python", reachable_python()) as host:
        yield host


@pytest.fixture
def client(host):
    with lever.SyncClient(host.address) as client:
        yield client


def test_service_is_deployed_and_called(host, client, tmp_path):
    host.deploy(write_service(tmp_path, {"service.py": HELLO}, name="hello", pyEntry="service.py",
                              config={"greeting": "hi"}))
    assert host.cli("invoke", "/hello/say_hello", '"Ann"').json() == "Hello, Ann!"
    assert client.invoke("/hello/say_hello", "Ann") == "Hello, Ann!"
    answers = client.invoke("/hello/plain", "Ann")
    assert answers[:5] == ["Hello, Ann!", "Hello, Ann!", "streamed", {"greeting": "hi"}, 1]
    assert client.invoke("/hello/chained", "Ann") == ["Hello, Ann!", "", "lever://dev.lever/hello"]
    with client.stream("/hello/echo_chan", "hi") as stream:
        for i in range(100):
            stream.write(i)
        stream.end()
        assert list(stream) == ["hi", *range(100)]
    with pytest.raises(lever.MethodError, match="event loop"):
        client.invoke("/hello/blocking")
    with pytest.raises(lever.LeverError) as error:
        client.invoke("/hello/helper")
    assert error.value.executed == "no"
    (instance,) = host.instances("hello")
    assert instance["runtime"].startswith("python 3.")


def failing(host, tmp_path, name, files):
    """What the caller of a service that does not start is told."""
    host.deploy(write_service(tmp_path, files, name=name, pyEntry="service.py"))
    with lever.SyncClient(host.address) as client:
        with pytest.raises(lever.LeverError) as error:
            client.call(f"/{name}/a", timeout=20)
    assert error.value.executed == "no"
    return str(error.value)


def test_reasons_of_a_failed_start_are_told(host, tmp_path):
    assert "ZeroDivisionError" in failing(host, tmp_path / "1", "zero", {"service.py": "1 / 0"})
    assert "SyntaxError" in failing(host, tmp_path / "2", "syntax", {"service.py": "def"})
    assert "@lever.method" in failing(host, tmp_path / "3", "empty", {"service.py": "x = 1"})
    assert "sys.exit was here" in failing(
        host, tmp_path / "4", "leaves", {"service.py": "import sys; sys.exit('sys.exit was here')"})
    assert "No module named 'nothing_like_it'" in failing(
        host, tmp_path / "5", "missing", {"service.py": "import nothing_like_it"})


def test_bundle_brings_its_own_packages(host, client, tmp_path):
    write_service(tmp_path, {
        "service.py": "import lever, helper, inner.deep\n@lever.method\nasync def which():\n"
                      "    return [helper.WHAT, inner.deep.WHAT, lever.__file__]\n",
        "helper.py": "WHAT = 'a module of the bundle'\n",
        "inner/__init__.py": "", "inner/deep.py": "WHAT = 'deep'\n",
    }, name="own", pyEntry="service.py")
    # A package of the bundle's own comes before the host's.
    subprocess.run(["cp", "-r", PACKAGE / "lever", tmp_path / "lever"], check=True)
    host.deploy(tmp_path)
    helper, deep, where = client.invoke("/own/which")
    assert (helper, deep) == ("a module of the bundle", "deep")
    assert "/runtime/python/" not in where


def test_numpy_is_installed_by_the_build_step(host, client, tmp_path):
    # As `"build": ["pip", "install", "--target", ".", "numpy"]` does, from what the tests have installed.
    import numpy
    packages = pathlib.Path(numpy.__file__).parents[1]
    copy = ["sh", "-c", f"cp -r {packages}/numpy {packages}/numpy.libs ."]
    host.deploy(write_service(tmp_path, {
        "service.py": "import lever, numpy\n@lever.method\ndef solve(a, b):\n"
                      "    return numpy.linalg.solve(numpy.array(a), numpy.array(b)).tolist()\n"
                      "@lever.method\nasync def scalars():\n"
                      "    return [numpy.int64(2**62), numpy.float64(0.5), numpy.arange(3).tolist()]\n",
    }, name="numeric", pyEntry="service.py", build=copy), timeout_s=120)
    assert client.call("/numeric/solve", [[[2, 0], [0, 4]], [2, 8]], timeout=60) == [1.0, 2.0]
    assert client.invoke("/numeric/scalars") == [2**62, 0.5, [0, 1, 2]]


def test_drained_instance_ends_with_0(host, client, tmp_path):
    source = HELLO + "\nprint('started', flush=True)\nimport atexit\n"
    write_service(tmp_path, {"service.py": source}, name="again", pyEntry="service.py")
    host.deploy(tmp_path)
    assert client.invoke("/again/say_hello", "a") == "Hello, a!"
    (before,) = host.instances("again")
    (tmp_path / "service.py").write_text(source + "# edited\n")
    host.deploy(tmp_path)  # a new version: the old one is drained
    assert client.invoke("/again/say_hello", "b") == "Hello, b!"
    wait_until(lambda: before["pid"] not in [row["pid"] for row in host.instances("again")])
    assert "started" in host.log_text()


def test_launcher_without_a_host_says_what_is_wrong():
    launcher = PACKAGE / "lever" / "launcher.py"
    result = subprocess.run([sys.executable, launcher], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1, "lever: usage: python3 launcher.py ENTRY\n")
    result = subprocess.run([sys.executable, launcher, "nothing.py"], capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 1 and result.stderr.strip()
