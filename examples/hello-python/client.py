"""Calls examples/hello-python:  client.py [NAME], with LEVER_HOST set"""

import asyncio
import sys

import lever


async def main(name):
    client = lever.Client()
    print(await client.invoke("/hello-python/say_hello", name))
    async with client.stream("/hello-python/echo_chan", f"hi, {name}") as stream:
        await stream.write("one")
        await stream.write({"two": 2})
        await stream.end()
        async for message in stream:
            print("echo:", message)
    try:
        await client.call("/hello-python/divide", [1, 0], timeout=5.0)
    except lever.MethodError as error:
        print("divide:", error)
    await client.close()


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "Ann"))
