"""Callers of a talk each, which send numbers and do not wait for answers, until the standard input ends. Prints a line
when all of them are answered, and at the end how many there were, and what was wrong: answers have numbers, too.

    callers.py STREAMS
"""

import asyncio
import json
import sys

import lever

GAP_S = 0.002
LIMIT_S = 60


class Caller:
    def __init__(self):
        self.sent = 0
        self.answers = 0
        self.moves = 0
        self.wrong = None
        self.answered = asyncio.Event()

    async def write(self, stream, ended):
        while not ended.is_set():
            self.sent += 1
            await stream.write(self.sent)
            await asyncio.sleep(GAP_S)
        await stream.end()

    async def read(self, stream):
        received = 0
        async for what, number, seen in stream:
            self.answers += 1
            self.answered.set()
            received += what == "read"
            self.moves += what == "moved"
            if (number, seen) != (self.answers, received):
                raise ValueError(f"{what} {number} {seen} has come for {self.answers} {received}")
            if what == "end" and seen != self.sent:
                raise ValueError(f"{seen} of {self.sent} have come")
        if what != "end":
            raise ValueError(f"the last was {what} {number}")

    async def run(self, client, number, ended):
        try:
            async with client.stream(f"/talks/t{number}/count_chan") as stream:
                await asyncio.gather(self.write(stream, ended), self.read(stream))
        except Exception as error:
            self.wrong = f"t{number}: {error!r} behind {self.sent}, {self.answers}"
            self.answered.set()


async def main():
    ended = asyncio.Event()
    async with lever.Client() as client:
        callers = [Caller() for _ in range(int(sys.argv[1]))]
        tasks = [asyncio.create_task(caller.run(client, i, ended)) for i, caller in enumerate(callers)]
        for caller in callers:
            await caller.answered.wait()
        print("answered", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        ended.set()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*tasks)
    print(json.dumps({"sent": sum(c.sent for c in callers), "answers": sum(c.answers for c in callers),
                      "moves": [c.moves for c in callers], "wrong": [c.wrong for c in callers if c.wrong]}))


asyncio.run(main())
