"""Streams of resources that go on where the resource moves to: what their methods are told, what they are in
`resume`, and what a caller can do itself. Without a host the next owner is another service of the same name;
tests/e2e/test_resume.py moves them between real instances."""

import asyncio
import pickle
import threading

import pytest

import lever


class Moves:
    """A service of one resource type. `move` ends it, and starts another; callers take their streams up there."""

    def __init__(self, Type, drain_timeout=20):
        self.target = {"Type": lever.resource(Type)}
        self.drain_timeout = drain_timeout
        self.client = lever.Client()
        self.client._options["in_process"] = True
        self.service = None

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        await self.service.close()

    async def start(self):
        self.service = lever.Service("moves", drain_timeout=self.drain_timeout).add(self.target)
        self.service._in_process(None, {}).start()
        await self.service.attached()

    async def move(self):
        await self.service.drain()
        await self.service.close()
        await self.start()

    async def taken_up(self, stream, name, *args):
        """What is left of a stream that has ended for the move, and the stream that takes it up."""
        left = []
        with pytest.raises(lever.LeverError) as error:
            async for message in stream:
                left.append(message)
        error = error.value
        assert error.executed == "unknown"
        return left, self.client.stream(f"/moves/a/{name}", *args,
                                        resume=(error.resume_token, error.resume_received))


class Noted:
    """Answers each message with it and its number; that is its token."""
    seen: list = []

    async def note_chan(self, stream, *first):
        self.seen.append((stream.method, stream.arguments))
        await self.go_on(stream, 0)

    async def resume(self, stream, token, last_received):
        self.seen.append((stream.method, stream.arguments, token, last_received))
        await self.go_on(stream, int(token or b"0"))

    async def go_on(self, stream, number):
        async for message in stream:
            number += 1
            await stream.write([number, message], token=b"%d" % number)


async def read(stream, count):
    return [await anext(stream) for _ in range(count)]


def test_a_stream_goes_on_in_resume(run):
    async def main():
        seen = Noted.seen = []
        async with Moves(Noted) as t:
            stream = t.client.stream("/moves/a/note_chan", "first", 2)
            await stream.write("one")
            await stream.write("two")
            assert await read(stream, 2) == [[1, "one"], [2, "two"]]
            await t.move()
            left, stream = await t.taken_up(stream, "note_chan", "first", 2)
            assert left == []
            await stream.write("three")
            assert await read(stream, 1) == [[3, "three"]]
            await stream.end()
            assert [m async for m in stream] == []
        assert seen == [("note_chan", ("first", 2)), ("note_chan", ("first", 2), b"2", 2)]
    run(main())


def test_without_a_token_resume_gets_none(run):
    async def main():
        seen = []

        class Type:
            async def watch_chan(self, stream):
                await stream.write("hello")
                assert await stream.moving.wait() is True and stream.moving.is_set()
                await stream.write("good-bye")

            async def resume(self, stream, token, last_received):
                seen.append((token, last_received))

        async with Moves(Type) as t:
            stream = t.client.stream("/moves/a/watch_chan")
            assert await read(stream, 1) == ["hello"]
            await t.move()
            left, stream = await t.taken_up(stream, "watch_chan")
            assert left == ["good-bye"]
            assert [m async for m in stream] == []
        assert seen == [(b"", 2)]
    run(main())


def test_what_is_unread_stays_unread_and_the_task_is_not_cancelled(run):
    async def main():
        seen = []
        told = asyncio.Event()

        class Type:
            async def slow_chan(self, stream):
                seen.append(await anext(stream))
                await stream.write("busy")
                await told.wait()
                await asyncio.sleep(0.05)
                await stream.write("still here")
                for _ in range(2):
                    with pytest.raises(lever.Moved):
                        await anext(stream)
                seen.append("returns")

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type) as t:
            stream = t.client.stream("/moves/a/slow_chan")
            for i in range(5):
                await stream.write(i)
            assert await read(stream, 1) == ["busy"]
            asyncio.get_running_loop().call_later(0.05, told.set)
            await t.move()
            left, stream = await t.taken_up(stream, "slow_chan")
            assert (left, seen) == (["still here"], [0, "returns"])
            stream.cancel()
    run(main())


@pytest.mark.parametrize("moves, returns", [
    (True, lambda: None),
    (True, lambda: (_ for _ in ()).throw(lever.Moved())),
    (True, lambda: (_ for _ in ()).throw(ExceptionGroup("a group's", [lever.Moved(), lever.Moved()]))),
    (False, lambda: (_ for _ in ()).throw(ValueError("its own"))),
    (False, lambda: (_ for _ in ()).throw(ExceptionGroup("a group's", [lever.Moved(), ValueError()]))),
])
def test_only_its_own_error_is_the_methods(run, moves, returns):
    async def main():
        class Type:
            async def watch_chan(self, stream):
                await stream.write("hello")
                await stream.moving.wait()
                for _ in returns() or ():
                    pass

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type) as t:
            stream = t.client.stream("/moves/a/watch_chan")
            assert await read(stream, 1) == ["hello"]
            await t.move()
            if moves:
                await t.taken_up(stream, "watch_chan")
            else:
                with pytest.raises(lever.MethodError) as error:
                    await anext(stream)
                assert error.value.value["name"] in ("ValueError", "ExceptionGroup")
    run(main())


def test_a_stream_that_is_done_ends(run):
    async def main():
        class Type:
            async def ended_chan(self, stream):
                await stream.write("hello")
                await stream.moving.wait()
                await stream.end()

            async def unaware_chan(self, stream):
                await stream.write("hello")
                await asyncio.sleep(0.2)
                await stream.write("done")

            async def read_chan(self, stream):
                total = sum([m async for m in stream])
                await stream.write("hello")
                await asyncio.sleep(0.2)
                assert [m async for m in stream] == []
                await stream.write(total)

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type) as t:
            for name, rest in (("ended_chan", []), ("unaware_chan", ["done"]), ("read_chan", [3])):
                stream = t.client.stream(f"/moves/a/{name}")
                for i in range(3):
                    await stream.write(i)
                await stream.end()
                assert await read(stream, 1) == ["hello"]
                await t.move()
                assert [m async for m in stream] == rest
    run(main())


def test_what_waits_for_room_is_sent_before_it_moves(run):
    async def main():
        class Type:
            async def push_chan(self, stream):
                writers = [asyncio.create_task(stream.write(i.to_bytes(4, "big") * 16384, token=b"%d" % i))
                           for i in range(40)]
                await stream.moving.wait()
                assert not all(task.done() for task in writers)

            async def resume(self, stream, token, last_received):
                await stream.write([token, last_received])

        async with Moves(Type) as t:
            stream = t.client.stream("/moves/a/push_chan")
            got = await read(stream, 1)
            moved = asyncio.create_task(t.move())
            await asyncio.sleep(0.1)
            assert not moved.done()
            got += await read(stream, 39)
            assert [int.from_bytes(m[:4], "big") for m in got] == list(range(40))
            await moved
            left, stream = await t.taken_up(stream, "push_chan")
            assert left == [] and [m async for m in stream] == [[b"39", 40]]
    run(main())


def test_a_method_that_does_not_return_is_cut_off(run):
    async def main():
        seen = []

        class Type:
            async def stay_chan(self, stream):
                await stream.write("hello", token=b"here")
                try:
                    await asyncio.sleep(1000)
                finally:
                    seen.append("cancelled")

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type, drain_timeout=0.2) as t:
            stream = t.client.stream("/moves/a/stay_chan")
            assert await read(stream, 1) == ["hello"]
            await t.move()
            with pytest.raises(lever.LeverError) as error:
                await anext(stream)
            error = error.value
            assert (error.code, error.resume_token, error.resume_received) == ("UNAVAILABLE", b"here", 1)
            again = pickle.loads(pickle.dumps(error))
            assert (again.resume_token, again.resume_received) == (b"here", 1)
            assert "here" not in repr(lever._errors.value_of(error))
        assert seen == ["cancelled"]
    run(main())


def test_plain_functions_are_told_too(run):
    async def main():
        seen = []

        class Type:
            def read_chan(self, stream, *args):
                assert stream.moving.wait(0.01) is False and not stream.moving.is_set()
                for message in stream:
                    stream.write(message, token=b"t%d" % message)

            def watch_chan(self, stream):
                stream.write("hello")
                assert stream.moving.wait() is True and stream.moving.is_set()

            def resume(self, stream, token, last_received):
                seen.append((stream.method, stream.arguments, token, last_received,
                             threading.current_thread().name.startswith("lever-method")))
                for message in stream:
                    stream.write(-message)

        async with Moves(Type) as t:
            reads = t.client.stream("/moves/a/read_chan", "x")
            await reads.write(7)
            watches = t.client.stream("/moves/a/watch_chan")
            assert await read(reads, 1) == [7] and await read(watches, 1) == ["hello"]
            await t.move()
            for stream, name, args in ((reads, "read_chan", ("x",)), (watches, "watch_chan", ())):
                left, stream = await t.taken_up(stream, name, *args)
                await stream.write(5)
                assert left == [] and await read(stream, 1) == [-5]
                await stream.end()
                assert [m async for m in stream] == []
        assert seen == [("read_chan", ("x",), b"t7", 1, True), ("watch_chan", (), b"", 1, True)]
    run(main())


def test_moving_wait_returns_when_the_stream_has_ended(run):
    async def main():
        done = asyncio.get_running_loop().create_future()

        class Type:
            async def end_chan(self, stream):
                await stream.end()
                done.set_result([await stream.moving.wait(), stream.moving.is_set()])

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type) as t:
            assert [m async for m in t.client.stream("/moves/a/end_chan")] == []
            assert await done == [False, False]
    run(main())


def test_no_token_is_too_large_and_all_are_bytes(run):
    async def main():
        async def writes(stream):
            for token in (bytes(4097), "text", 5):
                with pytest.raises(lever.LeverError) as error:
                    await stream.write("never", token=token)
                assert error.value.code == "INVALID_ARGUMENT"
            for token in (bytes(4096), bytearray(b"x"), memoryview(b"y"), b"", None):
                await stream.write("ok", token=token)

        class Type:
            async def write_chan(self, stream):
                await writes(stream)

            async def resume(self, stream, token, last_received): ...

        async with Moves(Type) as t:
            t.target["write_chan"] = writes  # of no resource: a token says nothing there
            await t.move()
            for address in ("/moves/a/write_chan", "/moves/write_chan"):
                assert [m async for m in t.client.stream(address)] == ["ok"] * 5
            for resume in ((bytes(4097), 0), ("text", 0), (b"", -1)):
                with pytest.raises(lever.LeverError) as error:
                    t.client.stream("/moves/a/write_chan", resume=resume)
                assert (error.value.code, error.value.executed) == ("INVALID_ARGUMENT", "no")
            with pytest.raises(lever.LeverError, match="only the streams of resources"):
                async for _ in t.client.stream("/moves/write_chan", resume=(b"", 0)):
                    pass
    run(main())


def test_streams_of_types_without_resume_end_as_before(run):
    async def main():
        class Type:
            async def watch_chan(self, stream):
                await stream.write("hello")
                await asyncio.sleep(1000)

        async with Moves(Type) as t:
            stream = t.client.stream("/moves/a/watch_chan")
            assert await read(stream, 1) == ["hello"]
            await t.move()
            with pytest.raises(lever.LeverError) as error:
                await anext(stream)
            error = error.value
            assert (error.code, error.resume_token, error.resume_received) == ("UNAVAILABLE", None, 0)
            with pytest.raises(lever.LeverError, match="cannot be resumed"):
                await anext(t.client.stream("/moves/a/watch_chan", resume=(b"", 0)))
    run(main())


def test_wrong_resumes_are_refused():
    class NoStream:
        async def edit(self): ...
        async def resume(self, stream, token, last_received): ...

    class NoMethod:
        async def watch_chan(self, stream): ...
        resume = True

    class Otherwise:
        async def watch_chan(self, stream): ...
        async def resume(self): ...

    for wrong, text in ((NoStream, "there is no streaming method"), (NoMethod, "is no method"),
                        (Otherwise, "takes a stream, a token and a number")):
        with pytest.raises(lever.LeverError, match=f"{wrong.__name__}.resume.*{text}") as error:
            lever.resource(wrong)
        assert error.value.code == "INVALID_ARGUMENT"
