"""Whether calls, streams and resources leave memory behind:  leak.py [CALLS [STREAMS [RESOURCES]]]

Clients and a service in one process, over a connection; resources that are opened, called and closed. Prints the resident memory after a warm-up and after each
tenth, in KiB, as one line of JSON, and ends with 1 if it has grown by more than GROWTH_KIB from the first tenth on.
"""

import asyncio
import gc
import json
import pathlib
import sys

import lever
import lever.testing

GROWTH_KIB = 2048
OUTSTANDING = 64
STEPS = 10


def resident_kib():
    gc.collect()
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@lever.method
async def echo(value):
    return value


@lever.method
async def later(value):
    await asyncio.sleep(0)
    return value


@lever.method
async def fail(value):
    raise ValueError(value)


@lever.method
async def echo_chan(stream, first):
    await stream.write(first)
    async for message in stream:
        await stream.write(message)


@lever.resource
class Board:
    async def open(self, name, state, origin):
        self.values = [name]

    async def close(self, reason):
        return self.values

    async def put(self, value):
        self.values.append(value)
        return len(self.values)

    def plain(self, value):
        return value


async def resource(client, i):
    await client.invoke(f"/leak/board-{i}/put", "x" * 32)
    if i % 8 == 0:
        await client.invoke(f"/leak/board-{i}/plain", i)


async def open_and_close(count):
    """Resident memory after each tenth, and before the first."""
    async with lever.testing.start({"leak": {"Board": Board}}, hold_time=True) as t:
        seen = []
        for step in range(STEPS + 1):
            await many(resource, t.client, count // STEPS)
            await t.advance(200)  # so that they are idle, and closed
            if t._services[0]._resources:
                raise AssertionError("some are open")
            seen.append(resident_kib())
        return seen


async def call(client, i):
    if i % 16 == 0:
        try:
            await client.invoke("/leak/fail", f"no {i}")
        except lever.MethodError:
            pass
    elif i % 16 == 1:
        client.invoke("/leak/later", i).cancel()
    elif i % 2:
        await client.call("/leak/echo", [{"text": "x" * 32, "number": i}], metadata={"a": "b"})
    else:
        await client.invoke("/leak/later", b"x" * 32)


async def stream(client, i):
    async with client.stream("/leak/echo_chan", i) as opened:
        await anext(opened)
        if i % 8 == 0:
            return  # left early
        await opened.write(i)
        await opened.end()
        async for _ in opened:
            pass


async def many(work, client, count):
    numbers = iter(range(count))

    async def worker():
        for i in numbers:
            await work(client, i)
    await asyncio.gather(*(worker() for _ in range(OUTSTANDING)))


async def main(calls, streams, resources):
    methods = {"echo": echo, "later": later, "fail": fail, "echo_chan": echo_chan}
    service = lever.serve(methods, "leak", host="127.0.0.1:1", listen="127.0.0.1:0")
    client = lever.Client(service.details.listening, only_through_host=True)
    await many(call, client, max(calls // 10, 5000))
    await many(stream, client, max(streams // 10, 500))
    seen = {"calls": [resident_kib()], "streams": []}
    for _ in range(STEPS):
        await many(call, client, calls // STEPS)
        seen["calls"].append(resident_kib())
    seen["streams"].append(resident_kib())
    for _ in range(STEPS):
        await many(stream, client, streams // STEPS)
        seen["streams"].append(resident_kib())
    await client.close()
    await service.close()
    seen["resources"] = await open_and_close(resources)
    print(json.dumps({"number of calls": calls, "number of streams": streams,
                      "number of resources": resources, **seen}))
    return max(figures[-1] - figures[1] for figures in seen.values()) > GROWTH_KIB


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(asyncio.run(main(*(given + [50_000, 5_000, 5_000][len(given):]))))
