"""The service in Python: answers with its argument. Deployed, or as a program that listens:

    service.py attach HOST
"""

import asyncio
import sys

import lever


@lever.method
async def echo(value):
    return value


async def main(host):
    service = lever.serve({"echo": echo}, "bench-python", host=host, listen="127.0.0.1:0")
    print(f"listening {service.details.listening}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2]))
