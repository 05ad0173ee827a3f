"""`lever dev`, run as people run it.

    with Dev(directory) as dev:
        dev.await_version(1)
        assert dev.invoke("/hello/sayHello", "Ann") == "Hello, Ann!"

Listens on a free port, unless it is given flags of its own. What it prints is kept in `events` (objects of
standard error), `notes` (all other lines of it) and `lines` (standard output).
"""

import json
import os
import signal
import subprocess
import threading

from lever_testing import BUILD, COMMAND_S, Result, wait_until

DEV_S = 60


class Dev:
    def __init__(self, *directories, flags=("--listen", "127.0.0.1:0"), environment=None, json=True,
                 build=BUILD, user=None):
        self.words = [str(build / "bin" / "lever"), *(["--json"] if json else []), "dev",
                      *map(str, directories), *flags]
        self.lever = self.words[0]
        self.environment = {**os.environ, **(environment or {})}
        self.user = user
        self.events, self.notes, self.lines = [], [], []
        self.process = None
        self.address = None

    def __enter__(self):
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", env=self.environment, user=self.user)
        self._readers = [threading.Thread(target=self._read_errors, daemon=True),
                         threading.Thread(target=self._read_output, daemon=True)]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(DEV_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if error is None:
                    raise AssertionError("lever dev did not end: " + self.text())
        for reader in self._readers:
            reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        if error is not None:
            print("--- what lever dev said ---\n" + self.text())

    def text(self):
        return "\n".join([*map(str, self.events), *self.notes, *self.lines])

    def _read_errors(self):
        for line in self.process.stderr:
            if line.startswith('{"'):
                self.events.append(json.loads(line))
            else:
                self.notes.append(line.rstrip("\n"))

    def _read_output(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def interrupt(self, times=1):
        """Ctrl-C; gives the exit code."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEV_S)

    # ---- What it says ----

    def await_event(self, matches, what, after=0, timeout_s=DEV_S):
        """The first event that matches, of those behind the first `after`."""
        def found():
            assert self.process.poll() is None, "lever dev has ended: " + self.text()
            return next((event for event in self.events[after:] if matches(event)), None)
        return wait_until(found, timeout_s, what)

    def host(self):
        event = self.await_event(lambda e: e["event"] == "listening", "listening")
        self.address = event["host"]
        return event

    def await_version(self, version, service=None, timeout_s=DEV_S):
        return self.await_event(
            lambda e: e["event"] == "deployed" and e["version"] == version
            and (service is None or e["service"].endswith("/" + service)),
            f"version {version} of {service or 'the service'}", timeout_s=timeout_s)

    def await_failure(self, after=0, timeout_s=DEV_S):
        return self.await_event(lambda e: e["event"] == "failed", "a failure", after, timeout_s)

    def versions(self):
        return [event["version"] for event in self.events if event["event"] == "deployed"]

    # ---- Its host ----

    def cli(self, *words, stdin=None):
        if self.address is None:
            self.host()
        done = subprocess.run([self.lever, *map(str, words)], input=stdin, capture_output=True,
                              text=True, timeout=COMMAND_S,
                              env={**self.environment, "LEVER_HOST": self.address},
                              stdin=subprocess.DEVNULL if stdin is None else None)
        return Result(done.returncode, done.stdout, done.stderr)

    def invoke(self, address, *arguments):
        return self.cli("invoke", address, *[json.dumps(value) for value in arguments]).json()
