"""Runs a service that was deployed with `pyEntry`: python3 launcher.py ENTRY, started by a host in the bundle's
directory.

Functions that `lever.method` marks are the methods, and a class that `lever.resource` marks is the resource type.
`lever` is the package of the bundle, if it has one, else the one that this file is in.

Exit codes: 0 when the host has drained the instance, 1 for everything else, with the reason on standard error,
whose last lines the callers of a service that does not start are told.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def say(text: str) -> None:
    print(f"lever: {text}", file=sys.stderr, flush=True)


def set_path(entry: str) -> None:
    """Imports come from the bundle and then from everywhere, and `lever` from this package at last."""
    own = os.path.dirname(os.path.abspath(__file__))
    # Python has put the folder of this file first.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != own]
    sys.path.insert(0, os.path.dirname(entry))
    sys.path.append(os.path.dirname(own))


def load(entry: str) -> ModuleType:
    """The entry as a module."""
    import importlib.util

    name = os.path.splitext(os.path.basename(entry))[0]
    spec = importlib.util.spec_from_file_location(name, entry)
    if spec is None or spec.loader is None or not os.path.isfile(entry):
        raise FileNotFoundError(f"{entry} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def run(entry: str) -> int:
    """Loads the entry and serves it until the host has drained the instance. Gives the exit code."""
    import asyncio

    import lever

    # Before the entry is loaded: its clients go over this attachment.
    service = lever.Service().prepare()
    service.add(load(entry))
    if service.method_count == 0:
        say(f"{sys.argv[0]} marks no function with @lever.method and no class with @lever.resource: "
            "there is nothing to call")
        return 1
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_state(state: str, error: Exception | None) -> None:
        if ended.done():
            return
        if state == "drained":
            ended.set_result(0)
        elif state == "detached":
            say(f"the host is gone: {error}")
            ended.set_result(1)

    service.on_state = on_state
    service.start()
    return await ended


def main() -> int:
    if len(sys.argv) < 2:
        say("usage: python3 launcher.py ENTRY")
        return 1
    entry = os.path.abspath(sys.argv[1])
    sys.argv[:2] = [entry]
    set_path(entry)
    try:
        import lever
    except ImportError as error:
        say(f"the Lever package cannot be loaded by Python {sys.version.split()[0]}: {error}")
        return 1
    import asyncio

    return asyncio.run(run(entry))


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except SystemExit:
        raise
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    # A method that still runs in the pool has been given up, and must not keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
