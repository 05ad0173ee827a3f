"""The programs of the bench: started with pipes, driven by lines, ended with their input.

bench/common/load.h has the protocol. What a program writes to standard error goes to a file, whose end is
part of what is said when it fails.
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

START_S = 30
END_S = 10


class BenchError(Exception):
    """A row could not be measured; the text says why."""


def cpu_ns(pid):
    """CPU time of a process, user and system, of all its threads, those that have ended included: the clock
    that clock_getcpuclockid(3) names, in nanoseconds."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError as error:
        raise BenchError(f"process {pid} is gone") from error


def free_port():
    """A TCP port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, program, seconds=START_S):
    give_up = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up or program.ended():
                raise BenchError(f"{program.name} does not listen: {program.errors()}") from None
            time.sleep(0.01)


def anonymous_bytes(pid):
    """Resident memory of a process that no file backs."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} has no RssAnon")


class Program:
    def __init__(self, argv, scratch, env=None, cwd=None):
        self.argv = [str(word) for word in argv]
        self.name = " ".join(pathlib.Path(word).name for word in self.argv[:3])
        self._log = open(pathlib.Path(scratch) / f"stderr-{time.monotonic_ns()}", "w+b")
        self._input = b""
        try:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                env={**os.environ, **(env or {})}, cwd=cwd)
        except OSError as error:
            self._log.close()
            raise BenchError(f"{self.name} cannot be started: {error}") from error
        self._readable = select.poll()  # select() takes no descriptor from 1024 on
        self._readable.register(self.process.stdout, select.POLLIN)

    @property
    def pid(self):
        return self.process.pid

    def ended(self):
        return self.process.poll() is not None

    def errors(self):
        """The end of what it wrote to standard error."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return " | ".join(line.strip() for line in lines if line.strip())[-500:] or "it said nothing"

    def line(self, seconds=START_S):
        """The next line of its standard output."""
        give_up = time.monotonic() + seconds
        while b"\n" not in self._input:
            if not self._readable.poll(max(0, give_up - time.monotonic()) * 1000):
                raise BenchError(f"{self.name} did not answer within {seconds:g} s: {self.errors()}")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                self.process.wait(END_S)
                raise BenchError(f"{self.name} ended with {self.process.returncode}: {self.errors()}")
            self._input += piece
        line, _, self._input = self._input.partition(b"\n")
        return line.decode()

    def expect(self, word, seconds=START_S):
        """A line that begins with `word`; gives what follows it."""
        line = self.line(seconds)
        if line.split(" ")[0] != word:
            raise BenchError(f"{self.name} said {line!r} instead of {word!r}")
        return line[len(word):].strip()

    def ask(self, *words, seconds=START_S):
        """A command, and its answer."""
        self.tell(*words)
        return self.answer(seconds)

    def tell(self, *words):
        try:
            self.process.stdin.write((" ".join(str(word) for word in words) + "\n").encode())
            self.process.stdin.flush()
        except OSError as error:
            raise BenchError(f"{self.name} has ended: {self.errors()}") from error

    def answer(self, seconds=START_S):
        answer = json.loads(self.line(seconds))
        if answer.get("errors"):
            raise BenchError(f"{self.name}: {answer['errors']} of {answer['calls']} failed: "
                             f"{self.errors()}")
        return answer

    def stop(self):
        """Ends it: by the end of its input, else by SIGTERM, else for sure."""
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        for end in (lambda: None, self.process.terminate, self.process.kill):
            end()
            try:
                self.process.wait(END_S if end == self.process.kill else 2)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.stdout.close()
        self._log.close()


class Server(Program):
    """One that does not end with its input: it is sent SIGTERM."""

    def stop(self):
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
        super().stop()
