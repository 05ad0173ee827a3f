"""Sides that several groups have: a client with what it needs, measured over a run."""

import os
import pathlib
import shutil
import subprocess
import sys

from lib.program import BenchError, cpu_ns, free_port, wait_for_port

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
import lever_testing  # noqa: E402

WARM_S = 0.2


class Load:
    """A client that is told to make load; measures CPU a call of the client and of others beside it."""

    def __init__(self, client, command, processes=None, warm_s=WARM_S):
        self.client = client
        self.command = command  # (verb, count)
        self.processes = {"client": client.pid, **(processes or {})}
        self.warm_s = warm_s

    def run(self, seconds):
        verb, count = self.command
        return self.client.ask(verb, f"{seconds:.3f}", count, seconds=seconds + 30)

    def measure(self, seconds):
        # Each time: other sides ran meanwhile, and caches are cold.
        self.run(self.warm_s)
        before = {name: cpu_ns(pid) for name, pid in self.processes.items()}
        answer = self.run(seconds)
        if not answer["calls"]:
            raise BenchError("no call was done")
        used = {f"{name}_us": (cpu_ns(pid) - before[name]) / 1000 / answer["calls"]
                for name, pid in self.processes.items()}
        return {**answer, **used, "rate": answer["calls"] / answer["seconds"],
                "both_us": sum(used.values())}


def node_environment(bench):
    return {"NODE_PATH": str(bench.build / "runtime" / "node" / "node_modules"), "NODE_ENV": "production"}


def host(bench, *flags):
    """A leverd, with a data directory of its own."""
    started = lever_testing.Host(*flags, build=bench.build)
    started.__enter__()
    bench.stack.callback(started.__exit__, None, None, None)
    return started


def only_host(bench):
    """The host with one loop that a group shares."""
    return bench.once("host", lambda: host(bench, "--threads", "1"))


def deploy_cpp(bench, to, name="echo-cpp", flags=(), **manifest):
    """The C++ service as a bundle, deployed."""
    directory = bench.folder("bundles") / name
    if not directory.exists():
        shutil.copytree(bench.programs / "echo-cpp", directory)
    lever_testing.write_service(directory, {}, name=name, entry=["./serve", *flags], **manifest)
    to.deploy(directory)
    return directory


def listening_cpp(bench, address="127.0.0.1:0", name="bench"):
    """The C++ service as a program that listens; gives (program, address)."""
    program = bench.programs / "echo-cpp" / "serve"
    # It attaches itself to no host, since none is at that port: what it does is answer those who connect.
    return bench.serve(program, "--name", name, "--host", "127.0.0.1:1", "--listen", address)


def lever_client(bench, address, service="bench", way="host", flags=()):
    return bench.load(bench.programs / "lever_client", "--host", address, "--service", service, "--way",
                      way, *flags)


def proxy_nginx(bench, config, upstream):
    """nginx with a configuration of bench/peers/nginx; gives (worker's pid, address)."""
    port = free_port()
    scratch = bench.folder(f"nginx-{config}")
    text = (bench.root / "bench" / "peers" / "nginx" / config).read_text()
    for name, value in (("@FRONT@", f"127.0.0.1:{port}"), ("@UPSTREAM@", upstream),
                        ("@SCRATCH@", str(scratch))):
        text = text.replace(name, value)
    path = scratch / "nginx.conf"
    path.write_text(text)
    nginx = bench.daemon(which("nginx"), "-c", path, "-p", scratch)
    wait_for_port(port, nginx)
    workers = [pid for pid in lever_testing.descendants(nginx.pid)]
    if len(workers) != 1:
        raise BenchError(f"nginx has {len(workers)} workers")
    return workers[0], f"127.0.0.1:{port}"


def proxy_haproxy(bench, upstream):
    """haproxy; gives (its pid, address)."""
    port = free_port()
    haproxy = bench.daemon(which("haproxy"), "-db", "-f", bench.root / "bench/peers/haproxy/haproxy.cfg",
                           env={"BENCH_FRONT": f"127.0.0.1:{port}", "BENCH_UPSTREAM": upstream})
    wait_for_port(port, haproxy)
    return haproxy.pid, f"127.0.0.1:{port}"


def bare_relay(bench, upstream):
    program, address = bench.serve(bench.programs / "bare_relay", "127.0.0.1:0", upstream)
    return program.pid, address


def which(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed; cmake/setup.sh bench does that")
    return found


def run_checked(*argv, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} failed: {done.stderr[-400:]}")
    return done.stdout
