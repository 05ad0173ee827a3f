"""Streams of messages: the caller's side and the method's side.

Writing: what the library does not take now (its queue is full) waits here, encoded, and write() waits with
it. Reading is by credit: the library delivers at most what was granted, and what the program reads is
granted again, so that a stream holds a bounded number of messages that nobody has read.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections import deque

from . import _codes, _lever
from ._errors import LeverError, Moved, invalid, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Credit: messages and bytes that may lie here unread. Granted again when half of it was read.
PREFETCH_MESSAGES = 64
PREFETCH_BYTES = 256 * 1024
# Of streams that can be resumed: their callers keep what is not granted again, to send it elsewhere.
RESUMABLE_MESSAGES = 16
RESUMABLE_BYTES = 64 * 1024

TOKEN_BYTES_MAX = 4096


def token_bytes(token: Any) -> bytes:
    """A token from which a stream is resumed, looked at."""
    if not isinstance(token, (bytes, bytearray, memoryview)):
        raise invalid("a token to resume a stream from is bytes")
    if len(token) > TOKEN_BYTES_MAX:
        raise invalid(f"a token to resume a stream from has at most {TOKEN_BYTES_MAX} bytes")
    return bytes(token)


class Stream:
    """A stream of messages. Iterating over it gives those of the other side.

    Threads: on the loop's thread.
    """

    __slots__ = ("_core", "_id", "_waiting", "_send_closed", "_close_due", "_messages", "_readers",
                 "_window_messages", "_window_bytes", "_used_messages", "_used_bytes", "_read_ended",
                 "_ended", "_error", "_error_told", "__weakref__")

    def __init__(self, core: Any) -> None:
        self._core = core
        self._id = 0
        # Writes that wait for room: (kind, bytes, token, future).
        self._waiting: deque[tuple[int, bytes, bytes | None, asyncio.Future[None]]] = deque()
        self._send_closed = False  # end() was called
        self._close_due = False  # and is to be carried out when nothing waits any more
        self._messages: deque[tuple[Any, int]] = deque()
        self._readers: deque[asyncio.Future[Any]] = deque()
        self._window_messages = PREFETCH_MESSAGES
        self._window_bytes = PREFETCH_BYTES
        self._used_messages = 0  # read, and not granted again
        self._used_bytes = 0
        self._read_ended = False
        self._ended = False
        self._error: Exception | None = None  # why it ended, if not well
        self._error_told = False

    # ---- Writing ----

    async def write(self, message: Any) -> None:
        """Sends one message. Returns when there is room for more: awaiting it is back-pressure."""
        await self._write(message, None)

    async def _write(self, message: Any, token: bytes | None) -> None:
        if self._ended:
            raise self._error or self._over()
        if self._send_closed:
            raise refusal(_codes.FAILED_PRECONDITION, "the stream was ended by end()")
        if self._waiting:
            kind, data = _lever.encode_message(message)
        else:
            sent = self._core.stream_send(self._id, message, token)
            if sent is None:
                return
            if isinstance(sent, int):
                raise self._error or refusal(sent)
            kind, data = sent
        future = get_running_loop().create_future()
        entry = (kind, data, token, future)
        self._waiting.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            # It was not sent, and will not be, unless it was taken in the same moment.
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._close_if_due()
            raise

    async def end(self) -> None:
        """No more messages from this side. Returns when what was written has been taken."""
        if not self._send_closed and not self._ended:
            self._send_closed = True
            self._close_due = True
            self._close_if_due()
        await self._flushed()

    def cancel(self) -> None:
        """Gives the stream up: what waits is dropped, and the other side learns of it."""
        if self._ended:
            return
        self._stop_sending()
        self._messages.clear()
        self._core.stream_cancel(self._id, _codes.CANCELLED, "cancelled by the program")

    def _stop_sending(self) -> None:
        self._send_closed = True
        self._close_due = False

    async def _flushed(self) -> None:
        while self._waiting and not self._ended:
            await asyncio.wait([self._waiting[-1][-1]])

    def _close_if_due(self) -> None:
        if self._close_due and not self._waiting:
            self._close_due = False
            self._core.stream_close_send(self._id)

    @staticmethod
    def _over() -> LeverError:
        return refusal(_codes.FAILED_PRECONDITION, "the stream has ended")

    # ---- Reading ----

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        while not self._messages:
            if self._error is not None and not self._error_told:
                self._error_told = True
                raise self._error
            if self._read_ended:
                raise StopAsyncIteration
            self._check_reading()
            reader = get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            except asyncio.CancelledError:
                if reader in self._readers:
                    self._readers.remove(reader)
                if not reader.cancelled():
                    self._wake(1)  # what it was woken for is somebody else's
                raise
        self._check_reading()
        value, size = self._messages.popleft()
        self._used(size)
        return value

    def _check_reading(self) -> None:
        """Raises where what comes, or has come, is not to be read any more."""

    def _used(self, size: int) -> None:
        self._used_messages += 1
        self._used_bytes += size
        due = (self._used_messages * 2 >= self._window_messages
               or self._used_bytes * 2 >= self._window_bytes)
        if due and not self._read_ended and not self._ended:
            # No bytes at all would be read as no bound.
            self._core.stream_read(self._id, self._used_messages, max(self._used_bytes, 1))
            self._used_messages = self._used_bytes = 0

    def _wake(self, readers: int) -> None:
        """Readers look again: each takes what there is, or waits on."""
        while self._readers and readers > 0:
            reader = self._readers.popleft()
            if not reader.done():  # else its task was cancelled
                reader.set_result(None)
                readers -= 1

    # ---- Events ----

    def _on_message(self, value: Any, size: int) -> None:
        self._messages.append((value, size))
        self._wake(1)

    def _on_half_closed(self) -> None:
        self._read_ended = True
        self._wake(len(self._readers))

    def _on_writable(self) -> None:
        while self._waiting:
            kind, data, token, future = self._waiting[0]
            status = self._core.stream_write(self._id, kind, data, token)
            if status == _codes.WOULD_BLOCK:
                return
            self._waiting.popleft()
            if future.done():
                continue
            if status == _codes.OK:
                future.set_result(None)
            else:
                future.set_exception(refusal(status))
        self._close_if_due()

    def _on_end(self, error: Exception | None) -> None:
        self._ended = True
        self._error = error
        while self._waiting:
            future = self._waiting.popleft()[-1]
            if not future.done():
                future.set_exception(error or self._over())
        self._on_half_closed()


class ClientStream(Stream):
    """A stream to a streaming method. Leaving its `async with` before its end cancels it."""

    __slots__ = ("_client",)

    def __init__(self, core: Any, client: Any) -> None:
        super().__init__(core)
        self._client = client  # which is closed where nobody has it any more

    async def __aenter__(self) -> ClientStream:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.cancel()

    def __aiter__(self) -> ClientStream:
        return self


class Moving:
    """Whether the resource of a stream moves to another instance: what `ServiceStream.moving` is."""

    __slots__ = ("_moves", "_seen", "_settled")

    def __init__(self) -> None:
        self._moves = False
        self._seen = False  # the method knows that it does
        self._settled = asyncio.Event()  # it moves, or the stream has ended

    def is_set(self) -> bool:
        """Whether it moves: the method is to return, and its stream goes on there."""
        self._seen |= self._moves
        return self._moves

    async def wait(self) -> bool:
        """Returns True when it moves, False when the stream has ended."""
        await self._settled.wait()
        return self.is_set()

    async def _wait(self, timeout: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        except TimeoutError:
            pass
        return self.is_set()


class ServiceStream(Stream):
    """A stream that came in, as its method sees it: returning ends it, raising sends the error.

    Where its resource moves, and the resource's type has `resume`, reading raises `Moved` and `moving` is set.
    The method returns then, or lets `Moved` through, and the stream goes on in `resume` at the new owner; what
    came and was not read is read there. A method that has learned of neither ends the stream by returning, as
    `end()` does.
    """

    __slots__ = ("_incoming", "_task", "_moving", "_method", "_arguments")

    def __init__(self, core: Any, incoming: Any, method: str, arguments: list[Any],
                 resumable: bool) -> None:
        super().__init__(core)
        self._id = incoming._id
        self._incoming = incoming
        self._task: asyncio.Task[None] | None = None
        self._moving = Moving()
        self._method = method
        self._arguments = tuple(arguments)
        if resumable:
            self._window_messages = RESUMABLE_MESSAGES
            self._window_bytes = RESUMABLE_BYTES

    @property
    def method(self) -> str:
        """The name under which the method is called."""
        return self._method

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Those that the stream was opened with."""
        return self._arguments

    @property
    def moving(self) -> Moving:
        """Set when the resource moves to another instance, for methods that do not read:
        `stream.moving.is_set()`, `await stream.moving.wait()`. Never, if its type has no `resume`, or if the
        caller cannot follow: the stream ends then."""
        return self._moving

    async def write(self, message: Any, *, token: bytes | None = None) -> None:
        """Sends one message. Returns when there is room for more: awaiting it is back-pressure.

        `token` is what `resume` is given if this is the last message with one that has come when the resource
        moves: at most 4096 bytes, which say how to go on behind this message.
        """
        await self._write(message, None if token is None else token_bytes(token))

    def _begun(self) -> None:
        self._incoming._stream(self)
        self._core.stream_read(self._id, self._window_messages, self._window_bytes)

    def _check_reading(self) -> None:
        if self._moving.is_set():
            raise Moved("the resource of the stream moves to another instance")

    async def _returned(self) -> None:
        """The method has returned, or has let Moved through."""
        if not self._moving._seen or self._send_closed:
            await self.end()
            return
        self._send_closed = True
        await self._flushed()
        if not self._ended:
            self._core.stream_moved(self._id, len(self._messages))

    async def _failed(self, error: BaseException) -> None:
        """The method has raised it."""
        if self._moving._seen and _is_moved(error):
            await self._returned()
            return
        await self._flushed()
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._ended:
            return
        self._stop_sending()
        if self._core.stream_fail(self._id, error) != _codes.OK:
            self._core.stream_cancel(self._id, _codes.INTERNAL,
                                     "the error of the method cannot be sent")

    def _on_moving(self) -> None:
        self._moving._moves = True
        self._moving._settled.set()
        self._wake(len(self._readers))

    def _on_end(self, error: Exception | None) -> None:
        self._incoming._ended(error is not None)
        self._moving._settled.set()
        super()._on_end(error)
        if error is not None and self._task is not None:
            self._task.cancel()


def _is_moved(error: BaseException) -> bool:
    """Whether it is Moved, or nothing else, as a TaskGroup raises it."""
    return isinstance(error, Moved) or (isinstance(error, BaseExceptionGroup)
                                        and error.split(Moved)[1] is None)
