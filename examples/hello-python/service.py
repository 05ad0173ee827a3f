"""A service in Python:  lever deploy examples/hello-python"""

import lever


@lever.method
async def say_hello(name: str) -> str:
    return f"Hello, {name}!"


@lever.method
async def echo_chan(stream, greeting):
    await stream.write(greeting)  # waits while the reader is behind
    async for message in stream:
        await stream.write(message)


@lever.method
def divide(a, b):  # a plain function runs in a pool of threads
    return a / b


@lever.method
async def greet_all(names):
    client = lever.context().client  # its calls end with this one, and within its deadline
    return [await client.invoke("/hello-python/say_hello", name) for name in names]
