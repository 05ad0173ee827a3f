"""The package under test: $LEVER_BUILD_DIR/runtime/python, as the build assembles it. With LEVER_TEST_EVENTS=1
the queue gives one event a turn, and one crosses the border at a time."""

import asyncio
import gc
import os
import pathlib
import sys

import pytest
import uvloop

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("LEVER_BUILD_DIR", ROOT / "build" / "release")).resolve()
PACKAGE = BUILD / "runtime" / "python"
sys.path.insert(0, str(PACKAGE))
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from lever import _loop  # noqa: E402

EVENTS = int(os.environ.get("LEVER_TEST_EVENTS", "0"))
_loop.options.update(capacity=EVENTS, events_per_turn=EVENTS)

LIMIT_S = 60


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine to its end on one kind of event loop, which must have nothing to complain of."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on_loop(coroutine):
        complaints = []

        async def limited():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
            async with asyncio.timeout(LIMIT_S):
                return await coroutine

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(limited())
            gc.collect()
        assert not complaints
        return result

    return run_on_loop
