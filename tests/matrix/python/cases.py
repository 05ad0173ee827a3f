"""The cases of the matrix, as a client in Python runs them: tests/matrix/README.md says what holds in each."""
import asyncio
import contextlib
import itertools
import os
import time

import lever
from describe import describe

# Raw bytes of this size are a message of exactly 4 MiB with their envelope.
LARGEST = 4_194_299
PIECES, PIECE_BYTES = 256, 65_536
# Credit, windows and queues between hold less than this.
HELD_MAX = 200

_numbers = itertools.count()


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def expect_equal(got, wanted, what):
    expect(got == wanted, f"{what}: got {str(got)[:200]}, wanted {str(wanted)[:200]}")


def token(kind):
    return f"{kind}-python-{os.getpid()}-{next(_numbers)}"


class Context:
    """A client, and the service that it calls."""

    def __init__(self, open_client, service):
        self.open_client = open_client
        self.client = open_client()
        self.service = service

    def address(self, method):
        return f"/{self.service}/{method}"

    async def invoke(self, method, *args):
        return await self.client.invoke(self.address(method), *args)

    async def call(self, method, args=(), **options):
        return await self.client.call(self.address(method), args, **options)

    def stream(self, method, *args):
        return self.client.stream(self.address(method), *args)


async def error_of(awaitable, kind):
    """The error of that kind which it ends with."""
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} came")


async def expect_code(awaitable, code, executed=None):
    error = await error_of(awaitable, lever.LeverError)
    expect_equal(error.code, code, "status")
    if executed is not None:
        expect_equal(error.executed, executed, "executed")


async def expect_cancelled(context, name):
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if await context.invoke("wasCancelled", name):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the service has not seen that its caller is gone")


async def error_value(context):
    error = await error_of(context.invoke("fail", {"code": 7, "why": "because"}), lever.MethodError)
    expect_equal(error.value, {"code": 7, "why": "because"}, "the error's value")


async def error_bytes(context):
    error = await error_of(context.invoke("failBytes", b"\x00\xff\x10"), lever.MethodError)
    expect_equal(error.value, b"\x00\xff\x10", "the error's bytes")


async def error_thrown(context):
    error = await error_of(context.invoke("throwObject", "out of cheese"), lever.MethodError)
    expect("out of cheese" in str(error), str(error))


async def deadline_context(context):
    in_time = await context.call("remaining", timeout=5)
    expect(0 < in_time <= 5000, f"of 5 s are left {in_time} ms")
    by_default = await context.invoke("remaining")
    expect(5000 < by_default <= 60000, f"of the default are left {by_default} ms")


async def deadline_exceeded(context):
    began = time.monotonic()
    error = await error_of(context.call("sleep", [10000], timeout=0.2), TimeoutError)
    expect_equal(error.code, "DEADLINE_EXCEEDED", "status")
    expect(time.monotonic() - began < 2, "it took 2 s or more")


async def cancel_call(context):
    name = token("call")
    task = asyncio.ensure_future(context.invoke("waitCancel", name))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    task.cancel()
    await error_of(task, asyncio.CancelledError)
    expect(time.monotonic() - began < 2, "it did not end at once")
    await expect_cancelled(context, name)


async def cancel_stream(context):
    name = token("stream")
    async with context.stream("waitCancelChan", name) as stream:
        expect_equal(await anext(stream), "waiting", "message")
        stream.cancel()
        await expect_code(anext(stream), "CANCELLED")
    await expect_cancelled(context, name)


async def metadata(context):
    sent = {"x-text": "some text", "x-data-bin": b"\x00\xff\x7f"}
    for name in ("x-text", "x-data-bin", "x-none"):
        expect_equal(await context.call("metadata", [name], metadata=sent), sent.get(name), name)


async def bytes_call(context):
    data = bytes((i * 7 + 128) % 256 for i in range(100_000))
    expect(await context.invoke("echo", data) == data, "other bytes came back")


async def stream_echo(context):
    async with context.stream("echoChan", "hi") as stream:
        async def write():
            for i in range(100):
                await stream.write(i)
            await stream.end()
        writing = asyncio.create_task(write())
        got = [message async for message in stream]
        await writing
    expect_equal(got, ["hi", *range(100), ["end", 100]], "messages")


async def stream_down(context):
    async with context.stream("countChan", 1000) as stream:
        expect_equal([message async for message in stream], list(range(1000)), "messages")


async def stream_up(context):
    async with context.stream("sumChan") as stream:
        for i in range(1000):
            await stream.write(i)
        await stream.end()
        expect_equal([message async for message in stream], [499_500], "messages")


async def stream_error(context):
    got = []
    async with context.stream("failChan", 3, {"at": 3}) as stream:
        async def read():
            async for message in stream:
                got.append(message)
        error = await error_of(read(), lever.MethodError)
    expect_equal(got, [0, 1, 2], "messages")
    expect_equal(error.value, {"at": 3}, "the error's value")


async def stream_both_ends(context):
    name = token("left")
    async with context.stream("waitCancelChan", name) as stream:
        async for message in stream:
            expect_equal(message, "waiting", "message")
            break
    await expect_cancelled(context, name)


async def pressure_down(context):
    name = token("flood")
    async with context.stream("floodChan", name, PIECE_BYTES, PIECES) as stream:
        await asyncio.sleep(0.3)
        taken = await context.invoke("flooded", name)
        expect(taken < HELD_MAX, f"{taken} messages were taken that nobody read")
        count = 0
        async for _ in stream:
            count += 1
    expect_equal(count, PIECES, "how many came")


async def pressure_up(context):
    name = token("slow")
    written = 0
    async with context.stream("slowChan", name) as stream:
        async def write():
            nonlocal written
            piece = bytes(PIECE_BYTES)
            for _ in range(PIECES):
                await stream.write(piece)
                written += 1
            await stream.end()
        writing = asyncio.create_task(write())
        last = -1
        while written != last:
            last = written
            await asyncio.sleep(0.3)
        expect(written < HELD_MAX, f"{written} messages were taken that nobody read")
        await context.invoke("release", name)
        await writing
        expect_equal([message async for message in stream], [PIECES], "what it answers")


async def limit_request(context):
    expect_equal(await context.invoke("size", b"x" * LARGEST), LARGEST, "the size of what fits")
    await expect_code(context.invoke("size", b"x" * (LARGEST + 1)), "RESOURCE_EXHAUSTED")


async def limit_reply(context):
    expect_equal(len(await context.invoke("produce", LARGEST)), LARGEST, "the size of what fits")
    await expect_code(context.invoke("produce", LARGEST + 1), "RESOURCE_EXHAUSTED")


async def unknown_method(context):
    await expect_code(context.invoke("noSuchMethod"), "NOT_FOUND", "no")


async def unknown_service(context):
    await expect_code(context.client.invoke("/nobody/sayHello"), "NOT_FOUND", "no")


async def close_in_flight(context):
    second = context.open_client()
    call = asyncio.ensure_future(second.invoke(context.address("sleep"), 10000))
    async with contextlib.AsyncExitStack() as stack:
        stream = await stack.enter_async_context(second.stream(context.address("echoChan"), "hi"))
        expect_equal(await anext(stream), "hi", "greeting")
        began = time.monotonic()
        await second.close()
        await expect_code(call, "CANCELLED")
        await expect_code(anext(stream), "CANCELLED")
    expect(time.monotonic() - began < 2, "it did not end at once")


def value_case(value, own, expected):
    """`own`: what this client's value is described as; `expected`: what arrives at the service, and back."""
    async def run(context):
        expect_equal(describe(value), own, "the value here")
        expect_equal(await context.invoke("describe", value), expected, "what the service got")
        expect_equal(describe(await context.invoke("echo", value)), expected, "what came back")
    return run


CASES = {
    "error.value": error_value, "error.bytes": error_bytes, "error.thrown": error_thrown,
    "deadline.context": deadline_context, "deadline.exceeded": deadline_exceeded,
    "cancel.call": cancel_call, "cancel.stream": cancel_stream, "metadata": metadata, "bytes": bytes_call,
    "stream.echo": stream_echo, "stream.down": stream_down, "stream.up": stream_up,
    "stream.error": stream_error, "stream.both_ends": stream_both_ends, "pressure.down": pressure_down,
    "pressure.up": pressure_up, "limit.request": limit_request, "limit.reply": limit_reply,
    "unknown.method": unknown_method, "unknown.service": unknown_service,
    "close.in_flight": close_in_flight,
}
