"""Services and a client in one process, without a host and a network, for tests of services:

    import lever.testing
    import service                      # whose functions lever.method marks

    async def test_hello():
        async with lever.testing.start({"hello": service}, config={"hello": {"greeting": "Hi"}}) as t:
            assert await t.client.invoke("/hello/say_hello", "Ann") == "Hi, Ann!"

With `hold_time` the time of Lever stands still: its deadlines and timeouts pass by `await t.advance(seconds)`
alone. The event loop's own timers (`asyncio.sleep`) are not moved.
"""

from __future__ import annotations

import asyncio

from . import _codes, _loop
from ._client import Client
from ._errors import invalid, refusal
from ._service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Testing", "start"]

# After so many turns of the loop without an event, what was due has happened.
_QUIET_TURNS = 8
_TURNS_MAX = 10_000
_NANOS = 1_000_000_000


class Testing:
    """What `start` returns: `async with` starts the services, and closes them at its end."""

    client: Client
    """A client of the services."""

    def __init__(self, services: Mapping[str, Any], config: Mapping[str, Any],
                 secrets: Mapping[str, Mapping[str, str]], env: str | None, hold_time: bool) -> None:
        for option, given in (("config", config), ("secrets", secrets)):
            unknown = [name for name in given if name not in services]
            if unknown:
                raise invalid(f"{option}: there is no service {unknown[0]}")
        for name, texts in secrets.items():
            others = [key for key, text in texts.items() if not isinstance(text, str)]
            if others:
                raise invalid(f"secrets: {others[0]} of {name} is not a str")
        self._targets = services
        self._config = config
        self._secrets = secrets
        self._env = env
        self._hold_time = hold_time
        self._services: list[Service] = []
        self._core: Any = None
        self.client = Client(env=env)
        self.client._options["in_process"] = True

    async def __aenter__(self) -> Testing:
        self._core = _loop.engine_for(asyncio.get_running_loop()).core
        try:
            for name, target in self._targets.items():
                service = Service(name, env=self._env).add(target)
                service._in_process(self._config.get(name), self._secrets.get(name, {}))
                self._services.append(service.start())
                await service.attached()
            if self._hold_time:
                self._core.hold_time()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._hold_time:
            self._core.resume_time()
        await self._close()

    async def _close(self) -> None:
        await self.client.close()
        for service in self._services:
            if service._resources:  # whose close() is called, as where an instance stops
                await service.drain()
            await service.close()

    async def advance(self, seconds: float) -> None:
        """Moves the time that stands still, and waits until what was due has happened."""
        if not seconds >= 0:
            raise invalid("advance: a number of seconds is expected")
        if not self._hold_time or self._core is None:
            raise refusal(_codes.FAILED_PRECONDITION, "advance: start() was not told to hold the time")
        self._core.advance_time(round(seconds * _NANOS))
        quiet = 0
        for _ in range(_TURNS_MAX):
            before = self._core.delivered()
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._core.delivered() == before else 0
            if quiet >= _QUIET_TURNS:
                return


def start(services: Mapping[str, Any], *, config: Mapping[str, Any] | None = None,
          secrets: Mapping[str, Mapping[str, str]] | None = None, env: str | None = None,
          hold_time: bool = False) -> Testing:
    """Services by name. What each is given is a module or object with functions that `lever.method` has
    marked and a class that `lever.resource` has, or a dict of these by name. Resources are opened as `"new"`,
    and closed as `"idle"`, or as `"stopping"` at the end. `config` is by service, as in lever.json, and so are
    `secrets`, as `lever secret set` would have set them."""
    return Testing(services, config or {}, secrets or {}, env, hold_time)
