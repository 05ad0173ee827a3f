#!/usr/bin/env python3
"""The bench of the whole: real hosts, services and clients, one table and one JSON file.

    bench/run.py [--seconds 3] [--repeat 5] [--out bench.json] [--only PATTERN]

Each row is the median of --repeat runs. CPU is what a process used (user and system) for one call, out of
/proc/<pid>/stat; that of the host is the sum of its threads. Figures of a shared machine are good for
ratios in one run, not for comparing machines.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from lever_testing import BUILD, Host, write_service  # noqa: E402

NODE_MODULES = BUILD / "runtime" / "node" / "node_modules"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def cpu_us(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def client_command(language, *words):
    if language == "cpp":
        return [str(BUILD / "bench" / "bench_echo_client"), *map(str, words)]
    return ["node", str(ROOT / "bench" / "whole" / "echo_client.js"), *map(str, words)]


def client_environment(host):
    return {**host.environment(), "NODE_PATH": str(NODE_MODULES)}


def measure(host, service, language, outstanding, seconds, way):
    """One run: the client's line, with the CPU of service and host a call."""
    client = subprocess.Popen(client_command(language, service, outstanding, seconds, way),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env=client_environment(host))
    assert client.stdout.readline() == "warm\n", "the client did not get warm"
    (instance,) = host.instances(service)
    before = cpu_us(instance["pid"]), cpu_us(host.pid)
    client.stdin.write("\n")
    client.stdin.flush()
    line = json.loads(client.stdout.readline())
    after = cpu_us(instance["pid"]), cpu_us(host.pid)
    assert client.wait(30) == 0
    line["service_cpu_us"] = (after[0] - before[0]) / line["calls"]
    line["host_cpu_us"] = (after[1] - before[1]) / line["calls"]
    line["calls_per_s"] = line["calls"] / line["seconds"]
    return line


def median_of(runs):
    keys = ("calls_per_s", "p50_us", "p99_us", "cpu_us", "service_cpu_us", "host_cpu_us")
    return {key: round(statistics.median(run[key] for run in runs), 2) for key in keys}


def echo_rows(host, options):
    for language in ("cpp", "node"):
        for way in ("direct", "host"):
            for outstanding in (1, 64):
                name = f"echo {language} {way} {outstanding}"
                if not fnmatch.fnmatch(name, options.only):
                    continue
                runs = [measure(host, f"echo-{language}", language, outstanding, options.seconds,
                                way) for _ in range(options.repeat)]
                yield name, median_of(runs)


def cold_start(host, service, times):
    """Milliseconds from a call to its reply, where no instance ran."""
    took = []
    for _ in range(times):
        while host.instances(service):
            time.sleep(0.05)
        began = time.monotonic()
        host.cli("invoke", f"/{service}/echo", "--bytes", stdin="x").ok()
        took.append((time.monotonic() - began) * 1000)
    return took


def cold_rows(options, scratch):
    with Host() as host:
        for name in ("cpp", "node"):
            deploy(host, scratch, name, idleTimeout="0.3s")
        for name in ("cpp", "node"):
            row = f"cold start {name}"
            if not fnmatch.fnmatch(row, options.only):
                continue
            warm = []
            for _ in range(5):
                host.cli("invoke", f"/echo-{name}/echo", "--bytes", stdin="x").ok()
                began = time.monotonic()
                host.cli("invoke", f"/echo-{name}/echo", "--bytes", stdin="x").ok()
                warm.append((time.monotonic() - began) * 1000)
            took = cold_start(host, f"echo-{name}", 10)
            yield row, {"median_ms": round(statistics.median(took), 1),
                        "max_ms": round(max(took), 1),
                        "of_which_command_ms": round(statistics.median(warm), 1)}


def deploy_rows(host, options, scratch):
    """The p99 of relayed calls while a service of 1,000 files is deployed, against without."""
    if not fnmatch.fnmatch("deploy beside calls", options.only):
        return
    quiet, busy = [], []
    for n in range(options.repeat):
        quiet.append(measure(host, "echo-cpp", "cpp", 16, options.seconds, "host"))
        files = {f"data/{i}.txt": f"{n} {i} " * 200 for i in range(1000)}
        files["s.js"] = "exports.x = async () => 1;"
        directory = write_service(scratch / "large", files, name="large", jsEntry="s.js")
        stop = threading.Event()

        def deploy_on():
            count = 0
            while not stop.is_set():
                (directory / "data" / "0.txt").write_text(f"{n} {count}")
                host.deploy(directory)
                count += 1

        deploying = threading.Thread(target=deploy_on)
        deploying.start()
        busy.append(measure(host, "echo-cpp", "cpp", 16, options.seconds, "host"))
        stop.set()
        deploying.join()
    without, during = median_of(quiet), median_of(busy)
    yield "deploy beside calls", {
        "p99_us_without": without["p99_us"], "p99_us_during": during["p99_us"],
        "ratio": round(during["p99_us"] / without["p99_us"], 2),
        "calls_per_s_without": without["calls_per_s"], "calls_per_s_during": during["calls_per_s"]}


def deploy(host, scratch, name, **manifest):
    if name == "cpp":
        directory = scratch / "echo-cpp"
        subprocess.run(["cp", "-r", str(BUILD / "bench" / "echo-cpp"), str(scratch)], check=True)
        (directory / "lever.json").write_text(json.dumps(
            {"name": "echo-cpp", "entry": ["./serve"], **manifest}))
    else:
        source = (ROOT / "bench" / "whole" / "echo_service.js").read_text()
        directory = write_service(scratch / "echo-node", {"service.js": source}, name="echo-node",
                                  jsEntry="service.js", **manifest)
    host.deploy(directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", default="bench.json")
    parser.add_argument("--only", default="*")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="lever-bench-") as folder:
        scratch = pathlib.Path(folder)
        with Host() as host:
            for name in ("cpp", "node"):
                deploy(host, scratch, name)
            for rows in (echo_rows(host, options), deploy_rows(host, options, scratch)):
                for name, row in rows:
                    results[name] = row
                    print(f"{name:24}", "  ".join(f"{key} {value}" for key, value in row.items()),
                          flush=True)
        for name, row in cold_rows(options, scratch):
            results[name] = row
            print(f"{name:24}", "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    pathlib.Path(options.out).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
