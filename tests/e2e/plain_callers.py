"""Calls counters as programs do that know nothing of Lever: gRPC and HTTP, without resending anything.

    python plain_callers.py HOST SERVICE CALLS_PER_SECOND RESOURCES STREAMS

Until standard input ends; then one line of JSON. Half of the calls are gRPC, half are HTTP. Each stream watches a
resource, and is opened again when it has ended.
"""

import asyncio
import collections
import json
import sys
import time

import admin_api
import aiohttp
import grpc
import msgpack

TIMEOUT_S = 60


class Callers:
    def __init__(self, address, service, resources):
        self.address, self.service, self.resources = address, service, resources
        self.messages, stubs = admin_api.modules("lever")
        self.channel = grpc.aio.insecure_channel(address)
        self.stub = stubs.LeverStub(self.channel)
        self.latencies = []
        self.failures = collections.Counter()
        self.acknowledged = collections.Counter()
        self.stream_ends = collections.Counter()
        self.stream_messages = 0
        self.over = asyncio.Event()

    def url(self, method):
        return ("lever-url", f"/{self.service}/{method}")

    async def grpc_call(self, resource, method, *arguments):
        reply = await self.stub.Invoke(
            self.messages.Message(value=msgpack.packb(list(arguments))), timeout=TIMEOUT_S,
            metadata=(self.url(method), ("lever-resource", resource)))
        assert reply.WhichOneof("body") == "value", reply
        return msgpack.unpackb(reply.value)

    async def grpc_add(self, resource):
        try:
            await self.grpc_call(resource, "add", 1)
        except grpc.aio.AioRpcError as error:
            return f"gRPC {error.code().name}: {error.details()}"

    async def http_add(self, resource):
        async with self.session.post(f"http://{self.address}/{self.service}/{resource}/add", json=[1]) as reply:
            if reply.status != 200:
                return f"HTTP {reply.status}: {await reply.text()}"

    async def call(self, number):
        resource = f"r{number % self.resources}"
        began = time.monotonic()
        failure = await (self.grpc_add if number % 2 else self.http_add)(resource)
        self.latencies.append(time.monotonic() - began)
        if failure:
            self.failures[failure] += 1
        else:
            self.acknowledged[resource] += 1

    async def watch(self, resource):
        while not self.over.is_set():
            call = self.stub.Stream(metadata=(self.url("watchChan"), ("lever-resource", resource)))
            ending = asyncio.create_task(self.over.wait())
            ending.add_done_callback(lambda _, call=call: call.cancel())
            try:
                await call.write(self.messages.Message(value=msgpack.packb([])))
                while await call.read() is not grpc.aio.EOF:
                    self.stream_messages += 1
                self.stream_ends[(await call.code()).name] += 1
            except grpc.aio.AioRpcError as error:
                self.stream_ends[error.code().name] += 1
            except asyncio.CancelledError:
                if not self.over.is_set():
                    raise
            ending.cancel()
            await asyncio.sleep(0.02)

    async def run(self, rate, streams):
        limits = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=limits, timeout=timeout) as self.session:
            watching = [asyncio.create_task(self.watch(f"r{i % self.resources}")) for i in range(streams)]
            reading = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            began, calls = time.monotonic(), []
            while not reading.done():
                for _ in range(int((time.monotonic() - began) * rate) - len(calls)):
                    calls.append(asyncio.create_task(self.call(len(calls))))
                await asyncio.sleep(0.005)
            await asyncio.gather(*calls)
            self.over.set()
            await asyncio.gather(*watching)
            lost = 0
            for resource, acknowledged in self.acknowledged.items():
                lost += max(0, acknowledged - await self.grpc_call(resource, "get"))
        await self.channel.close()
        self.latencies.sort()
        return {"calls": len(calls), "failed": sum(self.failures.values()), "failures": dict(self.failures),
                "lost": lost, "p50_ms": self.percentile(0.5), "p99_ms": self.percentile(0.99),
                "max_ms": self.percentile(1), "streams": streams, "stream_messages": self.stream_messages,
                "stream_ends": dict(self.stream_ends)}

    def percentile(self, share):
        return round(self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1e3, 1)


async def main(address, service, rate, resources, streams):
    print(json.dumps(await Callers(address, service, int(resources)).run(int(rate), int(streams))))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
