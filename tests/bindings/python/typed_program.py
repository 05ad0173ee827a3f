"""Uses every part of the package as mypy --strict is to accept it (test_types.py)."""

import asyncio
import lever, lever.testing

@lever.method
async def say_hello(name: str) -> str:
    return f"Hello, {name}!"

@lever.method(name="sayHello")
def other(name: str) -> str:
    return name

@lever.resource(serial=True, idle_timeout=60)
class Note:
    def __init__(self) -> None:
        self.text = ""

    async def open(self, name: str, state: str | None, origin: str) -> None:
        self.text = state or name + origin

    async def edit(self, text: str) -> None:
        self.text = text

    async def watch_chan(self, stream: lever.ServiceStream) -> None:
        await stream.write(self.text)
        await stream.write(self.text, token=b"1")
        if stream.moving.is_set() or await stream.moving.wait():
            print(stream.method, stream.arguments)

    async def resume(self, stream: lever.ServiceStream, token: bytes, last_received: int) -> None:
        try:
            await self.watch_chan(stream)
        except lever.Moved:
            print(token, last_received)
            raise

    def close(self, reason: str) -> str:
        return self.text

@lever.resource
class Bare:
    def count_chan(self, stream: lever.SyncServiceStream) -> None:
        stream.write(stream.moving.wait(1.0), token=b"")
        print(stream.method, stream.arguments, stream.moving.is_set())

    def touch(self) -> int:
        context = lever.context()
        return context.generation + len(context.resource) if context is not None else 0

async def main() -> None:
    client = lever.Client("127.0.0.1:8080", tls={"ca": "x"})
    answer: str = await client.invoke("/a/b", 1)
    call = client.call("/a/b", [1], timeout=1.0, metadata={"a": "b", "c-bin": [b"d"]})
    task = asyncio.create_task(call)
    print(await task, answer, client.stats().retries)
    async with client.stream("/a/b") as stream:
        await stream.write(1)
        async for message in stream:
            print(message)
    service = lever.serve({"say_hello": say_hello}, "hello", listen="127.0.0.1:0")
    print(service.details.listening)
    context = lever.context()
    if context is not None:
        print(context.deadline, context.client)
    try:
        lever.SyncClient().invoke("/a/b")
    except lever.LeverError as error:
        print(error.code, error.executed)
        if error.resume_token is not None:
            lever.SyncClient().stream("/a/b/chan", resume=(error.resume_token, error.resume_received)).cancel()
            client.stream("/a/b/chan", resume=(error.resume_token, 0)).cancel()
    except lever.MethodError as error:
        print(error.value)
    async with lever.testing.start({"a": {}}) as t:
        await t.client.invoke("/a/b")
    note: Note = Note()
    await note.edit(str(Bare().touch()))
    text: str = await say_hello("Ann")
    print(text, other("b"))
