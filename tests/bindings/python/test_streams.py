"""Streams of a client without a network: they answer with their own messages."""

import asyncio

import pytest

import lever

CHAN = "/echo/chan"


def test_stream_gives_back_its_messages(run):
    async def main():
        client = lever.Client(echo=True)
        async with client.stream(CHAN, "greeting") as stream:
            for message in (1, "two", b"three", None, {"four": [4]}, b""):
                await stream.write(message)
            await stream.end()
            assert [m async for m in stream] == [1, "two", b"three", None, {"four": [4]}, b""]
            assert [m async for m in stream] == []
    run(main())


def test_write_waits_while_nobody_reads(run):
    async def main():
        stream = lever.Client(echo=True).stream(CHAN)
        block, taken = bytes(16 * 1024), 0

        async def write():
            nonlocal taken
            for _ in range(400):
                await stream.write(block)
                taken += 1
            await stream.end()
        writer = asyncio.create_task(write())
        for _ in range(200):
            await asyncio.sleep(0)
        # What may lie at each side is bounded: some hundred KiB.
        assert 0 < taken < 100
        count = 0
        async for message in stream:
            assert message == block
            count += 1
        assert count == 400
        await writer
    run(main())


def test_writer_that_is_cancelled_has_not_written(run):
    async def main():
        stream = lever.Client(echo=True).stream(CHAN)
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                while True:
                    await stream.write(bytes(64 * 1024))
                    sent += 1
        await_end = asyncio.create_task(stream.end())
        assert len([m async for m in stream]) == sent
        await await_end
    run(main())


def test_both_ways_at_once(run):
    async def main():
        async with lever.Client(echo=True).stream(CHAN) as stream:
            async def write():
                for i in range(5000):
                    await stream.write(i)
                await stream.end()
            writer = asyncio.create_task(write())
            assert [m async for m in stream] == list(range(5000))
            await writer
    run(main())


def test_use_after_the_end_is_refused(run):
    async def main():
        stream = lever.Client(echo=True).stream(CHAN)
        await stream.end()
        with pytest.raises(lever.LeverError, match="end") as error:
            await stream.write(1)
        assert error.value.code == "FAILED_PRECONDITION"
        assert [m async for m in stream] == []
        with pytest.raises(lever.LeverError) as error:
            await stream.write(1)
        assert error.value.code == "FAILED_PRECONDITION"
        await stream.end()
        stream.cancel()
    run(main())


def test_leaving_early_cancels(run):
    async def main():
        async with lever.Client(echo=True).stream(CHAN) as stream:
            await stream.write(1)
            async for message in stream:
                assert message == 1
                break
        with pytest.raises(lever.LeverError) as error:
            async for _ in stream:
                pass
        assert error.value.code == "CANCELLED"
        with pytest.raises(lever.LeverError):
            await stream.write(2)
    run(main())


def test_message_that_cannot_be_sent_leaves_the_stream_as_it_was(run):
    async def main():
        async with lever.Client(echo=True).stream(CHAN) as stream:
            with pytest.raises(lever.LeverError, match="no value"):
                await stream.write(object())
            await stream.write(1)
            await stream.end()
            assert [m async for m in stream] == [1]
    run(main())


def test_close_of_the_client_ends_its_streams(run):
    async def main():
        client = lever.Client(echo=True)
        stream = client.stream(CHAN)

        async def read():
            async for _ in stream:
                pass
        reader = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(lever.LeverError) as error:
            await reader
        assert error.value.code == "CANCELLED"
    run(main())


def test_readers_that_gave_up_are_not_kept(run):
    async def main():
        async with lever.Client(echo=True).stream(CHAN) as stream:
            for _ in range(20):
                reader = asyncio.create_task(anext(stream))
                await asyncio.sleep(0)
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            assert len(stream._readers) == 0
            await stream.write("a")
            assert await anext(stream) == "a"
    run(main())


def test_reader_that_is_cancelled_loses_no_message(run):
    async def main():
        async with lever.Client(echo=True).stream(CHAN) as stream:
            readers = [asyncio.create_task(anext(stream)) for _ in range(3)]
            await asyncio.sleep(0)
            await stream.write("a")
            readers[0].cancel()
            await stream.write("b")
            await stream.end()
            results = await asyncio.gather(*readers, return_exceptions=True)
            got = [result for result in results if isinstance(result, str)]
            rest = [m async for m in stream]
            assert sorted(got + rest) == ["a", "b"]
    run(main())
