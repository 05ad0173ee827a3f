"""Every function that is marked is a method of the service: lever://dev.lever/{{name}}/say_hello."""

import pathlib
import sys

# What `build` installs.
sys.path.append(str(pathlib.Path(__file__).with_name("packages")))

import lever  # noqa: E402


@lever.method
async def say_hello(name: str) -> str:
    return f"Hello, {name}!"


# A streaming method: its name ends in _chan. Returning ends the stream, raising sends the error.
@lever.method
async def echo_chan(stream, greeting):
    await stream.write(greeting)  # waits while the reader is behind
    async for message in stream:
        await stream.write(message)
