"""Which functions are methods, and under what names."""

from __future__ import annotations

import re
from inspect import iscoroutinefunction

from ._errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])
else:
    def overload(function):
        return function

MARK = "__lever_method__"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def is_stream_name(name: str) -> bool:
    """Whether a method of this name is a streaming one."""
    return name == "chan" or name.endswith(("Chan", "_chan"))


def is_plain(function: Any) -> bool:
    """Whether it is run in a pool of threads, as one that may block."""
    return not iscoroutinefunction(function) and not iscoroutinefunction(
        getattr(function, "__call__", None))


@overload
def method(function: F) -> F: ...
@overload
def method(*, name: str) -> Callable[[F], F]: ...
def method(function: Any = None, *, name: str | None = None) -> Any:
    """Makes a function a method of the service: `@lever.method`, or `@lever.method(name="sayHello")`.

    An `async def` runs on the event loop, a plain `def` in a pool of threads. A function whose name ends in
    `Chan` or `_chan`, or is `chan`, is a streaming method, and gets a stream as its first argument.
    """
    def mark(marked: Any) -> Any:
        chosen = name or marked.__name__
        if not NAME.fullmatch(chosen):
            raise invalid(f"{chosen!r} cannot be the name of a method")
        setattr(marked, MARK, chosen)
        return marked

    return mark if function is None else mark(function)
