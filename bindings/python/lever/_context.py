"""What a method knows of the call that it runs in."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from ._client import Client
    from ._service import ServiceDetails
    from ._sync import MethodClient

# The incoming call of the method that runs here.
current: ContextVar[Any] = ContextVar("lever_call")

_NANOS = 1_000_000_000


class Context:
    """The call or stream that a method runs for. It follows the method through its awaits, into the tasks
    that it makes, and into the pool's threads."""

    __slots__ = ("_incoming",)

    def __init__(self, incoming: Any) -> None:
        self._incoming = incoming

    @property
    def deadline(self) -> datetime | None:
        """When the caller stops waiting, in UTC."""
        left = self.remaining
        if left is None:
            return None
        from datetime import datetime, timedelta, timezone
        try:
            return datetime.now(timezone.utc) + timedelta(seconds=left)
        except OverflowError:  # beyond the year 9999
            return None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, negative behind it."""
        remaining_ns = self._incoming._remaining_ns
        return None if remaining_ns is None else remaining_ns / _NANOS

    @property
    def metadata(self) -> dict[str, Any]:
        """The caller's metadata: texts, bytes where a name ends in `-bin`, a list of these where a name came
        repeatedly."""
        return self._incoming.metadata  # type: ignore[no-any-return]

    @property
    def caller(self) -> str:
        """`"lever://env/service"` of who calls, `""` if it is outside."""
        return self._incoming.caller  # type: ignore[no-any-return]

    @property
    def cancelled(self) -> bool:
        """Whether the caller is gone, or its deadline has passed. The task of an `async def` method is
        cancelled then, so that only methods in the pool need to look."""
        return self._incoming.cancelled  # type: ignore[no-any-return]

    @property
    def resource(self) -> str:
        """The name of the resource whose method runs, or which is being opened or closed; else `""`."""
        return self._incoming.resource  # type: ignore[no-any-return]

    @property
    def generation(self) -> int:
        """The resource's fencing token: it only rises for one resource, so that a store which refuses what
        comes with a lower one is written to by the newest owner alone. 0 outside of a resource."""
        return self._incoming.generation  # type: ignore[no-any-return]

    @property
    def config(self) -> Any:
        """`config` of lever.json."""
        return self._incoming._service.config

    @property
    def secrets(self) -> Mapping[str, str]:
        """What `lever secret set` has set, by name."""
        return self._incoming._service.secrets  # type: ignore[no-any-return]

    @property
    def service(self) -> ServiceDetails:
        """Of this instance."""
        return self._incoming._service.details  # type: ignore[no-any-return]

    @property
    def client(self) -> Client:
        """A client bound to the environment, over the connection to the host that is there already. Calls
        made with it end with this one, and within its deadline. In a plain `def` method, which runs in a
        thread of its own, it is one that blocks (`MethodClient`)."""
        service = self._incoming._service
        if asyncio._get_running_loop() is None:
            return service._method_client()  # type: ignore[no-any-return]
        return service.client  # type: ignore[no-any-return]


def context() -> Context | None:
    """That of the method that is running here; None outside of one."""
    incoming = current.get(None)
    return None if incoming is None else Context(incoming)
