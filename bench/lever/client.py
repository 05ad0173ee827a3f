"""Lever's client in Python, for rows that compare Python programs:  client.py ADDRESS SERVICE

It is driven as bench/common/load.h tells."""

import asyncio
import json
import sys
import time

import lever

VALUE = "x" * 32


async def unary(client, address, seconds, outstanding):
    latencies, errors = [], 0
    began = time.perf_counter()
    end = began + seconds

    async def caller():
        nonlocal errors
        started = time.perf_counter()
        while started < end:
            try:
                errors += await client.invoke(address, VALUE) != VALUE
            except lever.LeverError as error:
                errors += 1
                print(error, file=sys.stderr)
            done = time.perf_counter()
            latencies.append(done - started)
            started = done

    await asyncio.gather(*(caller() for _ in range(outstanding)))
    elapsed = time.perf_counter() - began
    latencies.sort()

    def at(quantile):
        return latencies[int(quantile * (len(latencies) - 1))] * 1e6 if latencies else 0

    return {"calls": len(latencies), "errors": errors, "seconds": elapsed, "p50_us": at(0.5),
            "p99_us": at(0.99)}


async def main(host, service):
    loop = asyncio.get_running_loop()
    client = lever.Client(host, only_through_host=True)
    address = f"/{service}/echo"
    await client.invoke(address, VALUE)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, seconds, count = line.split()
        if verb != "unary":
            sys.exit(f"unknown command: {verb}")
        print(json.dumps(await unary(client, address, float(seconds), int(count))), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
