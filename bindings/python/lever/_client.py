"""Clients on an event loop: unary calls, and the opening of streams."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop

from . import _codes, _lever, _loop, _metadata
from ._errors import invalid, refusal
from ._stream import PREFETCH_BYTES, PREFETCH_MESSAGES, ClientStream, token_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

    from ._lever import Call
    from ._types import Metadata, TlsOptions
else:
    from collections import namedtuple

_IDEMPOTENT = 1
_COMPRESS = 4

if TYPE_CHECKING:
    class ClientStats(NamedTuple):
        """Counters of a client, since it was made."""

        calls_direct: int
        """Calls and streams that went straight to an instance."""
        calls_through_host: int
        retries: int
        direct_connections: int
        """Open now."""
else:
    ClientStats = namedtuple("ClientStats",
                             "calls_direct calls_through_host retries direct_connections")
    ClientStats.__doc__ = "Counters of a client, since it was made."


def call_flags(idempotent: bool, compress: bool) -> int:
    return (_IDEMPOTENT if idempotent else 0) | (_COMPRESS if compress else 0)


def client_options(host: str | None, env: str | None, echo: bool, only_through_host: bool,
                   message_bytes_max: int, tls: TlsOptions | None) -> dict[str, Any]:
    return {"host": host, "env": env, "echo": echo, "only_through_host": only_through_host,
            "message_bytes_max": message_bytes_max, "tls": tls}


def _resume_point(token: bytes, received: int) -> tuple[bytes, int]:
    if received < 0:
        raise invalid("resume: the number of messages received is 0 or more")
    return token_bytes(token), received


class _Closing:
    """Hears that a client's close has completed."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    def _on_closed(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)


class Client:
    """Calls methods, from the event loop that runs.

    `host` is `"127.0.0.1:8080"`, `"host:8080"`, `"unix:/path"` or `"tls:host:8443"`; by default the host
    that this instance is attached to, else `$LEVER_HOST`, else `127.0.0.1:8080`. `env` is the environment
    of addresses that name none; by default this instance's, else `$LEVER_ENV`, else `dev.lever`. With
    `only_through_host` calls never go straight to an instance. `message_bytes_max` is 4 MiB by default.
    `tls` is for a host with `tls:` before its address: PEM files `ca`, `cert` and `key`, and `server_name`.
    With `echo` there is no network: a call answers with its own arguments, a stream with its own messages.

    Addresses are `"/service/method"`, `"/service/resource/method"` or `"lever://env/service/method"`.

    A client may be made anywhere. It connects in the event loop that first uses it, and may be used in
    others, where it connects anew; the last one counts. Not for other threads: `SyncClient` is.
    """

    __slots__ = ("_options", "_service", "_loop", "_handle", "_start", "_closing", "_closed",
                 "_generation", "__weakref__")

    def __init__(self, host: str | None = None, env: str | None = None, *,
                 only_through_host: bool = False, message_bytes_max: int = 0,
                 tls: TlsOptions | None = None, echo: bool = False) -> None:
        self._options = client_options(host, env, echo, only_through_host, message_bytes_max, tls)
        self._service: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: Any = None
        self._start: Any = None
        self._closing = _Closing()
        self._closed = False
        self._generation = _loop.generation

    def invoke(self, address: str, *args: Any) -> Call[Any]:
        """Calls a method; await what this returns for the answer.

        The call is under way at once, whether it is awaited or not. It ends after 60 s at the latest.
        Raises `MethodError` with the method's own error, `LeverError` for trouble of the platform.
        """
        if self._loop is not get_running_loop():
            self._bind()
        return self._start(address, args, None, 0, None)  # type: ignore[no-any-return]

    def call(self, address: str, args: Sequence[Any] = (), *, timeout: float | None = None,
             idempotent: bool = False, compress: bool = False,
             metadata: Metadata | None = None) -> Call[Any]:
        """Calls a method, with options.

        `timeout` is in seconds: 60 by default, `math.inf` for none. A call that is `idempotent` may be run
        twice: it is sent again where its outcome is unknown. With `compress` what is sent goes compressed
        (gzip) and is answered likewise: for slow networks.
        """
        if self._loop is not get_running_loop():
            self._bind()
        return self._start(  # type: ignore[no-any-return]
            address, args, timeout, call_flags(idempotent, compress),
            None if metadata is None else _metadata.written(metadata))

    def _started(self, address: str, args: Sequence[Any], timeout: float | None, flags: int,
                 metadata: Any) -> Call[Any]:
        if self._loop is not get_running_loop():
            self._bind()
        return self._start(address, args, timeout, flags, metadata)  # type: ignore[no-any-return]

    def stream(self, address: str, *args: Any, timeout: float | None = None, compress: bool = False,
               metadata: Metadata | None = None,
               resume: tuple[bytes, int] | None = None) -> ClientStream:
        """Opens a stream to a streaming method:

            async with client.stream("/hello/echo_chan", "hi") as s:
                await s.write(1)
                await s.end()
                async for message in s: ...

        `timeout` is in seconds, for all of the stream; none by default. `resume` takes up again a stream of a
        resource that has ended: `(error.resume_token, error.resume_received)` of its `LeverError`.
        """
        if self._loop is not get_running_loop():
            self._bind()
        stream = ClientStream(_loop.engine_for(self._loop).core,  # type: ignore[arg-type]
                              self._handle)
        stream._id = self._handle.open_stream(
            stream, PREFETCH_MESSAGES, PREFETCH_BYTES, address, args, timeout,
            call_flags(False, compress), None if metadata is None else _metadata.written(metadata),
            None if resume is None else _resume_point(*resume))
        return stream

    def stats(self) -> ClientStats:
        """Counters of this client. All zero before its first call."""
        if self._handle is None:
            return ClientStats(0, 0, 0, 0)
        return ClientStats(*self._handle.stats())

    async def close(self) -> None:
        """Ends what is in flight with `CANCELLED`, and returns when all of it has ended."""
        self._closed = True
        handle, loop = self._handle, self._loop
        self._loop = None
        if handle is None or loop is not get_running_loop():
            self._handle = self._start = None
            return
        done: asyncio.Future[None] = loop.create_future()
        self._closing.waiting.append(done)
        if handle.close():
            await done

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _bind(self) -> None:
        """Connects in the event loop that runs here."""
        if self._generation != _loop.generation:
            raise _loop.forked()
        if self._closed:
            raise refusal(_codes.CANCELLED, "the client is closed")
        loop = get_running_loop()
        engine = _loop.engine_for(loop)
        self._closing = _Closing()
        self._handle = _lever.client(engine.core, self._closing, self._options, self._service)
        self._start = self._handle.start
        self._loop = loop
