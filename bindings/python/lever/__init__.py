"""Lever for Python: write services, call services.

    import lever

    client = lever.Client()                      # host, env; default: LEVER_HOST, LEVER_ENV
    await client.invoke("/hello/say_hello", "Ann")

    @lever.method                                # in a service's module
    async def say_hello(name): return f"Hello, {name}!"

    @lever.resource                              # /<service>/<name>/<method>: objects with one owner each
    class Note: ...
"""

from __future__ import annotations

import asyncio
import collections.abc

from . import _context, _errors, _lever, _metadata, _values
from ._client import Client, ClientStats
from ._context import Context, context
from ._errors import LeverError, LeverTimeoutError, MethodError, Moved
from ._lever import Call
from ._method import method
from ._resource import resource
from ._service import Service, ServiceDetails, ThreadService, serve, serve_in_thread
from ._stream import ClientStream, Moving, ServiceStream, Stream
from ._sync import MethodClient, SyncClient, SyncMoving, SyncServiceStream, SyncStream
from ._values import Ext, Map, Timestamp

_lever.configure(
    timestamp=Timestamp, ext=Ext, map=Map, from_timestamp=_values.from_timestamp,
    plain=_values.plain, error=_errors.error_for, method_error=MethodError,
    error_value=_errors.value_of, read_metadata=_metadata.read,
    cancelled_error=asyncio.CancelledError, invalid_state=asyncio.InvalidStateError,
    current=_context.current)
# So that asyncio makes tasks of them.
collections.abc.Coroutine.register(_lever.Call)
collections.abc.Coroutine.register(_lever.Run)

__version__: str = _lever.version

__all__ = [
    "Call", "Client", "ClientStats", "ClientStream", "Context", "Ext", "LeverError", "LeverTimeoutError",
    "Map", "MethodClient", "MethodError", "Moved", "Moving", "Service", "ServiceDetails", "ServiceStream",
    "Stream", "SyncClient", "SyncMoving", "SyncServiceStream", "SyncStream", "ThreadService", "Timestamp",
    "context", "method", "resource", "serve", "serve_in_thread",
]
