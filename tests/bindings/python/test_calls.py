"""Calls of a client without a network: they answer with their own arguments."""

import asyncio
import concurrent.futures
import gc
import math
import pickle
import threading
import time
import weakref

import pytest

import lever

NO_HOST = "127.0.0.1:1"
ECHO = "/echo/echo"


def echo():
    return lever.Client(echo=True)


def test_call_answers(run):
    async def main():
        client = echo()
        assert await client.invoke(ECHO, 1, "a", None) == [1, "a", None]
        assert await client.invoke(ECHO) == []
        assert await client.call(ECHO, [{"k": 1}], timeout=5, idempotent=True, compress=True,
                                 metadata={"a": "b", "c-bin": b"d", "e": ["f", "g"]}) == [{"k": 1}]
        assert await client.invoke(ECHO, b"bytes") == b"bytes"
        assert await client.invoke(ECHO, b"bytes", 1) == [b"bytes", 1]
        await client.close()
    run(main())


def test_many_calls_at_once(run):
    async def main():
        client = echo()
        answers = await asyncio.gather(*(client.invoke(ECHO, i) for i in range(2000)))
        assert answers == [[i] for i in range(2000)]
    run(main())


def test_call_is_a_future_and_a_coroutine(run):
    async def main():
        client = echo()
        assert await asyncio.create_task(client.invoke(ECHO, 1)) == [1]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.invoke(ECHO, 2))
        assert task.result() == [2]
        assert await asyncio.wait_for(client.invoke(ECHO, 3), 5) == [3]
        assert await asyncio.shield(client.invoke(ECHO, 4)) == [4]
        call = client.invoke(ECHO, 5)
        with pytest.raises(asyncio.InvalidStateError):
            call.result()
        seen = []
        call.add_done_callback(seen.append)
        call.add_done_callback(print)
        assert call.remove_done_callback(print) == 1
        assert await call == [5] and await call == [5]
        assert call.done() and call.result() == [5] and call.exception() is None
        assert not call.cancelled() and not call.cancel()
        assert seen == [call]
        call.add_done_callback(seen.append)
        await asyncio.sleep(0)
        assert seen == [call, call]
        for first in asyncio.as_completed([client.invoke(ECHO, 6)]):
            assert await first == [6]
        both = await asyncio.gather(call, call)
        assert both == [[5], [5]]
    run(main())


def test_several_tasks_wait_for_one_call(run):
    async def main():
        call = echo().invoke(ECHO, 1)

        async def wait():
            return await call
        assert await asyncio.gather(*(wait() for _ in range(5))) == [[1]] * 5
    run(main())


def test_client_that_nobody_has_finishes_its_call(run):
    async def main():
        assert await lever.Client(echo=True).invoke(ECHO, 1) == [1]
        async with lever.Client(echo=True).stream("/echo/chan", 1) as stream:
            await stream.write(2)
            await stream.end()
            assert [message async for message in stream] == [2]
    run(main())


def test_nobody_there_is_unavailable(run):
    async def main():
        with pytest.raises(lever.LeverError) as error:
            await lever.Client(NO_HOST).invoke(ECHO)
        assert (error.value.code, error.value.executed) == ("UNAVAILABLE", "no")
    run(main())


class Silent:
    """A port that takes connections and never says anything."""

    def __enter__(self):
        import socket
        self.socket = socket.create_server(("127.0.0.1", 0))
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *error):
        self.socket.close()


def test_cancelling_a_task_cancels_the_call(run):
    async def main():
        with Silent() as address:
            client = lever.Client(address)
            call = client.invoke(ECHO)

            async def wait():
                return await call
            task = asyncio.create_task(wait())
            await asyncio.sleep(0.01)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert call.cancelled() and call.done()
            with pytest.raises(asyncio.CancelledError, match="enough"):
                call.result()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.invoke(ECHO)
            results = await asyncio.gather(cancelled(client), client.call(ECHO, timeout=0.1),
                                           return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert isinstance(results[1], lever.LeverError) and results[1].executed == "no"
            await client.close()
    run(main())


def test_task_of_a_call_that_is_cancelled_before_it_begins_cancels_the_call(run):
    async def main():
        with Silent() as address:
            client = lever.Client(address)
            call = client.invoke(ECHO)
            task = asyncio.create_task(call)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() and call.cancelled()
            await client.close()
    run(main())


def cancelled(client):
    call = client.invoke(ECHO)
    call.cancel()
    return call


def test_close_ends_what_is_in_flight(run):
    async def main():
        with Silent() as address:
            client = lever.Client(address)
            calls = [client.invoke(ECHO) for _ in range(10)]
            await client.close()
            for result in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(result, lever.LeverError) and result.code == "CANCELLED"
            with pytest.raises(lever.LeverError, match="closed"):
                client.invoke(ECHO)
            await client.close()
    run(main())


@pytest.mark.parametrize("arguments, options", [
    (("no slash",), {}), ((5,), {}), (("/a/b", 5), {}), (("/a/b", "text"), {}), (("/a/\ud800",), {}),
    (("/a/b",), {"timeout": 0}), (("/a/b",), {"timeout": -1}), (("/a/b",), {"timeout": math.nan}),
    (("/a/b",), {"timeout": "1"}), (("/a/b",), {"metadata": {"ä": "b"}}),
    (("/a/b",), {"metadata": {"a": b"b"}}), (("/a/b",), {"metadata": {"a-bin": "b"}}),
    (("/a/b",), {"metadata": {"a": "\ud800"}}), (("/a/b", [object()]), {}),
], ids=str)
def test_bad_arguments_are_refused(run, arguments, options):
    async def main():
        with pytest.raises(lever.LeverError) as error:
            await echo().call(*arguments, **options)
        assert (error.value.code, error.value.executed) == ("INVALID_ARGUMENT", "no")
    run(main())


@pytest.mark.parametrize("options", [
    {"host": 5}, {"host": "\ud800"}, {"env": b"dev"}, {"message_bytes_max": -1}, {"message_bytes_max": "1"},
    {"host": "tls:a:1", "tls": "ca.pem"}, {"host": "tls:a:1", "tls": {"ca": 5}},
    {"host": "tls:a:1", "tls": {"cafile": "ca.pem"}},
], ids=str)
def test_bad_options_are_refused_by_name(run, options):
    async def main():
        name = "ca" if options.get("tls") == {"ca": 5} else list(options)[-1]
        with pytest.raises(lever.LeverError, match=f"^{name}: .* is expected$") as error:
            await lever.Client(**options).invoke(ECHO)
        assert (error.value.code, error.value.executed) == ("INVALID_ARGUMENT", "no")
        with pytest.raises(lever.LeverError, match=f"^{name}: "):
            lever.SyncClient(**options)
    run(main())


def test_arguments_that_go_while_they_are_read_are_still_there(run):
    class Taking:
        def __float__(self):
            arguments.clear()
            return 5.0

    async def main():
        nonlocal arguments
        size = 4 * 1024 * 1024 - 1024  # memory that is unmapped when it is free
        arguments = [bytes(size)]
        assert await echo().call(ECHO, arguments, timeout=Taking()) == bytes(size)
    arguments = []
    run(main())


def test_infinite_timeout_is_none(run):
    async def main():
        assert await echo().call(ECHO, [1], timeout=math.inf) == [1]
    run(main())


def test_one_client_serves_loop_after_loop(run):
    client = echo()

    async def main():
        assert await client.invoke(ECHO, 1) == [1]
    for _ in range(3):
        run(main())


def test_calls_leave_nothing(run):
    async def main():
        client = echo()
        calls = [client.invoke(ECHO, i) for i in range(100)]
        seen = [weakref.ref(call) for call in calls]
        await asyncio.gather(*calls)
        del calls
        await asyncio.sleep(0)  # out of the turn that brought the last answer
        gc.collect()
        assert not [ref for ref in seen if ref() is not None]
    run(main())


def test_exception_of_the_program_does_not_stop_a_turn(run):
    async def main():
        client = echo()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)

        async def fails():
            await client.invoke(ECHO, 1)
            raise ZeroDivisionError
        results = await asyncio.gather(*(fails() for _ in range(20)), client.invoke(ECHO, 2),
                                       return_exceptions=True)
        assert [type(result) for result in results[:20]] == [ZeroDivisionError] * 20
        assert results[20] == [2]
    run(main())


def test_exception_of_a_callback_is_the_loops(run):
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: told.append(complaint))
        call = echo().invoke(ECHO, 1)
        call.add_done_callback(lambda _: 1 / 0)
        await call
        call.add_done_callback(lambda _: 1 / 0)  # of a call that is done
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [type(complaint["exception"]) for complaint in told] == [ZeroDivisionError] * 2
    run(main())


def test_client_that_goes_beside_an_exception_leaves_it(run):
    async def main():
        clients = [echo()]
        await clients[0].invoke(ECHO)
        await asyncio.sleep(0)  # out of the turn that brought the answer
        with pytest.raises(TypeError, match="len"):
            len(clients.pop())
    run(main())


def test_loops_of_many_threads_end_a_loop_together():
    class Slow(asyncio.SelectorEventLoop):
        def is_closed(self):
            time.sleep(0.05)
            return super().is_closed()

    async def main():
        assert await echo().invoke(ECHO, 1) == [1]

    with asyncio.Runner(loop_factory=Slow) as runner:
        runner.run(main())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(asyncio.run, main()) for _ in range(4)]:
            done.result()


def test_system_exit_in_a_task_ends_the_loop(run):
    async def main():
        async def leaves():
            await echo().invoke(ECHO, 1)
            raise SystemExit(3)
        await asyncio.gather(leaves(), asyncio.sleep(10))
    with pytest.raises(SystemExit) as error:
        run(main())
    assert error.value.code == 3


def test_errors_can_be_pickled():
    error = lever.LeverError("NOT_FOUND", "nothing there", "no")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, str(copy), copy.executed) == ("NOT_FOUND", "nothing there", "no")
    assert pickle.loads(pickle.dumps(lever.MethodError({"message": "m"}))).value == {"message": "m"}
    assert str(lever.MethodError({"message": "m"})) == "m" and str(lever.MethodError("t")) == "t"


# ---- Blocking ----

def test_blocking_client():
    with lever.SyncClient(echo=True) as client:
        assert client.invoke(ECHO, 1, 2) == [1, 2]
        assert client.call(ECHO, [b"x"], timeout=1, metadata={"a": "b"}) == b"x"
        with client.stream("/echo/chan", 1) as stream:
            stream.write(2)
            stream.end()
            assert list(stream) == [2]
        with pytest.raises(lever.LeverError):
            client.call(ECHO, [object()])
        assert client.stats() == (0, 0, 0, 0)
    with pytest.raises(lever.LeverError, match="closed"):
        client.invoke(ECHO)
    with pytest.raises(lever.LeverError, match="closed"):
        client.stream("/echo/chan")


def test_threads_share_a_blocking_client():
    client = lever.SyncClient(echo=True)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        def many(number):
            return [client.invoke(ECHO, number, i) for i in range(200)]
        for number, answers in enumerate(pool.map(many, range(16))):
            assert answers == [[number, i] for i in range(200)]


def test_blocking_call_lets_other_threads_run():
    with Silent() as address:
        client = lever.SyncClient(address)
        ticks, done = [], threading.Event()

        def tick():
            while not done.wait(0.005):
                ticks.append(1)
        thread = threading.Thread(target=tick)
        thread.start()
        with pytest.raises(lever.LeverError):
            client.call(ECHO, timeout=0.3)
        done.set()
        thread.join()
        assert len(ticks) > 5


def test_closing_a_blocking_client_ends_what_waits():
    with Silent() as address:
        client = lever.SyncClient(address)
        errors = []

        def wait():
            try:
                client.invoke(ECHO)
            except lever.LeverError as error:
                errors.append(error.code)
        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        client.close()
        for thread in threads:
            thread.join(10)
        assert errors == ["CANCELLED"] * 4
