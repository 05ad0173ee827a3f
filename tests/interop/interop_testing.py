"""Starts servers, runs clients, makes certificates: what matrix.py needs beside the stacks."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from stacks import ROOT

sys.path.insert(0, str(ROOT / "tests" / "e2e"))

START_S = 30
RUN_S = 90
# One case of a client that is started for each.
CASE_S = 20
# The name that gRPC's own test certificate has; only the certificates of a run bear it.
SERVER_NAME = "foo.test.google.fr"


class Certificates:
    """An authority and a server's certificate, made for one run of the tests."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lever-interop-"))
        self.ca = self.directory / "ca.pem"
        self.certificate = self.directory / "server.pem"
        self.key = self.directory / "server.key"
        ca_key = self.directory / "ca.key"
        self._openssl("req", "-x509", *self._new_key(ca_key), "-days", "2", "-subj",
                      "/CN=interop authority", "-out", self.ca)
        self._openssl("req", "-x509", "-CA", self.ca, "-CAkey", ca_key, *self._new_key(self.key),
                      "-days", "2", "-subj", f"/CN={SERVER_NAME}", "-addext",
                      f"subjectAltName=DNS:{SERVER_NAME},DNS:localhost,IP:127.0.0.1", "-addext",
                      "basicConstraints=critical,CA:FALSE", "-out", self.certificate)

    @staticmethod
    def _new_key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                path]

    @staticmethod
    def _openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    """A port that nobody listens on: the programs take a number, so they cannot choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A stack's server in a process of its own."""

    def __init__(self, stack, certificates=None):
        self.port = free_port()
        command = [*stack.server, f"--port={self.port}"]
        if certificates is not None:
            command += ["--use_tls=true", f"--tls_cert_file={certificates.certificate}",
                        f"--tls_key_file={certificates.key}"]
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT,
                                        env={**os.environ, **stack.environment})
        self._wait(stack.name)

    def _wait(self, name):
        give_up = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise AssertionError(f"the {name} server did not start: {self.log_text()}")
            time.sleep(0.02)

    def log_text(self):
        self.log.seek(0)
        return self.log.read()[-4000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def client_command(stack, port, cases, certificates=None):
    command = [*stack.client, "--server_host=127.0.0.1", f"--server_port={port}",
               f"--test_case={','.join(cases)}"]
    if certificates is not None:
        command += ["--use_tls=true", "--use_test_ca=true", f"--ca_file={certificates.ca}",
                    f"--server_host_override={SERVER_NAME}"]
    return command


def run_client(stack, port, cases, certificates=None):
    """Runs the cases, and gives for each of them what went wrong, or an empty text."""
    if not stack.takes_lists:
        return {case: _run(stack, client_command(stack, port, [case], certificates), CASE_S)[0]
                for case in cases}
    wrong, out = _run(stack, client_command(stack, port, cases, certificates), RUN_S)
    outcomes = {case: f"it was not run to its end: {wrong or out[-500:]}" for case in cases}
    for line in out.splitlines():
        word, _, outcome = line.partition(": ")
        case = word.removeprefix("case ")
        if word.startswith("case ") and case in outcomes:
            outcomes[case] = "" if outcome == "ok" else outcome
    return outcomes


def _run(stack, command, limit_s):
    """What went wrong in a run, or an empty text; and its standard output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=limit_s, env={**os.environ, **stack.environment})
    except subprocess.TimeoutExpired as late:
        out = late.stdout.decode(errors="replace") if late.stdout else ""
        return f"it did not end within {limit_s} s", out
    wrong = "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr[-1500:]}"
    return wrong, done.stdout
