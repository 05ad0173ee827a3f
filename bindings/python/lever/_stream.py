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
from ._errors import LeverError, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Credit: messages and bytes that may lie here unread. Granted again when half of it was read.
PREFETCH_MESSAGES = 64
PREFETCH_BYTES = 256 * 1024


class Stream:
    """A stream of messages. Iterating over it gives those of the other side.

    Threads: on the loop's thread.
    """

    __slots__ = ("_core", "_id", "_waiting", "_send_closed", "_close_due", "_messages", "_readers",
                 "_used_messages", "_used_bytes", "_read_ended", "_ended", "_error", "_error_told",
                 "__weakref__")

    def __init__(self, core: Any) -> None:
        self._core = core
        self._id = 0
        # Writes that wait for room: (kind, bytes, future).
        self._waiting: deque[tuple[int, bytes, asyncio.Future[None]]] = deque()
        self._send_closed = False  # end() was called
        self._close_due = False  # and is to be carried out when nothing waits any more
        self._messages: deque[tuple[Any, int]] = deque()
        self._readers: deque[asyncio.Future[Any]] = deque()
        self._used_messages = 0  # read, and not granted again
        self._used_bytes = 0
        self._read_ended = False
        self._ended = False
        self._error: Exception | None = None  # why it ended, if not well
        self._error_told = False

    # ---- Writing ----

    async def write(self, message: Any) -> None:
        """Sends one message. Returns when there is room for more: awaiting it is back-pressure."""
        if self._ended:
            raise self._error or self._over()
        if self._send_closed:
            raise refusal(_codes.FAILED_PRECONDITION, "the stream was ended by end()")
        if self._waiting:
            kind, data = _lever.encode_message(message)
        else:
            sent = self._core.stream_send(self._id, message)
            if sent is None:
                return
            if isinstance(sent, int):
                raise self._error or refusal(sent)
            kind, data = sent
        future = get_running_loop().create_future()
        entry = (kind, data, future)
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
            await asyncio.wait([self._waiting[-1][2]])

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
        value, size = self._messages.popleft()
        self._used(size)
        return value

    def _used(self, size: int) -> None:
        self._used_messages += 1
        self._used_bytes += size
        due = (self._used_messages * 2 >= PREFETCH_MESSAGES
               or self._used_bytes * 2 >= PREFETCH_BYTES)
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
            kind, data, future = self._waiting[0]
            status = self._core.stream_write(self._id, kind, data)
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
            future = self._waiting.popleft()[2]
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


class ServiceStream(Stream):
    """A stream that came in, as its method sees it: returning ends it, raising sends the error."""

    __slots__ = ("_incoming", "_task")

    def __init__(self, core: Any, incoming: Any) -> None:
        super().__init__(core)
        self._id = incoming._id
        self._incoming = incoming
        self._task: asyncio.Task[None] | None = None

    def _begun(self) -> None:
        self._incoming._stream(self)
        self._core.stream_read(self._id, PREFETCH_MESSAGES, PREFETCH_BYTES)

    def _fail(self, error: BaseException) -> None:
        if self._ended:
            return
        self._stop_sending()
        if self._core.stream_fail(self._id, error) != _codes.OK:
            self._core.stream_cancel(self._id, _codes.INTERNAL,
                                     "the error of the method cannot be sent")

    def _on_end(self, error: Exception | None) -> None:
        self._incoming._ended(error is not None)
        super()._on_end(error)
        if error is not None and self._task is not None:
            self._task.cancel()
