"""Services: functions that are called from elsewhere.

Used alike by the launcher, in an instance that a host has started, and by a program that attaches itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import threading
from inspect import isawaitable
from types import MappingProxyType

from . import _codes, _lever, _loop
from ._client import Client
from ._context import current
from ._errors import invalid, refusal
from ._method import MARK, NAME, is_plain, is_stream_name
from ._resource import ResourceOptions, Resources, ResourceType, marked_options
from ._stream import ServiceStream
from ._sync import MethodClient, SyncServiceStream, background, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any, NamedTuple

    from ._errors import LeverError
    from ._types import TlsOptions

    class ServiceDetails(NamedTuple):
        """What the host has told of an instance."""

        env: str
        name: str
        instance: str
        version: int
        """0: attached without a deploy."""
        listening: str
        """The bound address of `listen`, or `""`."""
else:
    from collections import namedtuple

    ServiceDetails = namedtuple("ServiceDetails", "env name instance version listening")
    ServiceDetails.__doc__ = "What the host has told of an instance."

_STARTING, _ATTACHED, _DRAINING, _DRAINED, _DETACHED = range(5)


def _parts_of(target: Any) -> dict[str, Any]:
    """The functions and classes of a module or object that bear a mark, by their names; all of a dict."""
    if isinstance(target, dict):
        return target
    found = {}
    for attribute in dir(target):
        value = getattr(target, attribute, None)
        name = attribute if marked_options(value) else getattr(value, MARK, None)
        if isinstance(name, str) and callable(value):
            found[name] = value
    return found


def _run_in_pool(service: Service, incoming: Any, function: Callable[..., Any], args: list[Any]) -> None:
    if not incoming._begin():
        return
    current.set(incoming)
    try:
        result = function(*args)
        if isawaitable(result):
            result = wait_for(service._loop, _awaited(result))  # type: ignore[arg-type]
    except BaseException as error:
        incoming._reply_error(error)
    else:
        incoming._reply(result)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Service:
    """An instance of a service in this process.

        service = lever.Service("hello")

        @service.method
        async def say_hello(name): ...

        async with service:          # start(); at the end drain() and close()
            ...

    `name` is left out in an instance that a host has started. `env` and `host` are as for a client. `listen`
    is an address of its own on which it takes calls from anybody, port 0 for any; with `tls:` before it, it is
    for callers that the host cannot introduce, each of which shows a token of the host's there. `private`: calls
    from outside of its environment are refused; not together with a plain `listen`. `max_concurrency` 0: only
    the transport's limits. `drain_timeout` is in seconds, `math.inf` for no end; by default (0) what the host
    says, else 30.
    `threads`: how many plain `def` methods run at a time, by default 4 more than there are processors, 32 at
    most; others wait.

    When the host goes away, the program keeps running, attaches again when the host is back, and is called
    again. Threads: all of it on the thread of the event loop that start() was called in.
    """

    def __init__(self, name: str | None = None, *, env: str | None = None, host: str | None = None,
                 listen: str | None = None, private: bool = False, max_concurrency: int = 0,
                 drain_timeout: float = 0, threads: int | None = None, tls: TlsOptions | None = None) -> None:
        if threads is not None and threads < 1:
            raise invalid("threads: a number above 0 is expected")
        version = ".".join(str(part) for part in sys.version_info[:3])
        self._options = {"name": name, "env": env, "host": host, "listen": listen, "private": private,
                         "max_concurrency": max_concurrency, "drain_timeout": drain_timeout,
                         "runtime": f"python {version}", "tls": tls}
        self._threads = threads or min(32, (os.cpu_count() or 1) + 4)
        self._methods: dict[str, Callable[..., Any]] = {}
        self._resource_type: ResourceType | None = None
        self._resources: Resources | None = None
        self._handle: Any = None
        self._core: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._client: Client | None = None
        self._config: Any = None
        self._config_known = False
        self._secrets: Mapping[str, str] | None = None
        self._state = _STARTING
        self._started = False
        self._closed = False
        self._error: LeverError | None = None
        self._waiting: dict[str, list[asyncio.Future[None]]] = {"attached": [], "drained": [],
                                                                 "closed": []}
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_state: Callable[[str, LeverError | None], object] | None = None
        """Called with each new state, and on `"detached"` with the reason."""

    # ---- Methods ----

    def method(self, function: Any = None, *, name: str | None = None) -> Any:
        """Adds a function, as `lever.method` marks it."""
        def take(taken: Any) -> Any:
            self.add({name or taken.__name__: taken})
            return taken

        return take if function is None else take(function)

    def resource(self, type: Any = None, *, serial: bool = False, max_concurrency: int = 0,
                 idle_timeout: float = 0) -> Any:
        """Makes a class the service's resource type, as `lever.resource` does."""
        def take(taken: Any) -> Any:
            self._take_resource(taken, ResourceOptions(serial, max_concurrency, idle_timeout))
            return taken

        return take if type is None else take(type)

    def add(self, target: Any) -> Service:
        """Adds the functions of a module or object that `lever.method` has marked, and the class that
        `lever.resource` has; or all of a dict by name. Before start()."""
        self._refuse_started()
        for name, part in _parts_of(target).items():
            if options := marked_options(part):
                self._take_resource(part, options)
                continue
            if not NAME.fullmatch(name):
                raise invalid(f"{name!r} cannot be the name of a method")
            if name in self._methods:
                raise refusal(_codes.ALREADY_EXISTS, f"there are two methods {name}")
            self._methods[name] = part
        return self

    def _take_resource(self, type: type, options: ResourceOptions) -> None:
        self._refuse_started()
        taken = ResourceType(type, options)
        if self._resource_type is not None and self._resource_type.type is not type:
            raise refusal(_codes.ALREADY_EXISTS, f"there are two resource types, {type.__qualname__} and "
                                                 f"{self._resource_type.type.__qualname__}")
        self._resource_type = taken

    def _refuse_started(self) -> None:
        if self._started:
            raise refusal(_codes.FAILED_PRECONDITION, "the service has been started")

    @property
    def method_count(self) -> int:
        """How many methods there are, those of resources included."""
        return len(self._methods) + len(self._resource_type.methods if self._resource_type else ())

    # ---- Life ----

    def prepare(self) -> Service:
        """Makes the connection known to this event loop, so that clients made from here on use it. start()
        does it where it was not done."""
        if self._handle is None:
            self._loop = asyncio.get_running_loop()
            self._core = _loop.engine_for(self._loop).core
            self._handle = _lever.ServiceHandle(self._core, self, self._options)
            if self._options["name"] is None:
                _loop.instance = self
        return self

    def start(self) -> Service:
        """Attaches to the host, in the event loop that runs here, and takes calls. Returns at once."""
        if self._closed:
            raise refusal(_codes.CANCELLED, "the service is closed")
        if self._started:
            raise refusal(_codes.FAILED_PRECONDITION, "the service has been started")
        self.prepare()
        for name, function in self._methods.items():
            self._handle.add_method(name, function, is_plain(function), is_stream_name(name))
        if self._resource_type is not None:
            self._resource_type.register(self._handle)
            self._resources = Resources(self, self._resource_type)
        self._handle.start()
        self._started = True
        return self

    async def attached(self) -> None:
        """Returns when the host knows the service, and calls come."""
        if self._state != _ATTACHED:
            await self._wait("attached")

    async def drain(self) -> None:
        """Out of every route table, and no new calls; what runs is finished. Returns when nothing is
        left."""
        if self._closed:
            raise refusal(_codes.CANCELLED, "the service is closed")
        if not self._started:
            raise refusal(_codes.FAILED_PRECONDITION, "the service has not been started")
        self._handle.drain()
        await self.drained()

    async def drained(self) -> None:
        """Returns when a drain, by this program or by the host, has left nothing."""
        if self._state != _DRAINED:
            await self._wait("drained")

    def _in_process(self, config: Any, secrets: Mapping[str, str]) -> Service:
        """Without a host: for `lever.testing`."""
        self._options.update(in_process=True, config_json=json.dumps(config),
                             secrets_json=json.dumps(dict(secrets)))
        return self

    async def close(self) -> None:
        """Ends what runs with `CANCELLED`. Returns when all of it has ended."""
        if self._handle is None or self._closed:
            self._closed = True
            return
        if self._handle.close():
            await self._wait("closed")
        for task in list(self._tasks):
            task.cancel()

    async def __aenter__(self) -> Service:
        return self if self._started else self.start()

    async def __aexit__(self, kind: object, *error: object) -> None:
        if kind is None and not self._closed:
            await self.drain()
        await self.close()

    # ---- What is known of it ----

    @property
    def details(self) -> ServiceDetails:
        """Environment, name, instance, version and address, as far as the host has told."""
        details = self._prepared().details()
        del details["config_json"], details["secrets_json"]
        return ServiceDetails(**details)

    @property
    def config(self) -> Any:
        """`config` of lever.json."""
        if not self._config_known:
            self._config = json.loads(self._prepared().details()["config_json"])
            self._config_known = True
        return self._config

    @property
    def secrets(self) -> Mapping[str, str]:
        """What `lever secret set` has set, by name."""
        if self._secrets is None:
            self._secrets = MappingProxyType(json.loads(self._prepared().details()["secrets_json"]))
        return self._secrets

    @property
    def state(self) -> str:
        """`"starting"`, `"attached"`, `"draining"`, `"drained"`, `"detached"` or `"closed"`."""
        names = ("starting", "attached", "draining", "drained", "detached")
        return "closed" if self._closed else names[self._state]

    @property
    def detached_because(self) -> LeverError | None:
        """Why the host is gone, while the state is `"detached"`."""
        return self._error if self._state == _DETACHED else None

    @property
    def client(self) -> Client:
        """A client over the service's own connection to its host."""
        if self._client is None:
            handle = self._prepared()
            self._client = Client()
            self._client._service = handle
        return self._client

    def _prepared(self) -> Any:
        if self._handle is None:
            raise refusal(_codes.FAILED_PRECONDITION, "the service has not been started")
        return self._handle

    def _method_client(self) -> MethodClient:
        return MethodClient(self._loop, self.client)  # type: ignore[arg-type]

    # ---- Waiting ----

    async def _wait(self, what: str) -> None:
        if self._closed:
            raise refusal(_codes.CANCELLED, "the service is closed")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[what].append(future)
        await future

    def _settle(self, what: str, error: Exception | None = None) -> None:
        waiting, self._waiting[what] = self._waiting[what], []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    # ---- Called by the compiled part ----

    def _on_state(self, state: int, error: LeverError | None) -> None:
        self._state = state
        self._error = error
        if state == _ATTACHED:
            self._config_known = False
            self._secrets = None
            self._settle("attached")
        elif state == _DRAINED:
            self._settle("drained")
        if self.on_state is not None:
            self.on_state(self.state, error)

    def _on_closed(self) -> None:
        self._closed = True
        if _loop.instance is self:
            _loop.instance = None
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        if self._resources is not None:
            self._resources.shutdown()
        closed = refusal(_codes.CANCELLED, "the service was closed")
        self._settle("attached", closed)
        self._settle("drained", closed)
        self._settle("closed")
        if self.on_state is not None:
            self.on_state("closed", None)

    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor
            self._pool = ThreadPoolExecutor(self._threads, "lever-method")
        return self._pool

    def _in_pool(self, incoming: Any, function: Any, args: list[Any]) -> None:
        context = contextvars.copy_context()
        self._executor().submit(context.run, _run_in_pool, self, incoming, function, args)

    def _on_stream(self, incoming: Any, function: Any, args: list[Any], in_pool: bool, name: str,
                   resumed: tuple[bytes, int] | None) -> None:
        resumable = (self._resource_type is not None and self._resource_type.resumes
                     and incoming.resource != "")
        stream = ServiceStream(self._core, incoming, name, args, resumable)
        if resumed is not None:
            args = list(resumed)
            in_pool = is_plain(function)
        stream._task = self._spawn(self._run_stream(stream, incoming, function, args, in_pool))

    def _on_resource_open(self, id: int, generation: int, name: str, state: Any, origin: int) -> None:
        resources: Resources = self._resources  # type: ignore[assignment]
        self._spawn(resources.open(self._handle, id, generation, name, state, origin))

    def _on_resource_close(self, id: int, reason: int) -> None:
        resources: Resources = self._resources  # type: ignore[assignment]
        self._spawn(resources.close(self._handle, id, reason))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)  # type: ignore[union-attr]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_stream(self, stream: ServiceStream, incoming: Any, function: Any, args: list[Any],
                          in_pool: bool) -> None:
        if not incoming._begin():
            return
        stream._begun()
        current.set(incoming)
        try:
            if in_pool:
                loop = asyncio.get_running_loop()
                context = contextvars.copy_context()
                await loop.run_in_executor(self._executor(), context.run, function,
                                           SyncServiceStream(loop, stream), *args)
            else:
                await function(stream, *args)
            await stream._returned()
        except asyncio.CancelledError:
            if not stream._ended:
                stream._core.stream_cancel(stream._id, _codes.CANCELLED, "the method was cancelled")
            raise
        except Exception as error:
            await stream._failed(error)
        except BaseException:
            stream._core.stream_cancel(stream._id, _codes.INTERNAL, "the service is being ended")
            raise


def serve(target: Any, name: str | None = None, **options: Any) -> Service:
    """Makes this program an instance of a service, without a deploy: the functions of `target` (a module or
    object with functions that `lever.method` has marked, or a dict of functions by name) are its methods, and
    a class that `lever.resource` has marked is its resource type.
    The options are those of `Service`. In an event loop; returns at once.

        service = lever.serve({"say_hello": say_hello}, "hello")
        ...
        await service.drain()
    """
    return Service(name, **options).add(target).start()


class ThreadService:
    """A service on a thread of its own: what `serve_in_thread` returns. Any thread may use it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def attached(self, timeout: float | None = None) -> None:
        """Waits until the host knows the service, for `timeout` seconds at most."""
        background.run(asyncio.wait_for(self._service.attached(), timeout))

    def drain(self) -> None:
        """No new calls; waits until what runs is finished."""
        background.run(self._service.drain())

    def close(self) -> None:
        """Ends what runs with `CANCELLED`."""
        background.run(self._service.close())

    @property
    def state(self) -> str:
        """As `Service.state`."""
        return self._service.state

    @property
    def details(self) -> ServiceDetails:
        """As `Service.details`."""
        return self._service.details

    def __enter__(self) -> ThreadService:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.drain()
        self.close()


def serve_in_thread(target: Any, name: str | None = None, **options: Any) -> ThreadService:
    """As `serve`, for programs without an event loop: `async def` methods run on a thread of the package's
    own."""
    async def run() -> Service:
        return serve(target, name, **options)

    return ThreadService(background.run(run()))
