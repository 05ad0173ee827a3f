"""lever.testing: a service and a client in one process, with time that is moved by hand."""

import asyncio
import types

import pytest

import lever
import lever.testing


def module():
    made = types.ModuleType("service")
    made.seen = []

    @lever.method
    async def say_hello(name):
        context = lever.context()
        return f"{context.config['greeting']}, {name}! {context.service.name} {context.remaining}"

    @lever.method
    def secrets():
        return dict(lever.context().secrets)

    @lever.method
    async def hang():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            made.seen.append("cancelled")
            raise

    @lever.method
    def plain(value):
        return lever.context().client.invoke("/other/echo", value)

    @lever.method
    async def echo_chan(stream, *first):
        for value in first:
            await stream.write(value)
        async for message in stream:
            await stream.write(message)

    made.__dict__.update(say_hello=say_hello, secrets=secrets, hang=hang, plain=plain, echo_chan=echo_chan)
    return made


async def echo(value):
    return value


def test_services_answer_without_a_host(run):
    async def main():
        services = {"hello": module(), "other": {"echo": echo}}
        async with lever.testing.start(services, config={"hello": {"greeting": "Hi"}},
                                       secrets={"hello": {"token": "hunter2"}}) as t:
            assert await t.client.invoke("/hello/secrets") == {"token": "hunter2"}
            answer = await t.client.call("/hello/say_hello", ["Ann"], timeout=5)
            assert answer.startswith("Hi, Ann! hello ")
            assert await t.client.invoke("/hello/plain", {"a": 1}) == {"a": 1}
            async with t.client.stream("/hello/echo_chan", "first") as stream:
                await stream.write(1)
                await stream.end()
                assert [m async for m in stream] == ["first", 1]
            with pytest.raises(lever.LeverError) as error:
                await t.client.invoke("/nothing/here")
            assert (error.value.code, error.value.executed) == ("NOT_FOUND", "no")
    run(main())


def test_time_is_moved_by_hand(run):
    async def main():
        service = module()
        async with lever.testing.start({"hello": service}, hold_time=True,
                                       config={"hello": {"greeting": "Hi"}}) as t:
            assert await t.client.call("/hello/say_hello", ["Ann"], timeout=3600) == \
                "Hi, Ann! hello 3600.0"
            call = t.client.call("/hello/hang", timeout=3600)
            await t.advance(3599)
            assert not call.done() and service.seen == []
            await t.advance(1)
            assert isinstance(call.exception(), TimeoutError)
            assert service.seen == ["cancelled"]
        # Time goes on.
        async with lever.testing.start({"hello": module()}) as t:
            with pytest.raises(TimeoutError):
                await t.client.call("/hello/hang", timeout=0.05)
            with pytest.raises(lever.LeverError, match="hold"):
                await t.advance(1)
    run(main())


def test_bad_tests_are_refused(run):
    async def main():
        with pytest.raises(lever.LeverError, match="no service"):
            lever.testing.start({}, config={"hello": 1})
        with pytest.raises(lever.LeverError, match="secrets: there is no service hello"):
            lever.testing.start({}, secrets={"hello": {}})
        with pytest.raises(lever.LeverError, match="token of hello is not a str"):
            lever.testing.start({"hello": {}}, secrets={"hello": {"token": 5}})
        with pytest.raises(lever.LeverError):
            async with lever.testing.start({"no name!": {}}):
                pass
        async with lever.testing.start({}, hold_time=True) as t:
            with pytest.raises(lever.LeverError, match="seconds"):
                await t.advance(-1)
    run(main())
