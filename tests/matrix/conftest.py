import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from languages import HERE, LANGUAGES, WAYS  # noqa: E402
from lever_testing import Host  # noqa: E402

# The longest that all cases of one pair took here is a tenth of it.
PAIR_TIMEOUT_S = 180


class Service:
    """The matrix's service in one language, attached to the host."""

    def __init__(self, language, host):
        self.name = f"matrix-{language}"
        command, variables = LANGUAGES[language]("service")
        self.process = subprocess.Popen(
            [*command, self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "LEVER_HOST": host.address, **variables})
        line = self.process.stdout.readline()
        assert line.startswith("ready "), f"the {language} service said {line!r}"
        self.address = line.split()[1]

    def stop(self):
        self.process.stdin.close()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()


class Matrix:
    def __init__(self, host):
        self.host = host
        self.services = {language: Service(language, host) for language in LANGUAGES}
        self.results = {}

    def run(self, client, service, way):
        """What each case came to, by name: None if it holds, else why not."""
        key = (client, service, way)
        if key not in self.results:
            self.results[key] = self._run(*key)
        return self.results[key]

    def _run(self, client, service, way):
        command, variables = LANGUAGES[client]("client")
        target = self.services[service]
        address = target.address if way == "tcp" else self.host.address
        try:
            done = subprocess.run(
                [*command, target.name, "--values", str(HERE / "values.json"), WAYS[way]],
                capture_output=True, text=True, timeout=PAIR_TIMEOUT_S,
                env={**os.environ, "LEVER_HOST": address, "SERVICE_LANGUAGE": service, **variables})
            output, errors = done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            output, errors = (late.stdout or b"").decode(), f"not done within {PAIR_TIMEOUT_S} s"
        lines = [json.loads(line) for line in output.splitlines()]
        results = {line["case"]: None if line["ok"] else line.get("detail", "no detail") for line in lines}
        results["stderr"] = errors[-2000:]
        return results


@pytest.fixture(scope="session")
def matrix():
    with Host() as host:
        running = Matrix(host)
        yield running
        for language, service in running.services.items():
            assert service.stop() == 0, f"the {language} service did not end well"
