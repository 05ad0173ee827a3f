"""The service of the matrix in Python: tests/matrix/README.md says what each method does.

    python3 service.py NAME
"""
import asyncio
import collections
import signal
import sys

import lever
from describe import describe

WAIT_S = 30

cancelled = set()  # tokens whose caller was seen to go
taken = collections.Counter()  # messages of floodChan, by token
released = collections.defaultdict(asyncio.Event)


@lever.method
async def echo(value):
    return value


@lever.method(name="describe")
async def describe_value(value):
    return describe(value)


@lever.method
async def size(data):
    return len(data)


@lever.method
async def produce(n):
    return bytes(n)


@lever.method
async def fail(value):
    raise lever.MethodError(value)


@lever.method
async def failBytes(data):
    raise lever.MethodError(data)


@lever.method
async def throwObject(message):
    raise ValueError(message)


@lever.method
async def remaining():
    left = lever.context().remaining
    return None if left is None else int(left * 1000)


@lever.method
async def sleep(ms):
    await asyncio.sleep(ms / 1000)


async def wait_until_gone(token):
    try:
        await asyncio.sleep(WAIT_S)
    except asyncio.CancelledError:
        cancelled.add(token)
        raise


@lever.method
async def waitCancel(token):
    await wait_until_gone(token)


@lever.method
async def wasCancelled(token):
    return token in cancelled


@lever.method
async def metadata(name):
    return lever.context().metadata.get(name)


@lever.method
async def flooded(token):
    return taken[token]


@lever.method
async def release(token):
    released[token].set()


@lever.method
async def echoChan(stream, greeting):
    await stream.write(greeting)
    count = 0
    async for message in stream:
        await stream.write(message)
        count += 1
    await stream.write(["end", count])


@lever.method
async def countChan(stream, n):
    for i in range(n):
        await stream.write(i)


@lever.method
async def sumChan(stream):
    total = 0
    async for message in stream:
        total += message
    await stream.write(total)


@lever.method
async def failChan(stream, k, value):
    for i in range(k):
        await stream.write(i)
    raise lever.MethodError(value)


@lever.method
async def floodChan(stream, token, size, count):
    message = bytes(size)
    for _ in range(count):
        await stream.write(message)
        taken[token] += 1


@lever.method
async def slowChan(stream, token):
    await asyncio.wait_for(released[token].wait(), WAIT_S)
    count = 0
    async for _ in stream:
        count += 1
    await stream.write(count)


@lever.method
async def waitCancelChan(stream, token):
    await stream.write("waiting")
    await wait_until_gone(token)


async def main(name):
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.read1() or end.set())
    service = lever.serve(sys.modules[__name__], name, listen="127.0.0.1:0")
    await service.attached()
    print("ready", service.details.listening, flush=True)
    await end.wait()
    loop.remove_reader(sys.stdin)
    await service.drain()
    await service.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
