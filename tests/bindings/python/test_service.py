"""A service and clients on one event loop. No host is there: the service is called straight at its own address,
and keeps trying to attach."""

import asyncio
import contextlib
import datetime
import gc
import math
import threading
import time
import weakref

import pytest

import lever

NO_HOST = "127.0.0.1:1"


class Methods:
    def __init__(self):
        self.hanging = asyncio.Event()
        self.seen = {}

    @lever.method
    async def say_hello(self, name):
        return f"Hello, {name}!"

    @lever.method(name="sayHello")
    async def other_name(self, name):
        return f"hello, {name}"

    @lever.method
    async def add(self, a, b):
        await asyncio.sleep(0)
        return a + b

    @lever.method
    async def echo(self, *args):
        return args

    @lever.method
    async def raw(self, data):
        return data + data

    @lever.method
    async def raises(self, kind, *args):
        await asyncio.sleep(0)
        if kind == "method":
            raise lever.MethodError(*args)
        if kind == "fields":
            error = RangeError("too far")
            error.distance = 2**64 - 1
            error._hidden = object()
            raise error
        if kind == "unsendable":
            error = RangeError("too far")
            error.field = object()
            raise error
        if kind == "no text":
            class Odd(Exception):
                def __str__(self):
                    raise ValueError
            raise Odd
        raise KeyError(*args)

    @lever.method
    async def returns_object(self):
        return object()

    @lever.method
    async def context(self):
        await asyncio.sleep(0)
        context = lever.context()
        return {"deadline": context.deadline, "metadata": context.metadata, "caller": context.caller,
                "config": context.config, "service": context.service, "cancelled": context.cancelled,
                "remaining": context.remaining}

    @lever.method
    async def hang(self, name):
        self.seen[name] = "began"
        try:
            await self.hanging.wait()
        except asyncio.CancelledError:
            self.seen[name] = f"cancelled {lever.context().cancelled}"
            raise
        return "ended"

    @lever.method
    async def inner(self, address, name, timeout):
        return await lever.Client(address).call("/tested/hang", [name], timeout=timeout)

    @lever.method
    async def timeouts(self):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, i)) for i in range(3)]
        return [task.result() for task in tasks], asyncio.current_task() is not None

    @lever.method
    def plain(self, value):
        return value, threading.current_thread().name.startswith("lever-method"), lever.context().caller

    @lever.method
    def plain_raises(self):
        raise RangeError("plain")

    @lever.method
    def plain_sleeps(self, seconds):
        time.sleep(seconds)
        return "slept"

    @lever.method
    def plain_cancelled(self, name):
        self.seen[name] = "began"
        while not lever.context().cancelled:
            time.sleep(0.002)
        self.seen[name] = "cancelled"

    @lever.method
    def plain_calls(self):
        client = lever.context().client
        assert isinstance(client, lever.MethodClient)
        return "called"

    @lever.method
    async def echo_chan(self, stream, *args):
        for value in args:
            await stream.write(value)
        async for message in stream:
            await stream.write(message)

    @lever.method
    async def count_chan(self, stream, count, size):
        for i in range(count):
            self.seen["written"] = i
            await stream.write(bytes(size))

    @lever.method
    async def fail_chan(self, stream, count):
        for i in range(count):
            await stream.write(i)
        raise RangeError("after some")

    @lever.method
    async def hang_chan(self, stream, name):
        self.seen[name] = "began"
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            self.seen[name] = "cancelled"
            raise

    @lever.method
    async def upload_chan(self, stream):
        total = 0
        async for message in stream:
            total += len(message)
        await stream.write(total)

    @lever.method
    def plain_chan(self, stream, count):
        for i in range(count):
            stream.write(i)
        for message in stream:
            stream.write([message])

    async def not_a_method(self):
        return 1


class RangeError(Exception):
    pass


@pytest.fixture
def serving(run):
    """Runs `test(client, methods, service)` against a service that listens."""
    def run_with_service(test, **options):
        async def main():
            methods = Methods()
            service = lever.serve(methods, "tested", host=NO_HOST, listen="127.0.0.1:0", **options)
            client = lever.Client(service.details.listening, only_through_host=True)
            await test(client, methods, service)
            await client.close()
            await service.close()
        run(main())
    return run_with_service


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


def test_methods_answer(serving):
    async def test(client, methods, service):
        assert await client.invoke("/tested/say_hello", "Ann") == "Hello, Ann!"
        assert await client.invoke("/tested/sayHello", "Ann") == "hello, Ann"
        assert await client.invoke("/tested/add", 1, 2) == 3
        assert await client.invoke("/tested/echo") == []
        assert await client.invoke("/tested/raw", b"ab") == b"abab"
        sums = await asyncio.gather(*(client.invoke("/tested/add", i, i) for i in range(500)))
        assert sums == [2 * i for i in range(500)]
        assert (await client.call("/tested/echo", [{"k": "v" * 2000}], compress=True)) == [{"k": "v" * 2000}]
    serving(test)


@pytest.mark.parametrize("args, value", [
    (["method", {"any": 1}], {"any": 1}), (["method", b"raw"], b"raw"), (["method", None], None),
    (["fields"], {"name": "RangeError", "message": "too far", "distance": 2**64 - 1}),
    (["unsendable"], {"name": "RangeError", "message": "too far"}),
    (["no text"], {"name": "Odd", "message": "Odd"}),
    (["key", "k"], {"name": "KeyError", "message": "'k'"}),
], ids=str)
def test_what_a_method_raises_arrives(serving, args, value):
    async def test(client, methods, service):
        with pytest.raises(lever.MethodError) as error:
            await client.invoke("/tested/raises", *args)
        assert error.value.value == value
        if isinstance(value, dict) and "message" in value:
            assert str(error.value) == value["message"]
    serving(test)


def test_answer_that_cannot_be_sent_is_an_error(serving):
    async def test(client, methods, service):
        with pytest.raises(lever.MethodError, match="no value that can be sent"):
            await client.invoke("/tested/returns_object")
        with pytest.raises(lever.MethodError, match="unexpected keyword|positional argument"):
            await client.invoke("/tested/add", 1)
    serving(test)


def test_unknown_methods_do_not_run(serving):
    async def test(client, methods, service):
        for address in ("/tested/nothing", "/tested/not_a_method", "/other/say_hello"):
            with pytest.raises(lever.LeverError) as error:
                await client.invoke(address)
            assert error.value.executed == "no"
        for address in ("/tested/echo_chan",):
            with pytest.raises(lever.LeverError) as error:
                await client.invoke(address)
            assert (error.value.code, error.value.executed) == ("UNIMPLEMENTED", "no")
        with pytest.raises(lever.LeverError) as error:
            async for _ in client.stream("/tested/say_hello"):
                pass
        assert (error.value.code, error.value.executed) == ("UNIMPLEMENTED", "no")
    serving(test)


def test_method_sees_its_call(serving):
    async def test(client, methods, service):
        metadata = {"name": "text", "x-bin": b"\0\1", "twice": ["a", "b"]}
        seen = await client.call("/tested/context", timeout=5, metadata=metadata)
        left = seen["deadline"] - datetime.datetime.now(datetime.timezone.utc)
        assert 0 < left.total_seconds() <= 5 and 0 < seen["remaining"] <= 5
        assert {key: seen["metadata"][key] for key in metadata} == metadata
        assert (seen["caller"], seen["config"], seen["cancelled"]) == ("", None, False)
        assert seen["service"][0:2] == ["dev.lever", "tested"]
        assert lever.context() is None
    serving(test)


def test_methods_run_in_a_task_of_their_own(serving):
    async def test(client, methods, service):
        assert await client.invoke("/tested/timeouts") == [[0, 1, 2], True]
    serving(test)


def test_deadline_reaches_both_sides(serving):
    async def test(client, methods, service):
        with pytest.raises(TimeoutError) as error:
            await client.call("/tested/hang", ["a"], timeout=0.1)
        assert isinstance(error.value, lever.LeverError)
        assert error.value.code == "DEADLINE_EXCEEDED"
        await until(lambda: methods.seen["a"] == "cancelled True")
    serving(test)


def test_callers_cancel_cancels_the_method(serving):
    async def test(client, methods, service):
        task = asyncio.ensure_future(client.invoke("/tested/hang", "a"))
        await until(lambda: methods.seen.get("a") == "began")
        task.cancel()
        await until(lambda: methods.seen["a"] == "cancelled True")
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
    serving(test)


def test_callers_cancel_and_deadline_travel_on(serving):
    async def test(client, methods, service):
        address = service.details.listening
        call = client.invoke("/tested/inner", address, "a", 50)
        await until(lambda: methods.seen.get("a") == "began")
        call.cancel()
        await until(lambda: methods.seen["a"] == "cancelled True")
        with pytest.raises(TimeoutError):
            await client.call("/tested/inner", [address, "b", 50], timeout=0.1)
        await until(lambda: methods.seen.get("b") == "cancelled True")
    serving(test)


# ---- Plain functions ----

def test_plain_functions_run_in_a_pool(serving):
    async def test(client, methods, service):
        assert await client.invoke("/tested/plain", {"a": 1}) == [{"a": 1}, True, ""]
        with pytest.raises(lever.MethodError, match="plain"):
            await client.invoke("/tested/plain_raises")
        assert await client.invoke("/tested/plain_calls") == "called"
        # The loop goes on, and four of them sleep at a time.
        started = time.monotonic()
        sleeps = [client.invoke("/tested/plain_sleeps", 0.1) for _ in range(8)]
        assert await client.invoke("/tested/say_hello", "Ann") == "Hello, Ann!"
        assert not any(call.done() for call in sleeps)
        assert await asyncio.gather(*sleeps) == ["slept"] * 8
        assert 0.19 <= time.monotonic() - started < 0.7
    serving(test, threads=4)


def test_plain_function_sees_that_its_caller_is_gone(serving):
    async def test(client, methods, service):
        call = client.invoke("/tested/plain_cancelled", "a")
        await until(lambda: methods.seen.get("a") == "began")
        call.cancel()
        await until(lambda: methods.seen["a"] == "cancelled")
    serving(test)


def test_plain_streaming_method(serving):
    async def test(client, methods, service):
        async with client.stream("/tested/plain_chan", 3) as stream:
            await stream.write("a")
            await stream.end()
            assert [m async for m in stream] == [0, 1, 2, ["a"]]
    serving(test)


# ---- Streams ----

def test_stream_both_ways(serving):
    async def test(client, methods, service):
        async with client.stream("/tested/echo_chan", "hi", b"raw") as stream:
            assert await anext(stream) == "hi" and await anext(stream) == b"raw"
            for i in range(1000):
                await stream.write(i)
                assert await anext(stream) == i
            await stream.end()
            assert [m async for m in stream] == []
        async with client.stream("/tested/upload_chan") as stream:
            for _ in range(64):
                await stream.write(bytes(32 * 1024))
            await stream.end()
            assert [m async for m in stream] == [64 * 32 * 1024]
    serving(test)


def test_error_of_a_streaming_method_comes_behind_its_messages(serving):
    async def test(client, methods, service):
        seen = []
        with pytest.raises(lever.MethodError, match="after some"):
            async for message in client.stream("/tested/fail_chan", 100):
                seen.append(message)
        assert seen == list(range(100))
    serving(test)


def test_slow_reader_slows_the_method(serving):
    async def test(client, methods, service):
        count, size = 1000, 16 * 1024
        async with client.stream("/tested/count_chan", count, size) as stream:
            await anext(stream)
            before = -1
            while methods.seen["written"] != before:
                before = methods.seen["written"]
                await asyncio.sleep(0.1)
            assert before < count / 4
            assert len([m async for m in stream]) == count - 1
    serving(test)


def test_leaving_a_stream_cancels_its_method(serving):
    async def test(client, methods, service):
        async with client.stream("/tested/hang_chan", "a"):
            await until(lambda: methods.seen.get("a") == "began")
        await until(lambda: methods.seen["a"] == "cancelled")
        with pytest.raises(TimeoutError):
            async for _ in client.stream("/tested/hang_chan", "b", timeout=0.1):
                pass
        await until(lambda: methods.seen["b"] == "cancelled")
    serving(test)


# ---- The life of a service ----

def test_drain_finishes_what_runs(serving):
    async def test(client, methods, service):
        call = client.invoke("/tested/hang", "a")
        await until(lambda: methods.seen.get("a") == "began")
        draining = asyncio.create_task(service.drain())
        await until(lambda: service.state == "draining")
        methods.hanging.set()
        assert await call == "ended"
        await draining
        assert service.state == "drained"
        with pytest.raises(lever.LeverError) as error:
            await client.invoke("/tested/say_hello", "Ann")
        assert error.value.executed == "no"
    serving(test)


def test_close_ends_what_runs(serving):
    async def test(client, methods, service):
        call = client.invoke("/tested/hang", "a")
        await until(lambda: methods.seen.get("a") == "began")
        await service.close()
        with pytest.raises(lever.LeverError):
            await call
        assert service.state == "closed"
        await service.close()
        with pytest.raises(lever.LeverError, match="closed"):
            await service.drain()
    serving(test)


def test_closed_service_keeps_nothing_of_the_program(run):
    async def main():
        methods = Methods()
        seen = weakref.ref(methods)
        service = lever.serve(methods, "tested", host=NO_HOST, listen="127.0.0.1:0")
        client = lever.Client(service.details.listening, only_through_host=True)
        assert await client.invoke("/tested/say_hello", "Ann") == "Hello, Ann!"
        await client.close()
        await service.close()
        del methods, service
        await asyncio.sleep(0)  # out of the turn that has ended it
        gc.collect()
        assert seen() is None
    run(main())


@pytest.mark.parametrize("option, value", [
    ("max_concurrency", -1), ("max_concurrency", 1.5), ("drain_timeout", -1), ("drain_timeout", math.nan),
    ("drain_timeout", "1"), ("listen", 5), ("tls", {"cafile": "x"}),
], ids=str)
def test_bad_options_are_refused_by_name(run, option, value):
    async def main():
        service = lever.Service("tested", host=NO_HOST, **{option: value})
        seen = weakref.ref(service)
        with pytest.raises(lever.LeverError, match=f"^{option}: .* is expected$") as error:
            service.start()
        assert error.value.code == "INVALID_ARGUMENT"
        del service, error
        gc.collect()
        assert seen() is None
    run(main())


def test_endless_drain_is_an_option(run):
    async def main():
        async with lever.serve({"a": print}, "tested", host=NO_HOST, drain_timeout=math.inf):
            pass
    run(main())


def test_bad_services_are_refused(run):
    async def main():
        with pytest.raises(lever.LeverError, match="two methods"):
            lever.Service("tested").add({"a": print}).add({"a": print})
        with pytest.raises(lever.LeverError, match="name"):
            lever.Service("tested").add({"no name": print})
        with pytest.raises(lever.LeverError, match="name"):
            lever.method(name="no name")(print)
        with pytest.raises(lever.LeverError):
            lever.Service("no name!").start()
        with pytest.raises(lever.LeverError, match="threads"):
            lever.Service("tested", threads=0)
        with pytest.raises(lever.LeverError, match="started"):
            _ = lever.Service("tested").details
        with pytest.raises(lever.LeverError, match="started"):
            _ = lever.Service("tested").client
        with pytest.raises(lever.LeverError, match="started"):
            _ = lever.Service("tested").config
    run(main())


def test_decorator_and_async_with(run):
    async def main():
        service = lever.Service("tested", host=NO_HOST, listen="127.0.0.1:0")

        @service.method
        async def twice(value):
            return 2 * value

        @service.method(name="thrice")
        async def anything(value):
            return 3 * value

        async with service:
            client = lever.Client(service.details.listening, only_through_host=True)
            assert await client.invoke("/tested/twice", 2) == 4
            assert await client.invoke("/tested/thrice", 2) == 6
            await client.close()
        assert service.state == "closed"
    run(main())


def test_a_private_service_listens_over_tls_or_not_at_all(run):
    async def main():
        service = lever.serve({"a": lambda: 1}, "tested", host=NO_HOST, listen="tls:127.0.0.1:0", private=True)
        assert service.details.listening.startswith("tls:127.0.0.1:")
        await service.close()
        with pytest.raises(lever.LeverError, match="write tls: before it"):
            lever.serve({"a": lambda: 1}, "tested", host=NO_HOST, listen="127.0.0.1:0", private=True)
    run(main())


def test_served_service_is_not_started_again_by_async_with(run):
    async def main():
        async with lever.serve({"a": lambda: 1}, "tested", host=NO_HOST, listen="127.0.0.1:0") as service:
            client = lever.Client(service.details.listening, only_through_host=True)
            assert await client.invoke("/tested/a") == 1
            await client.close()
            with pytest.raises(lever.LeverError, match="started"):
                service.start()
            with pytest.raises(lever.LeverError, match="started"):
                service.add({"b": print})
        with pytest.raises(lever.LeverError, match="not been started"):
            await lever.Service("tested").drain()
    run(main())


def test_service_in_a_thread_for_programs_without_a_loop():
    async def twice(value):
        return 2 * value

    with lever.serve_in_thread({"twice": twice, "plain": lambda: 1}, "tested", host=NO_HOST,
                               listen="127.0.0.1:0") as service:
        with lever.SyncClient(service.details.listening, only_through_host=True) as client:
            assert client.invoke("/tested/twice", 2) == 4
            assert client.invoke("/tested/plain") == 1
            with pytest.raises(lever.MethodError):
                client.invoke("/tested/twice")
    assert service.state == "closed"
