"""Resources: named objects of a service, each owned by one of its instances at a time.

A class that `resource` marks is the service's resource type. Here is what of it is a method, and how its
objects are opened and closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from inspect import getattr_static, isawaitable, isclass, isfunction, isroutine, signature

from ._context import current
from ._errors import invalid
from ._method import MARK, NAME, is_plain, is_stream_name
from ._sync import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any, TypeVar, overload

    from ._service import Service

    T = TypeVar("T")
else:
    def overload(function):
        return function

ORIGINS = ("new", "carried", "lost")
REASONS = ("idle", "moved", "upgrade", "stopping", "lost")

_MARK = "__lever_resource__"
_LIFE = frozenset(("open", "close", "resume"))
# Threads for plain open() and close(): methods that block have no part in them, and cannot hold up a move.
_LIFE_THREADS = 8

_log = logging.getLogger("lever")


class ResourceOptions:
    """How the resources of a service are run."""

    __slots__ = ("max_concurrency", "idle_timeout")

    def __init__(self, serial: bool, max_concurrency: int, idle_timeout: float) -> None:
        if serial and max_concurrency > 1:
            raise invalid("a resource that is serial has max_concurrency 1")
        self.max_concurrency = 1 if serial else max_concurrency
        self.idle_timeout = idle_timeout


@overload
def resource(type: type[T]) -> type[T]: ...
@overload
def resource(*, serial: bool = False, max_concurrency: int = 0,
             idle_timeout: float = 0) -> Callable[[type[T]], type[T]]: ...
def resource(type: Any = None, *, serial: bool = False, max_concurrency: int = 0,
             idle_timeout: float = 0) -> Any:
    """Makes a class the resource type of the service: the calls of `/<service>/<name>/<method>` go to the one
    object of that name, in the instance that owns it.

        @lever.resource
        class Note:
            async def open(self, name, state, origin): ...   # before its first call here
            async def edit(self, text): ...
            async def watch_chan(self, stream): ...
            async def close(self, reason): return self.text  # what its next owner opens it with
            async def resume(self, stream, token, last_received): ...  # a stream that has moved here

    Its methods are all that are public; `lever.method(name=...)` gives one another name. `open` and `close`
    may be left out. `origin` is `"new"`, `"carried"` or `"lost"`; `state` what `close` has returned, None
    unless it is carried. `reason` is `"idle"`, `"moved"`, `"upgrade"`, `"stopping"` or `"lost"`.

    With `resume` its streams go on where it moves to. It runs in place of the method that `stream.method`
    names, and was opened with `stream.arguments`: `token` is what came last with a message of the method's
    (`stream.write(message, token=...)`), `b""` without; `last_received` how many of its messages the caller
    has. See `ServiceStream`.

    Methods of one resource run at the same time, unless it is `serial` (one call at a time; streams beside
    it) or `max_concurrency` says how many. `idle_timeout` is in seconds, 3 minutes by default (0).
    """
    options = ResourceOptions(serial, max_concurrency, idle_timeout)

    def mark(marked: Any) -> Any:
        setattr(marked, _MARK, options)
        ResourceType(marked, options)  # what is wrong with it is told at once
        return marked

    return mark if type is None else mark(type)


def marked_options(value: object) -> ResourceOptions | None:
    """Of a class that `resource` has marked; a class below it is none by that."""
    return vars(value).get(_MARK) if isinstance(value, type) else None


class ResourceType:
    """A class, as the library is told of it."""

    def __init__(self, type: type, options: ResourceOptions) -> None:
        if not isclass(type):
            raise invalid(f"{type!r} is no class, which a resource has to be")
        self.type = type
        self.options = options
        self.methods = dict(_methods_of(type))
        if not self.methods:
            raise invalid(f"{type.__qualname__} has no public method: there is nothing to call")
        self.resumes = hasattr(type, "resume")
        if self.resumes:
            self._check_resume()

    def _check_resume(self) -> None:
        """It is called where a stream moves, which is late to find out."""
        resume = f"{self.type.__qualname__}.resume"
        if not isroutine(getattr(self.type, "resume")):
            raise invalid(f"{resume} is no method, which is what streams go on in")
        if not any(map(is_stream_name, self.methods)):
            raise invalid(f"{resume} is what streams go on in, and there is no streaming method; a method that "
                          "is called from outside gets that name by lever.method(name=\"resume\")")
        function = getattr_static(self.type, "resume")
        if not isfunction(function):
            return
        try:
            signature(function).bind(self, None, b"", 0)
        except TypeError as error:
            raise invalid(f"{resume} takes a stream, a token and a number: {error}") from None

    def register(self, handle: Any) -> None:
        """Tells the library of it."""
        handle.set_resource({"max_concurrency": self.options.max_concurrency,
                             "idle_timeout": self.options.idle_timeout,
                             "resumes": self.resumes})
        for name, attribute in self.methods.items():
            function = getattr(self.type, attribute)
            handle.add_resource_method(name, attribute, is_plain(function), is_stream_name(name))


def _methods_of(type: type) -> list[tuple[str, str]]:
    """(name, attribute) of each method."""
    found: dict[str, str] = {}
    for attribute in dir(type):
        value = getattr(type, attribute, None)
        if attribute.startswith("_") or attribute in _LIFE or not isroutine(value):
            continue
        name = getattr(value, MARK, attribute)
        if not NAME.fullmatch(name):
            raise invalid(f"{type.__qualname__}: {name!r} cannot be the name of a method")
        if name in found:
            raise invalid(f"{type.__qualname__}: there are two methods {name}")
        found[name] = attribute
    return list(found.items())


class OpenResource:
    """One that is open here. It is what `lever.context()` knows in its open() and close(), where there is no
    call."""

    __slots__ = ("_service", "resource", "generation", "target")

    _remaining_ns = None
    caller = ""
    cancelled = False

    def __init__(self, service: Service, name: str, generation: int) -> None:
        self._service = service
        self.resource = name
        self.generation = generation
        self.target: Any = None

    @property
    def metadata(self) -> dict[str, Any]:
        return {}


class Resources:
    """Those of a service that are open here. Threads: on the service's event loop."""

    def __init__(self, service: Service, type: ResourceType) -> None:
        self._service = service
        self._type = type.type
        self._open: dict[int, OpenResource] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, handle: Any, id: int, generation: int, name: str, state: Any, origin: int) -> None:
        """Makes the object and has it open itself. Those who call it are told why it cannot."""
        opened = OpenResource(self._service, name, generation)
        current.set(opened)
        try:
            opened.target = self._type()
            if hasattr(opened.target, "open"):
                await self._run(opened.target.open, name, state, ORIGINS[origin])
        except asyncio.CancelledError:
            handle.resource_refused(id, "the resource could not be opened: it was cancelled")
            raise
        except Exception as error:
            _log.exception("resource %r could not be opened", name)
            handle.resource_refused(id, f"the resource could not be opened: {str(error) or type(error).__name__}")
        else:
            self._open[id] = opened
            handle.resource_opened(id, opened.target, name)

    async def close(self, handle: Any, id: int, reason: int) -> None:
        """Has it close itself, and gives what it carries to the library; where that fails it is lost."""
        closed = self._open.pop(id, None)
        if closed is None:
            handle.resource_closed(id, None)
            return
        current.set(closed)
        try:
            carried = None
            if hasattr(closed.target, "close"):
                carried = await self._run(closed.target.close, REASONS[reason])
            handle.resource_closed(id, carried)
        except asyncio.CancelledError:
            handle.resource_lost(id)
            raise
        except Exception:
            _log.exception("resource %r could not be closed (%s)", closed.resource, REASONS[reason])
            handle.resource_lost(id)

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        if not is_plain(function):
            return await function(*args)
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._executor(), context.run, _call, loop, function, args)

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor
            self._pool = ThreadPoolExecutor(_LIFE_THREADS, "lever-resource")
        return self._pool

    def shutdown(self) -> None:
        """Nothing of it is used any more."""
        self._open.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    if isawaitable(result):
        result = wait_for(loop, _awaited(result))
    return result


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
