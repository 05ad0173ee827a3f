"""A web server that is a client and a service of Lever beside its own work:

    app.py PORT        with LEVER_HOST set, and aiohttp installed

    GET /hello/Ann     calls /hello-python/say_hello over Lever, wherever that runs
    GET /visits        what the methods below have counted, and whether the host knows this program

/visits/count and /visits/watch_chan are methods of this very process: other services call them, and
`lever ps` lists it as attached. When the host goes away the server keeps answering, and attaches again.
"""

import asyncio
import sys

import lever
from aiohttp import web


class Visits:
    """The service: its methods share the web server's memory and its event loop."""

    def __init__(self):
        self.count_by_name = {}
        self.changed = asyncio.Condition()

    @lever.method
    async def count(self, name):
        async with self.changed:
            self.count_by_name[name] = self.count_by_name.get(name, 0) + 1
            self.changed.notify_all()
        return self.count_by_name[name]

    @lever.method
    async def watch_chan(self, stream):
        """Every change, as it comes."""
        while True:
            await stream.write(dict(self.count_by_name))
            async with self.changed:
                await self.changed.wait()


async def hello(request):
    try:
        return web.json_response(
            {"greeting": await request.app["client"].call("/hello-python/say_hello",
                                                          [request.match_info["name"]], timeout=5.0)})
    except lever.LeverError as error:
        # Nobody could be reached: the page says so, and the server goes on.
        return web.json_response({"error": error.code, "executed": error.executed}, status=503)


async def visits(request):
    return web.json_response({"visits": request.app["visits"].count_by_name,
                              "service": request.app["service"].state})


async def attach(app):
    app["client"] = lever.Client()
    app["visits"] = Visits()
    async with lever.serve(app["visits"], "visits") as app["service"]:
        yield  # the server runs; afterwards the service is drained
    await app["client"].close()


def main():
    app = web.Application()
    app.add_routes([web.get("/hello/{name}", hello), web.get("/visits", visits)])
    app.cleanup_ctx.append(attach)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))


main()
