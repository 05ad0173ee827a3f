"""The client of the matrix in Python: tests/matrix/README.md says how it is called and what it prints.

    python3 client.py SERVICE --values FILE [--only CASE,...] [--introduced | --through-host | --tcp]
"""
import argparse
import asyncio
import json
import os
import pathlib
import sys
import time

import lever
from cases import CASES, Context, value_case
from values import VALUES

INTRODUCED_S = 5


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("service")
    parser.add_argument("--values", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="")
    way = parser.add_mutually_exclusive_group(required=True)
    for name in ("introduced", "through-host", "tcp"):
        way.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


def all_cases(values_file):
    cases = dict(CASES)
    for name, expected in json.loads(values_file.read_text()).items():
        if isinstance(expected, str):
            expected = {"any": expected}
        own = expected.get("python", expected["any"])
        arrives = expected.get("python") or expected.get(os.environ["SERVICE_LANGUAGE"]) or expected["any"]
        cases[f"value.{name}"] = value_case(VALUES[name], own, arrives)
    return cases


async def await_introduction(context):
    until = time.monotonic() + INTRODUCED_S
    while not context.client.stats().calls_direct:
        if time.monotonic() > until:
            sys.exit("calls do not go straight to the service")
        await context.invoke("echo", None)
        await asyncio.sleep(0.01)


async def run(name, case, context):
    try:
        await case(context)
        line = {"case": name, "ok": True}
    except Exception as error:
        line = {"case": name, "ok": False, "detail": f"{type(error).__name__}: {error}"}
    print(json.dumps(line), flush=True)
    return line["ok"]


async def main(options):
    context = Context(lambda: lever.Client(only_through_host=options.through_host), options.service)
    if options.introduced:
        await await_introduction(context)
    cases = all_cases(options.values)
    if options.tcp:
        del cases["unknown.service"]
    only = options.only.split(",") if options.only else cases
    results = [await run(name, cases[name], context) for name in only]
    await context.client.close()
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
