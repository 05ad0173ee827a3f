"""Resources of a service: what is a method of them, how they are opened and closed. Without a host, so that each
is new, and closed as idle or as stopping; tests/e2e/test_resources_python.py has the rest."""

import asyncio
import logging
import threading
import time

import pytest

import lever
import lever.testing


def board(**options):
    """A class of resources that writes down what happens to it."""
    seen = []

    @lever.resource(**options)
    class Board:
        async def open(self, name, state, origin):
            context = lever.context()
            seen.append(("open", name, state, origin, context.resource, context.generation))
            if name == "refuses":
                raise ValueError("not this one")
            self.name = name
            self.count = 0
            self.running = self.most = 0

        async def close(self, reason):
            seen.append(("close", self.name, reason, lever.context().resource))
            if self.name == "breaks":
                raise ValueError("it cannot be closed")
            return {"count": self.count}

        async def add(self, n):
            self.count += n
            return self.count

        async def where(self):
            context = lever.context()
            return [context.resource, context.generation]

        def plain(self):
            return [self.name, lever.context().resource, threading.current_thread().name]

        @lever.method(name="otherName")
        async def another(self):
            return self.name

        async def slow(self):
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.01)
            self.running -= 1
            return self.most

        async def hang(self):
            try:
                await asyncio.sleep(1000)
            finally:
                seen.append(("cancelled", self.name))

        async def count_chan(self, stream, *first):
            for value in first:
                await stream.write([self.name, value])
            async for message in stream:
                self.count += message
                await stream.write(self.count)
            seen.append(("stream", self.name))

        def _hidden(self):
            return "hidden"

    return Board, seen


async def outside():
    context = lever.context()
    return [context.resource, context.generation]


def test_each_name_is_one_object(run):
    async def main():
        Board, seen = board()
        async with lever.testing.start({"boards": {"Board": Board, "outside": outside}}) as t:
            async def add(name, n):
                return await t.client.invoke(f"/boards/{name}/add", n)
            assert [await add("apples", 1), await add("apples", 2), await add("pears", 5)] == [1, 3, 5]
            assert await asyncio.gather(*(add("many", 1) for _ in range(100))) == list(range(1, 101))
            assert await t.client.invoke("/boards/a%20b%2Fc/where") == ["a b/c", 1]
            assert await t.client.invoke("/boards/outside") == ["", 0]
            name, of, thread = await t.client.invoke("/boards/apples/plain")
            assert (name, of) == ("apples", "apples") and thread.startswith("lever-method")
            assert await t.client.invoke("/boards/apples/otherName") == "apples"
            async with t.client.stream("/boards/pears/count_chan", "hi") as stream:
                assert await anext(stream) == ["pears", "hi"]
                await stream.write(2)
                assert await anext(stream) == 7
                await stream.end()
                assert [m async for m in stream] == []
        opened = [event for event in seen if event[0] == "open"]
        assert [event[1] for event in opened] == ["apples", "pears", "many", "a b/c"]
        assert opened[0] == ("open", "apples", None, "new", "apples", 1)
        assert ("stream", "pears") in seen
        closed = sorted(event[1:] for event in seen if event[0] == "close")
        assert closed == sorted((name, "stopping", name) for name in ("apples", "pears", "many", "a b/c"))
    run(main())


def test_what_is_no_method_is_refused_unexecuted(run):
    async def main():
        Board, _ = board()
        async with lever.testing.start({"boards": {"Board": Board, "outside": outside}}) as t:
            for address in ("/boards/x/_hidden", "/boards/x/open", "/boards/x/close", "/boards/x/another",
                            "/boards/x/outside", "/boards/add", "/boards/x/nothing"):
                with pytest.raises(lever.LeverError) as error:
                    await t.client.invoke(address)
                assert (error.value.code, error.value.executed) == ("NOT_FOUND", "no"), address
    run(main())


def test_callers_are_told_why_it_could_not_be_opened(run, caplog):
    async def main():
        Board, seen = board()
        async with lever.testing.start({"boards": {"Board": Board}}) as t:
            answers = await asyncio.gather(*(t.client.invoke("/boards/refuses/add", 1) for _ in range(3)),
                                           return_exceptions=True)
            for error in answers:
                assert (error.code, error.executed) == ("INTERNAL", "no")
                assert str(error) == "the resource could not be opened: not this one"
            assert [event[1] for event in seen] == ["refuses"] * len(seen)
        assert not [event for event in seen if event[0] == "close"]
    run(main())
    assert "resource 'refuses' could not be opened" in caplog.text and "not this one" in caplog.text


def test_one_that_is_idle_is_closed_and_opened_again(run, caplog):
    async def main():
        Board, seen = board()
        async with lever.testing.start({"boards": {"Board": Board}}, hold_time=True) as t:
            assert await t.client.invoke("/boards/breaks/add", 1) == 1
            async with t.client.stream("/boards/open/count_chan", "hi") as stream:
                await anext(stream)
                await t.advance(179)
                assert not [event for event in seen if event[0] == "close"]
                await t.advance(2)
                assert [event[1:3] for event in seen if event[0] == "close"] == [("breaks", "idle")]
            assert await t.client.invoke("/boards/breaks/add", 1) == 1
        assert [event[:2] for event in seen].count(("open", "breaks")) == 2
    run(main())
    assert "resource 'breaks' could not be closed (idle)" in caplog.text


def test_idle_timeout_is_the_programs(run):
    async def main():
        Board, seen = board(idle_timeout=5)
        async with lever.testing.start({"boards": {"Board": Board}}, hold_time=True) as t:
            await t.client.invoke("/boards/a/add", 1)
            await t.advance(4)
            assert len(seen) == 1
            await t.advance(2)
            assert seen[1:] == [("close", "a", "idle", "a")]
    run(main())


@pytest.mark.parametrize("options, most", [({"serial": True}, 1), ({"max_concurrency": 3}, 3), ({}, 8)])
def test_calls_of_one_run_as_many_at_a_time_as_it_says(run, options, most):
    async def main():
        Board, _ = board(**options)
        async with lever.testing.start({"boards": {"Board": Board}}) as t:
            answers = await asyncio.gather(*(t.client.invoke("/boards/a/slow") for _ in range(8)))
            assert max(answers) == most
    run(main())


def test_close_comes_after_what_runs_and_after_what_was_cut_off(run):
    async def main():
        Board, seen = board()
        service = lever.Service("boards", drain_timeout=0.3).add({"Board": Board})
        service._in_process(None, {}).start()
        client = lever.Client()
        client._options["in_process"] = True
        hanging = client.call("/boards/a/hang", timeout=60)
        slow = client.call("/boards/b/slow", timeout=60)
        assert await client.invoke("/boards/b/add", 1) == 1
        await service.drain()
        assert await slow == 1
        with pytest.raises(lever.LeverError) as error:
            await hanging
        assert (error.value.code, error.value.executed) == ("UNAVAILABLE", "unknown")
        assert seen.index(("cancelled", "a")) < seen.index(("close", "a", "stopping", "a"))
        await client.close()
        await service.close()
    run(main())


def test_plain_functions_may_block(run):
    seen = []

    @lever.resource
    class Plain:
        def open(self, name, state, origin):
            time.sleep(0.01)
            self.opened_on = threading.current_thread().name

        def close(self, reason):
            seen.append((reason, threading.current_thread().name, lever.context().generation))

        def where(self):
            return self.opened_on

        def block(self, event):
            time.sleep(event)

        def count_chan(self, stream, count):
            for i in range(count):
                stream.write(i)

    async def main():
        async with lever.testing.start({"plain": {"Plain": Plain}}) as t:
            # However many methods block, others are opened and closed.
            blocked = [t.client.invoke(f"/plain/{n}/block", 0.5) for n in range(40)]
            assert (await t.client.invoke("/plain/a/where")).startswith("lever-resource")
            async with t.client.stream("/plain/a/count_chan", 3) as stream:
                assert [m async for m in stream] == [0, 1, 2]
            await asyncio.gather(*blocked)
        assert len(seen) == 41
        assert all(reason == "stopping" and name.startswith("lever-resource") and generation == 1
                   for reason, name, generation in seen)
    run(main())


def test_classes_without_open_and_close_will_do(run):
    @lever.resource
    class Bare:
        total = 0

        async def add(self, n):
            self.total += n
            return self.total

        @staticmethod
        async def static(n):
            return n

    async def main():
        service = lever.Service("bare")
        assert service.resource(Bare) is Bare and service.method_count == 2
        async with lever.testing.start({"bare": {"Bare": Bare}}) as t:
            assert [await t.client.invoke("/bare/a/add", n) for n in (1, 2)] == [1, 3]
            assert await t.client.invoke("/bare/a/static", 7) == 7
    run(main())


def test_wrong_classes_are_refused():
    def refused(text, make, **options):
        with pytest.raises(lever.LeverError, match=text) as error:
            lever.resource(**options)(make)
        assert error.value.code == "INVALID_ARGUMENT"

    class Empty:
        async def open(self, name, state, origin): ...
        value = 5

    class Twice:
        @lever.method(name="b")
        async def a(self): ...
        async def b(self): ...

    class Good:
        async def a(self): ...

    refused("no public method", Empty)
    refused("two methods b", Twice)
    refused("no class", lambda: 5)
    refused("max_concurrency 1", Good, serial=True, max_concurrency=2)
    service = lever.Service("good").add({"Good": lever.resource(Good)})
    with pytest.raises(lever.LeverError, match="two resource types") as error:
        service.resource(type("Other", (), {"a": Good.a}))
    assert error.value.code == "ALREADY_EXISTS"


def test_wrong_options_are_refused_at_the_start(run):
    async def main():
        for options in ({"max_concurrency": -1}, {"idle_timeout": -1}, {"idle_timeout": "x"}):
            Board, _ = board(**options)
            with pytest.raises(lever.LeverError) as error:
                lever.Service("boards").add({"Board": Board}).start()
            assert error.value.code == "INVALID_ARGUMENT"
    run(main())


def test_what_close_gives_has_to_be_sendable(run, caplog):
    @lever.resource(idle_timeout=1)
    class Bad:
        async def touch(self): ...
        async def close(self, reason):
            return object()

    async def main():
        async with lever.testing.start({"bad": {"Bad": Bad}}, hold_time=True) as t:
            await t.client.invoke("/bad/a/touch")
            await t.advance(2)
            await t.client.invoke("/bad/a/touch")
    with caplog.at_level(logging.ERROR, logger="lever"):
        run(main())
    assert "resource 'a' could not be closed (idle)" in caplog.text
