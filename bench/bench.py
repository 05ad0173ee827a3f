#!/usr/bin/env python3
"""The bench: real hosts, services and clients beside their peers, one table and one JSON file.

bench/run.sh sets up and builds what this needs, and starts it; bench/README.md tells the rows.
"""

import argparse
import importlib
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from lib import table  # noqa: E402
from lib.session import Bench, run_group  # noqa: E402

GROUPS = ("unary", "relay", "http", "node", "python", "go", "stream", "idle", "cold", "deploying", "handoff",
          "scaling", "simulated", "storm", "attack")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one repetition, 1 s a side")
    parser.add_argument("--only", default="*", metavar="PATTERN",
                        help="rows by name, with * and ?; several with commas between")
    parser.add_argument("--json", metavar="FILE", help="where the rows go, beside the table")
    parser.add_argument("--list", action="store_true", help="names the rows, and ends")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    groups = [importlib.import_module(f"rows.{name}") for name in GROUPS]
    only = options.only.split(",")
    if options.list:
        for group in groups:
            for row in group.ROWS:
                print(row.name, row.peer_name or "-", sep="\t")
        return 0
    began = time.monotonic()
    rows = []
    build = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
    print(table.head_text(), flush=True)
    with tempfile.TemporaryDirectory(prefix="lever-bench-") as scratch:
        os.chmod(scratch, 0o755)  # services run under users of their own
        for group in groups:
            for row in run_group(group, Bench(ROOT, build, scratch, options.quick, only)):
                rows.append(row)
                print(table.row_text(row), flush=True)
    if not rows:
        print(f"no row is named {options.only}", file=sys.stderr)
        return 2
    if options.json:
        table.write_json(rows, options.json)
    broken = sum("error" in row for row in rows)
    missed = sum(row["met"] is False for row in rows) - broken
    print(f"{len(rows)} rows, {missed} short of their target, {broken} could not be measured, "
          f"{time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
