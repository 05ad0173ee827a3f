"""One queue an event loop: where a loop's engine is, when it ends, and what a fork does to all of them."""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref

from . import _codes, _lever
from ._errors import LeverError, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# For tests: events with one crossing of the border, and of one turn of the queue. 0: as many as there are.
options = {"capacity": 0, "events_per_turn": 0}

# How often this process is a fork of the one in which the package was imported.
generation = 0

# The service that this process is an instance of, where a host has started it.
instance: Any = None

_engines: dict[asyncio.AbstractEventLoop, LoopEngine] = {}
# What blocks, and has a queue of its own.
_blocking: weakref.WeakSet[Any] = weakref.WeakSet()


class LoopEngine:
    """The engine of one event loop."""

    __slots__ = ("core", "loop", "descriptor", "__weakref__")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.core, self.descriptor, on_readable = _lever.open_engine(
            loop, options["capacity"], options["events_per_turn"])
        loop.add_reader(self.descriptor, on_readable)


def forked() -> LeverError:
    """What use of an object that a parent process has made ends with."""
    return refusal(_codes.FORKED, "this object was made before a fork, in the parent process: make a new "
                                  "one here")


def engine_for(loop: asyncio.AbstractEventLoop) -> LoopEngine:
    """The engine of the loop that runs here, made at its first use."""
    engine = _engines.get(loop)
    if engine is None:
        # Other threads may do the same at the same time.
        for other in [other for other in list(_engines) if other.is_closed()]:
            _end(other)
        engine = _engines[loop] = LoopEngine(loop)
    return engine


def _end(loop: asyncio.AbstractEventLoop) -> None:
    engine = _engines.pop(loop, None)
    if engine is not None:
        engine.core.shutdown()


def add_blocking(handle: Any) -> None:
    """A handle whose queue is to be given up in a forked child, and closed at the end."""
    _blocking.add(handle)


def _after_fork_in_child() -> None:
    global generation, instance
    generation += 1
    instance = None
    for engine in _engines.values():
        engine.core.abandon()
    _engines.clear()
    for client in list(_blocking):
        client._abandon()
    _blocking.clear()


def _at_exit() -> None:
    for loop in list(_engines):
        if not loop.is_running():  # else on a thread that goes on until the process is gone
            _end(loop)
    for client in list(_blocking):
        client._end()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
