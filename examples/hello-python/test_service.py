"""The service without a host:  python3 test_service.py"""

import asyncio

import lever.testing
import service


async def main():
    async with lever.testing.start({"hello-python": service}) as t:
        assert await t.client.invoke("/hello-python/say_hello", "Ann") == "Hello, Ann!"
        assert await t.client.invoke("/hello-python/greet_all", ["a", "b"]) == ["Hello, a!", "Hello, b!"]
    print("ok")


asyncio.run(main())
