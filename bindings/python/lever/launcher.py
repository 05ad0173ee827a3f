"""Runs a service that was deployed with `pyEntry`: python3 launcher.py ENTRY, started by a host in the bundle's
directory. `python3 launcher.py --ahead` is started before it is known which: it waits at descriptor 3 to be
told, loaded with all that it will need.

Functions that `lever.method` marks are the methods, and a class that `lever.resource` marks is the resource type.
`lever` is the package of the bundle, if it has one, else the one that this file is in.

Exit codes: 0 when the host has drained the instance, 1 for everything else, with the reason on standard error,
whose last lines the callers of a service that does not start are told.
"""

from __future__ import annotations

import os
import sys

TAKEOVER_FD = 3
TAKEOVER_BYTES_MAX = 64 * 1024
# stdout, stderr, and the two sockets of an instance.
PLACES = (1, 2, 3, 4)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def say(text: str) -> None:
    print(f"lever: {text}", file=sys.stderr, flush=True)


def set_path() -> None:
    """Imports come from everywhere, and `lever` from this package at last."""
    own = os.path.dirname(os.path.abspath(__file__))
    # Python has put the folder of this file first.
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != own]
    sys.path.append(os.path.dirname(own))


def take_over() -> str:
    """Waits to be told which service this is: becomes what `python3 launcher.py ENTRY` is at its start. Gives
    the entry; exits if the host is gone."""
    import asyncio  # noqa: F401
    import importlib.machinery
    import importlib.util  # noqa: F401
    import resource
    import socket

    import lever  # noqa: F401

    with socket.socket(fileno=TAKEOVER_FD) as waiting:
        told, descriptors, _, _ = socket.recv_fds(waiting, TAKEOVER_BYTES_MAX, len(PLACES))
        if len(descriptors) != len(PLACES):
            os._exit(0)
        # The number stays in use: it is one of the places.
        waiting.detach()
    # What came has numbers above: everything below was open.
    for descriptor, place in zip(descriptors, PLACES):
        os.dup2(descriptor, place)
        os.close(descriptor)
    directory, entry, files, *variables = os.fsdecode(told).split("\0")[:-1]
    most = min(int(files), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ.clear()
    for variable in variables:
        key, _, value = variable.partition("=")
        os.environ[key] = value
    os.chdir(directory)
    # The bundle's own package, if it has one, instead of the one that is loaded.
    own = importlib.machinery.PathFinder.find_spec("lever", [os.path.dirname(os.path.abspath(entry))])
    if own is not None and own.loader is not None:
        for name in [name for name in sys.modules if name == "lever" or name.startswith("lever.")]:
            del sys.modules[name]
    return entry


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
    set_path()
    entry = os.path.abspath(take_over() if sys.argv[1] == "--ahead" else sys.argv[1])
    sys.argv[:2] = [entry]
    sys.path.insert(0, os.path.dirname(entry))
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
