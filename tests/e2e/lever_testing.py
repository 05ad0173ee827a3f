"""A real host and the real command, for end-to-end tests.

    with Host() as host:
        host.deploy("examples/hello")
        assert host.cli("invoke", "/hello/sayHello", '"Ann"').json() == "Hello, Ann!"

The programs come from $LEVER_BUILD_DIR (default build/release). Every host has a data directory of its
own and a port that the kernel chose; leaving the `with` ends it and shows its log if the test failed.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
LEVERD = BUILD / "bin" / "leverd"
LEVER = BUILD / "bin" / "lever"
START_S = 20
COMMAND_S = 60


def wait_until(condition, timeout_s=20, what="the condition"):
    """Polls until `condition()` is true, and gives what it gave."""
    give_up = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > give_up:
            raise AssertionError(f"{what} did not come true within {timeout_s} s")
        time.sleep(0.01)


def process_exists(pid):
    """Whether the process runs; a zombie does not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def kill_and_wait(pid, timeout_s=20):
    """kill -9, and waits until all of its threads have ended, which is when its sockets are closed; a
    process whose first thread is a zombie may have others that hold them still. Gives that time."""
    process = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        ended, _, _ = select.select([process], [], [], timeout_s)
        assert ended, f"process {pid} did not end"
        return time.monotonic()
    finally:
        os.close(process)


def descendants(pid):
    """The pids of all processes below `pid`."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = (entry / "stat").read_text()
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def open_directory():
    """A new directory that every user may pass through, as those that services run under must.

    pytest's own directories are closed to others.
    """
    path = tempfile.mkdtemp(prefix="lever-e2e-")
    os.chmod(path, 0o755)
    return path


def reachable_python():
    """The Python that services of a host run: one that every user can reach, as /root/.pyenv is not."""
    for candidate in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        path = pathlib.Path(candidate).resolve()
        open_to_all = os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in path.parents)
        works = "import sys; assert sys.version_info >= (3, 11)"
        if open_to_all and path.exists() and subprocess.run([candidate, "-c", works]).returncode == 0:
            return candidate
    raise AssertionError("there is no python3 that every user can reach")


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Result:
    """What a run of the command came to."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def ok(self):
        assert self.code == 0, f"exit code {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self

    def json(self):
        return json.loads(self.ok().out)

    def lines(self):
        return [json.loads(line) for line in self.ok().out.splitlines()]


class Host:
    def __init__(self, *flags, data_dir=None, build=BUILD):
        self.flags = list(flags)
        self.build = build
        self.data_dir = data_dir
        self.own_dir = None
        self.process = None
        self.address = None
        self.log = []
        self._reader = None

    def __enter__(self):
        if self.data_dir is None:
            self.own_dir = open_directory()
            self.data_dir = os.path.join(self.own_dir, "data")
        self.open_runtime()
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        if error is not None:
            print(f"--- the log of {self.address} ---")
            print("".join(self.log[-200:]))
        if self.own_dir is not None:
            shutil.rmtree(self.own_dir, ignore_errors=True)

    def open_runtime(self):
        """Services of a host that root runs have to reach the runtimes: where the checkout is closed to
        their users, the host gets a copy."""
        folders = [self.build, *self.build.parents]
        if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in folders):
            return
        (runtime,) = [folder for folder in (self.build / "runtime", self.build / "lib/lever/runtime")
                      if folder.exists()]
        copy = os.path.join(self.own_dir or open_directory(), "runtime")
        shutil.copytree(runtime, copy)
        self.flags += ["--runtime-dir", copy]

    # ---- The process ----

    def start(self, listen="127.0.0.1:0"):
        self.process = subprocess.Popen(
            [self.build / "bin" / "leverd", "--listen", listen, "--data-dir", self.data_dir,
             *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace")
        self._reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        if not line.startswith("ready on "):
            self.process.wait(START_S)
            self._reader.join(START_S)
            raise AssertionError("leverd did not start: " + "".join(self.log[-50:]))
        self.address = line.split()[-1]

    def _read_log(self, process):
        for line in process.stderr:
            self.log.append(line)

    def stop(self, timeout_s=60):
        """Ends it in order."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("leverd did not end within %d s: %s"
                                 % (timeout_s, "".join(self.log[-50:])))
        self._reader.join(START_S)
        process.stdout.close()
        process.stderr.close()
        return code

    def kill(self):
        """kill -9."""
        process, self.process = self.process, None
        process.kill()
        process.wait()
        self._reader.join(START_S)
        process.stdout.close()
        process.stderr.close()

    @property
    def pid(self):
        return self.process.pid

    def log_text(self):
        return "".join(self.log)

    # ---- The command ----

    def environment(self):
        return {**os.environ, "LEVER_HOST": self.address}

    def command(self, *words):
        return [str(self.build / "bin" / "lever"), *map(str, words)]

    def cli(self, *words, stdin=None, timeout_s=COMMAND_S, cwd=ROOT):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True,
                              timeout=timeout_s, cwd=cwd, env=self.environment(),
                              stdin=subprocess.DEVNULL if stdin is None else None)
        return Result(done.returncode, done.stdout, done.stderr)

    def invoke(self, address, *arguments):
        """The method's answer; arguments and answer are what JSON can say."""
        return self.cli("invoke", address, *[json.dumps(value) for value in arguments]).json()

    def deploy(self, directory, timeout_s=120):
        """Until it serves; the watch of a version that took over goes on."""
        return self.cli("deploy", "-d", directory, timeout_s=timeout_s).ok()

    def instances(self, service=None):
        """Rows of `lever ps`."""
        return self.cli("--json", "ps", *([service] if service else [])).json()

    def instance_pid(self, service):
        """The process of the service's one instance, as this machine numbers it: in a sandbox it has
        another number."""
        (row,) = [row for row in self.instances(service) if row["phase"] == "ready"]
        return row["pid"]

    def counters(self):
        """Of the host, by the admin API."""
        import admin_api  # which needs grpcio, as the rest does not
        return admin_api.details(self.address).counters


def write_service(directory, files, **manifest):
    """A service's directory: `files` by name, and its lever.json."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "lever.json").write_text(json.dumps(manifest))
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if content.startswith("#!"):
            path.chmod(0o755)
    return directory
