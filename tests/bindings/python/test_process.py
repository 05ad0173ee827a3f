"""What a process does around its calls: forks, ends, shares itself with other libraries."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, PACKAGE

LIMIT_S = 60

def python(code, executable=sys.executable, **environment):
    """Runs a program; what it printed, and its exit code."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONFAULTHANDLER": "1", **environment}
    result = subprocess.run([executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S,
                            env=env)
    return result.stdout, result.stderr, result.returncode


def quietly(code, **options):
    """The same for a program that ends well and complains of nothing."""
    out, err, exit_code = python(code, **options)
    assert (err, exit_code) == ("", 0)
    return out


PRELUDE = """
import asyncio, os, socket, sys, threading, time
import lever
silent = socket.create_server(("127.0.0.1", 0))
address = f"127.0.0.1:{silent.getsockname()[1]}"
def child(work):
    "Runs work() in a forked child, which is given 20 seconds."
    pid = os.fork()
    if pid == 0:
        import signal
        signal.alarm(20)
        try:
            work()
        finally:
            sys.stdout.flush()
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""


def test_forked_child_gets_a_clear_error():
    out = quietly(PRELUDE + """
blocking = lever.SyncClient(echo=True)
client = lever.Client(echo=True)
async def main():
    assert await client.invoke("/a/b", 1) == [1]
    def work():
        for use in (lambda: blocking.invoke("/a/b"), lambda: blocking.stream("/a/chan"), blocking.stats):
            try:
                use()
            except lever.LeverError as error:
                print(error.code, error.executed)
        asyncio._set_running_loop(None)
        async def inner():
            try:
                await client.invoke("/a/b")
            except lever.LeverError as error:
                print(error.code, "new" in str(error))
            print(await lever.Client(echo=True).invoke("/a/b", "own"))
        asyncio.run(inner())
        print(lever.SyncClient(echo=True).invoke("/a/b", "own"))
        blocking.close()
    child(work)
    # The parent's own are as they were.
    assert await client.invoke("/a/b", 2) == [2]
    assert blocking.invoke("/a/b", 3) == [3]
assert blocking.invoke("/a/b", 1) == [1]
asyncio.run(main())
""")
    assert out.split("\n") == ["FORKED no"] * 3 + ["FORKED True", "['own']", "['own']", ""]


def test_child_that_ends_by_itself_leaves_the_parents_calls_alone():
    quietly(PRELUDE + """
async def main():
    service = lever.serve({"hang": asyncio.sleep}, "tested", host="127.0.0.1:1", listen="127.0.0.1:0")
    client = lever.Client(service.details.listening, only_through_host=True)
    call = client.invoke("/tested/hang", 0.3)
    await asyncio.sleep(0.1)
    pid = os.fork()
    if pid == 0:
        asyncio._set_running_loop(None)
        sys.exit(0)  # with everything that an interpreter does at its end
    assert os.waitpid(pid, 0)[1] == 0
    assert await call is None
    await service.close()
asyncio.run(main())
""")


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)"])
def test_end_with_calls_in_flight_is_clean(end):
    quietly(PRELUDE + f"""
async def main():
    client = lever.Client(address)
    calls = [client.invoke("/a/b", i) for i in range(100)]
    stream = client.stream("/a/chan")
    waiting = asyncio.create_task(stream.__anext__())
    service = lever.serve({{"a": lambda: 1}}, "tested", host="127.0.0.1:1", listen="127.0.0.1:0")
    await asyncio.sleep(0.01)
    {end}
asyncio.run(main())
""")


def test_end_while_threads_wait_is_clean():
    quietly(PRELUDE + """
client = lever.SyncClient(address)
for _ in range(4):
    threading.Thread(target=client.invoke, args=("/a/b",), daemon=True).start()
echo = lever.SyncClient(echo=True)
def busy():
    while True:
        echo.invoke("/a/b", bytes(1000), 1)
for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
def loop():
    async def main():
        client = lever.Client(echo=True)
        while True:
            await asyncio.gather(*(client.invoke("/a/b", i) for i in range(50)))
    asyncio.run(main())
threading.Thread(target=loop, daemon=True).start()
stream = echo.stream("/a/chan")
threading.Thread(target=lambda: list(stream), daemon=True).start()
time.sleep(0.3)
""")


def test_end_while_a_service_runs_in_a_thread_is_clean():
    quietly(PRELUDE + """
async def hang(): await asyncio.sleep(100)
service = lever.serve_in_thread({"hang": hang}, "tested", host="127.0.0.1:1", listen="127.0.0.1:0")
client = lever.SyncClient(service.details.listening, only_through_host=True)
threading.Thread(target=client.invoke, args=("/tested/hang",), daemon=True).start()
time.sleep(0.2)
""")


def test_loop_that_is_closed_under_a_plain_method_is_clean():
    quietly(PRELUDE + """
async def hang(): await asyncio.sleep(100)
def plain():
    try:
        lever.context().client.invoke("/tested/hang")
    except lever.LeverError as error:
        assert (error.code, error.executed) == ("CANCELLED", "unknown")
async def main():
    service = lever.serve({"plain": plain, "hang": hang}, "tested", host="127.0.0.1:1", listen="127.0.0.1:0")
    client = lever.Client(service.details.listening, only_through_host=True)
    client.invoke("/tested/plain")
    await asyncio.sleep(0.2)
loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)  # asyncio complains of the tasks that were left
loop.run_until_complete(main())
loop.close()
""")


def test_interrupt_ends_a_blocking_call():
    out = quietly(PRELUDE + """
import signal
client = lever.SyncClient(address)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
started = time.monotonic()
try:
    client.invoke("/a/b")
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - started < 5)
""")
    assert out == "interrupted True\n"


def test_interrupt_ends_a_loop():
    quietly(PRELUDE + """
import signal
async def main():
    client = lever.Client(address)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    await client.invoke("/a/b")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
""")


def test_loads_beside_grpcio_protobuf_and_ssl():
    quietly(PRELUDE + """
import ssl, hashlib
import grpc, google.protobuf.descriptor_pb2 as descriptors
from concurrent import futures
context = ssl.create_default_context()
assert descriptors.FileDescriptorProto(name="n").SerializeToString()
class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)
server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Echo()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
async def main():
    client = lever.Client(echo=True)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a/b")
        for i in range(50):
            assert call(b"x") == b"x"
            assert await client.invoke("/a/b", i) == [i]
            assert hashlib.sha3_256(b"x").digest()
asyncio.run(main())
server.stop(None).wait()
""")


def test_nothing_but_the_modules_entry_is_visible():
    for module in (PACKAGE / "lever").glob("_lever.*.so"):
        out = subprocess.run(["nm", "-D", "--defined-only", module], capture_output=True, text=True,
                             check=True).stdout
        assert [line.split()[-1] for line in out.splitlines()] == ["PyInit__lever"]
        needed = subprocess.run(["readelf", "-d", module], capture_output=True, text=True,
                                check=True).stdout
        for library in ("stdc++", "ssl", "crypto", "nghttp2", "lever"):
            assert f"lib{library}" not in needed


def other_pythons():
    """Every interpreter for which the build has made a module, by its tag."""
    for candidate in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if candidate.startswith("LEVER_PYTHONS_BUILT_FOR:INTERNAL="):
            return [path for path in candidate.partition("=")[2].split(";") if path]
    return []


@pytest.mark.parametrize("executable", other_pythons(), ids=lambda path: pathlib.Path(path).parts[-3])
def test_other_pythons_load_it(executable):
    out = quietly("""
import asyncio, lever
async def twice(x):
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    return 2 * x
async def main():
    if hasattr(asyncio, "eager_task_factory"):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    service = lever.serve({"twice": twice, "plain": lambda x: x}, "tested", host="127.0.0.1:1",
                          listen="127.0.0.1:0")
    client = lever.Client(service.details.listening, only_through_host=True)
    assert await asyncio.gather(*(client.invoke("/tested/twice", i) for i in range(100))) == [
        2 * i for i in range(100)]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.invoke("/tested/plain", {"a": [1]}))
    assert task.result() == {"a": [1]}
    try:
        await client.invoke("/tested/twice")
    except lever.MethodError as error:
        assert "argument" in str(error)
    await client.close()
    await service.close()
asyncio.run(main())
with lever.SyncClient(echo=True) as client:
    print(client.invoke("/a/b", 1))
""", executable=executable)
    assert out == "[1]\n"
