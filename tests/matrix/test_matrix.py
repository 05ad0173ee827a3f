"""Every language calls every language: tests/matrix/README.md."""
import json
import subprocess
import sys

import pytest
from languages import HERE, LANGUAGES, WAYS

CASES = [
    *[f"value.{name}" for name in json.loads((HERE / "values.json").read_text())],
    "error.value", "error.bytes", "error.thrown", "deadline.context", "deadline.exceeded", "cancel.call",
    "cancel.stream", "metadata", "bytes", "stream.echo", "stream.down", "stream.up", "stream.error",
    "stream.both_ends", "pressure.down", "pressure.up", "limit.request", "limit.reply", "unknown.method",
    "unknown.service", "close.in_flight",
]


def cells():
    for client in LANGUAGES:
        for service in LANGUAGES:
            for way in WAYS:
                for case in CASES:
                    if (way, case) != ("tcp", "unknown.service"):
                        yield pytest.param(client, service, way, case, id=f"{client}-{service}-{way}-{case}")


@pytest.mark.parametrize("client,service,way,case", cells())
def test_case(matrix, client, service, way, case):
    results = matrix.run(client, service, way)
    assert case in results, f"the client said nothing of it; on standard error: {results['stderr']}"
    assert results[case] is None, results[case]


def test_values_are_fresh():
    subprocess.run([sys.executable, HERE / "make_values.py", "--check"], check=True)
