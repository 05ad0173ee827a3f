#!/usr/bin/env python3
"""Prints the interoperability matrix as a table: a row a pair of programs and way, a column a case.

    python tests/interop/matrix.py [REPORT]     REPORT: JUnit's file of a run, build/release/interop.xml else

`.` passed, `F` failed, `-` impossible (why is said below the table), `?` in the table but not run. Without a
report of a run it says so and ends with 1.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree as tree

from stacks import BUILD, CASES
from test_interop import impossible, routes

CELL = re.compile(r"test_case\[(.+)/([^/]+)\]")


def outcomes(report):
    """By row and case: `.` or `F`."""
    found = {}
    for case in tree.parse(report).getroot().iter("testcase"):
        cell = CELL.fullmatch(case.get("name"))
        if cell:
            bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            found[cell.group(1), cell.group(2)] = "F" if bad else "."
    return found


def main(report):
    if not report.exists():
        print(f"there is no {report}: run the tests first (tests/run.sh, or pytest with --junitxml)",
              file=sys.stderr)
        return 1
    found = outcomes(report)
    rows = {f"{client.name}-client/{server.name}-server/{how}": (client, server)
            for client, server, how in routes()}
    width = max(map(len, rows))
    reasons, counts = {}, {".": 0, "F": 0, "-": 0, "?": 0}
    for number, case in enumerate(CASES):
        print(" " * width, " " + "| " * number + case)
    for row, (client, server) in rows.items():
        marks = []
        for case in CASES:
            why = impossible(client, server, case)
            mark = "-" if why else found.get((row, case), "?")
            counts[mark] += 1
            marks.append(mark)
            if why:
                reasons.setdefault(why, set()).add(case)
        print(f"{row:{width}}  {' '.join(marks)}")
    print(f"\n{counts['.']} passed, {counts['F']} failed, {counts['-']} impossible, {counts['?']} not run")
    for why, cases in reasons.items():
        print(f"- {why}: {', '.join(case for case in CASES if case in cases)}")
    return 1 if counts["F"] or counts["?"] else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else BUILD / "interop.xml"))
