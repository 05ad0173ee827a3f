"""grpcio, asyncio: echo.proto's unary method. bench/common/load.h tells how it is driven.

    echo.py server | echo.py client ADDRESS

The messages are the bytes themselves, without a codec, which is the fastest that grpcio has.
"""

import asyncio
import json
import sys
import time

import grpc

METHOD = "/bench.Echo/Unary"
PAYLOAD = bytes(32)


class Echo(grpc.GenericRpcHandler):
    @staticmethod
    async def answer(request, _context):
        return request

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer) if details.method == METHOD else None


async def until_input_ends():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def serve():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening 127.0.0.1:{port}", flush=True)
    await until_input_ends()
    await server.stop(None)


async def unary(call, seconds, outstanding):
    latencies, errors = [], 0
    began = time.perf_counter()
    end = began + seconds

    async def caller():
        nonlocal errors
        started = time.perf_counter()
        while started < end:
            try:
                errors += await call(PAYLOAD) != PAYLOAD
            except grpc.aio.AioRpcError as error:
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


async def load(address):
    loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10)
        call = channel.unary_unary(METHOD)
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            verb, seconds, count = line.split()
            if verb != "unary":
                sys.exit(f"unknown command: {verb}")
            print(json.dumps(await unary(call, float(seconds), int(count))), flush=True)


asyncio.run(serve() if sys.argv[1] == "server" else load(sys.argv[2]))
