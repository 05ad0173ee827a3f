"""Clients that block, for threads."""

from __future__ import annotations

import asyncio
import threading

from . import _codes, _lever, _loop, _metadata
from ._client import Client, ClientStats, call_flags, client_options
from ._context import Context, current
from ._errors import LeverError, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from concurrent.futures import Future
    from typing import Any, TypeVar

    from ._stream import ServiceStream, Stream
    from ._types import Metadata, TlsOptions

    T = TypeVar("T")


# How often who waits for another thread's loop looks whether that is there still.
_LOOK_AGAIN_S = 0.5


def wait_for(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs it on a loop of another thread, and waits."""
    if asyncio._get_running_loop() is loop:
        coroutine.close()
        raise refusal(_codes.FAILED_PRECONDITION, "this would block the event loop that it waits for: "
                                                  "use lever.Client and await, or a plain def method")
    try:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # the loop is closed
        coroutine.close()
        raise
    try:
        while True:
            try:
                return future.result(_LOOK_AGAIN_S)
            except TimeoutError:
                if future.done():
                    return future.result()
                # A loop that is closed drops what it had still to run, and nobody is told.
                if loop.is_closed():
                    raise LeverError("CANCELLED", "the event loop that this waits for was closed") from None
    except BaseException:
        if not loop.is_closed():
            future.cancel()
        raise


class _Background:
    """A thread with an event loop, for what blocks and is more than a call. Made at its first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generation = 0

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._generation != _loop.generation:
                self._generation = _loop.generation
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="lever", daemon=True).start()
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return wait_for(self.loop(), coroutine)


background = _Background()


class SyncStream:
    """A stream for threads that block. Iterating over it gives the messages of the other side; one thread may
    read while another writes."""

    __slots__ = ("_stream", "_event_loop")

    def __init__(self, event_loop: asyncio.AbstractEventLoop, stream: Stream) -> None:
        self._event_loop = event_loop
        self._stream = stream

    def write(self, message: Any) -> None:
        """Sends one message; waits while the reader is behind."""
        wait_for(self._event_loop, self._stream.write(message))

    def end(self) -> None:
        """No more messages from this side."""
        wait_for(self._event_loop, self._stream.end())

    def cancel(self) -> None:
        """Gives the stream up."""
        self._event_loop.call_soon_threadsafe(self._stream.cancel)

    def __iter__(self) -> SyncStream:
        return self

    def __next__(self) -> Any:
        try:
            return wait_for(self._event_loop, self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> SyncStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()


class SyncMoving:
    """Whether the resource of a stream moves to another instance: what `SyncServiceStream.moving` is."""

    __slots__ = ("_stream", "_event_loop")

    def __init__(self, event_loop: asyncio.AbstractEventLoop, stream: ServiceStream) -> None:
        self._event_loop = event_loop
        self._stream = stream

    def is_set(self) -> bool:
        """Whether it moves: the method is to return, and its stream goes on there."""
        return self._stream.moving.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it moves, or the stream has ended, for `timeout` seconds at most. Whether it moves."""
        return wait_for(self._event_loop, self._stream.moving._wait(timeout))


class SyncServiceStream(SyncStream):
    """A stream that came in, as a method that is a plain `def` sees it; as `ServiceStream`."""

    __slots__ = ()

    _stream: ServiceStream

    @property
    def method(self) -> str:
        """The name under which the method is called."""
        return self._stream.method

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Those that the stream was opened with."""
        return self._stream.arguments

    @property
    def moving(self) -> SyncMoving:
        """Set when the resource moves to another instance: `stream.moving.is_set()`,
        `stream.moving.wait(timeout)`."""
        return SyncMoving(self._event_loop, self._stream)

    def write(self, message: Any, *, token: bytes | None = None) -> None:
        """Sends one message; waits while the reader is behind. `token` as for `ServiceStream.write`."""
        wait_for(self._event_loop, self._stream.write(message, token=token))


async def _open(client: Client, address: str, args: Sequence[Any], options: dict[str, Any]) -> Stream:
    return client.stream(address, *args, **options)


class SyncClient:
    """Calls methods and waits for them. Threads may share it, and run while it waits.

    The options are those of `Client`. In a forked child it raises `LeverError` (`FORKED`): a child makes its
    own. Within a method that runs in the pool, a call ends at the method's deadline at the latest. In an
    instance that a host has started, one without `host` uses the instance's connection, and so cannot be used
    on the thread of its event loop.
    """

    __slots__ = ("_options", "_handle", "_generation", "_streams", "_lock", "_closed", "_instance",
                 "__weakref__")

    def __init__(self, host: str | None = None, env: str | None = None, *,
                 only_through_host: bool = False, message_bytes_max: int = 0,
                 tls: TlsOptions | None = None, echo: bool = False) -> None:
        self._options = client_options(host, env, echo, only_through_host, message_bytes_max, tls)
        self._generation = _loop.generation
        self._streams: Client | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._handle: Any = None
        self._instance: Any = None if host is not None or echo else _loop.instance
        if self._instance is None:
            self._handle = _lever.sync_client(self._options)
            _loop.add_blocking(self)

    def invoke(self, address: str, *args: Any) -> Any:
        """Calls a method and returns its answer; as `Client.invoke`."""
        return self._call(address, args, None, 0, None)

    def call(self, address: str, args: Sequence[Any] = (), *, timeout: float | None = None,
             idempotent: bool = False, compress: bool = False,
             metadata: Metadata | None = None) -> Any:
        """The same with options, as `Client.call`."""
        return self._call(address, args, timeout, call_flags(idempotent, compress),
                          None if metadata is None else _metadata.written(metadata))

    def _call(self, address: str, args: Sequence[Any], timeout: float | None, flags: int,
              metadata: Any) -> Any:
        if self._generation != _loop.generation:
            raise _loop.forked()
        if self._instance is not None:
            return self._instance._method_client()._start(address, args, timeout, flags, metadata)
        incoming = current.get(None)
        if incoming is not None and incoming._open:
            left = Context(incoming).remaining
            if left is not None:
                bound = max(left, 1e-9)
                timeout = bound if timeout is None or not timeout < bound else timeout
        return self._handle.call(address, args, timeout, flags, metadata)

    def stream(self, address: str, *args: Any, timeout: float | None = None, compress: bool = False,
               metadata: Metadata | None = None,
               resume: tuple[bytes, int] | None = None) -> SyncStream:
        """Opens a stream to a streaming method; as `Client.stream`. Streams of all blocking clients of a
        process share one thread of the package's own."""
        if self._generation != _loop.generation:
            raise _loop.forked()
        if self._instance is not None:
            through: MethodClient = self._instance._method_client()
            return through.stream(address, *args, timeout=timeout, compress=compress,
                                  metadata=metadata, resume=resume)
        with self._lock:
            if self._closed:
                raise refusal(_codes.CANCELLED, "the client is closed")
            if self._streams is None:
                self._streams = Client(**self._options)
            streams = self._streams
        loop = background.loop()
        options = {"timeout": timeout, "compress": compress, "metadata": metadata, "resume": resume}
        return SyncStream(loop, wait_for(loop, _open(streams, address, args, options)))

    def stats(self) -> ClientStats:
        """Counters of this client."""
        if self._generation != _loop.generation:
            raise _loop.forked()
        if self._instance is not None:
            return self._instance.client.stats()  # type: ignore[no-any-return]
        return ClientStats(*self._handle.stats())

    def close(self) -> None:
        """Ends what is in flight with `CANCELLED`."""
        if self._generation != _loop.generation or self._handle is None:
            return
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, None
        self._handle.close()
        if streams is not None and background._loop is not None:
            background.run(streams.close())

    def _end(self) -> None:
        self._handle.end()

    def _abandon(self) -> None:
        self._handle.abandon()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class MethodClient:
    """What `lever.context().client` is in a plain `def` method: the service's client, for the thread that the
    method runs in. It has `invoke`, `call` and `stream` as `SyncClient` has."""

    __slots__ = ("_event_loop", "_client")

    def __init__(self, event_loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self._event_loop = event_loop
        self._client = client

    def invoke(self, address: str, *args: Any) -> Any:
        """Calls a method and returns its answer."""
        return self.call(address, args)

    def call(self, address: str, args: Sequence[Any] = (), *, timeout: float | None = None,
             idempotent: bool = False, compress: bool = False,
             metadata: Metadata | None = None) -> Any:
        """The same with the options of `Client.call`."""
        return self._start(address, args, timeout, call_flags(idempotent, compress),
                           None if metadata is None else _metadata.written(metadata))

    def _start(self, *arguments: Any) -> Any:
        async def run() -> Any:
            return await self._client._started(*arguments)

        return wait_for(self._event_loop, run())

    def stream(self, address: str, *args: Any, **options: Any) -> SyncStream:
        """Opens a stream to a streaming method."""
        stream = wait_for(self._event_loop, _open(self._client, address, args, options))
        return SyncStream(self._event_loop, stream)
