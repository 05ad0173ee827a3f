"""Calls addresses whose answers are no values: tests/matrix/README.md, "The hostile client"."""
import asyncio
import json
import sys

import lever


async def outcome(client, address):
    try:
        if address.endswith("Chan"):
            async with client.stream(address) as stream:
                async for _ in stream:
                    pass
        else:
            await client.invoke(address)
    except lever.LeverError as error:
        return error.code
    except lever.MethodError:
        return "METHOD_ERROR"
    return "OK"


async def main():
    async with lever.Client() as client:
        for address in sys.argv[1:]:
            print(json.dumps([address, await outcome(client, address)]), flush=True)


asyncio.run(main())
