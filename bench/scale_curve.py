#!/usr/bin/env python3
"""Real instances under a load that steps 10 -> 500 -> 10 -> 0 -> 500 calls in flight of a method that sleeps 100 ms.

    bench/scale_curve.py [--quick] [--way direct|host] [--svg FILE]

A leverd, a C++ service with maxInstanceLoad 10 of as many processes as the host starts, and two clients: one has 10
calls in flight, the other the 490 more (or all 500). Each call that ends is followed by another at once. Prints how
many instances were wanted and there (ready and starting), twice a second, and for each step the calls, how many of
them failed, and how long they took beyond the 100 ms. Needs `ninja bench_lever_client bench_echo_service` in the
build folder ($LEVER_BUILD_DIR, build/release).
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from lib import sides  # noqa: E402
from lib.session import Bench  # noqa: E402

SERVICE = "sleeper"
SLEEP_MS = 100
LOAD_MAX = 10
# Step: calls in flight, seconds. None: until no instance is left.
STEPS = ((10, 20), (500, 40), (10, 110), (0, None), (500, 30))
QUICK_STEPS = ((10, 5), (500, 15), (10, 30), (0, None), (500, 10))
IDLE, QUICK_IDLE = "60s", "10s"
GONE_S = 120
EVERY_S = 0.5


class Curve(threading.Thread):
    """Samples instances until it is stopped."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host, self.in_flight, self.samples, self.ended = host, 0, [], threading.Event()
        self.began_s = time.monotonic()

    def run(self):
        while not self.ended.wait(EVERY_S):
            phases = [row["phase"] for row in self.host.instances(SERVICE)]
            service = next(row for row in self.host.cli("--json", "ls").json() if row["service"] == SERVICE)
            self.samples.append({
                "s": round(time.monotonic() - self.began_s, 2), "in_flight": self.in_flight,
                "wanted": service["instances_wanted"], "ready": phases.count("ready"),
                "starting": phases.count("starting"), "draining": phases.count("draining")})

    def stop(self):
        self.ended.set()
        self.join()


def run_step(clients, in_flight, seconds):
    """Both clients at once; gives their answers."""
    asked = [(client, count) for client, count in zip(clients, (min(in_flight, 10), max(0, in_flight - 10))) if count]
    for client, count in asked:
        client.tell("unary", f"{seconds:.3f}", count)
    return [client.answer(seconds + 60) for client, _ in asked]


def measure(bench, way, steps, idle):
    host = sides.host(bench)
    sides.deploy_cpp(bench, host, SERVICE, flags=("--sleep-ms", str(SLEEP_MS)), maxInstanceLoad=LOAD_MAX,
                     idleTimeout=idle)
    clients = [bench.load(bench.programs / "lever_client", "--host", host.address, "--service", SERVICE, "--way", way,
                          "--cold", "yes") for _ in range(2)]
    curve = Curve(host)
    curve.start()
    results = []
    for in_flight, seconds in steps:
        curve.in_flight = in_flight
        began_s = time.monotonic()
        if seconds is None:
            while host.instances(SERVICE):
                if time.monotonic() - began_s > GONE_S:
                    raise SystemExit("the idle instances do not stop")
                time.sleep(EVERY_S)
            answers = []
        else:
            answers = run_step(clients, in_flight, seconds)
        results.append({"in_flight": in_flight, "seconds": round(time.monotonic() - began_s, 1),
                        "calls": sum(answer["calls"] for answer in answers),
                        "failed": sum(answer["errors"] for answer in answers),
                        "p50_ms": max((answer["p50_us"] for answer in answers), default=0) / 1000 - SLEEP_MS,
                        "p99_ms": max((answer["p99_us"] for answer in answers), default=0) / 1000 - SLEEP_MS})
    curve.stop()
    return results, curve.samples


def print_all(results, samples):
    print("| second | in flight | wanted | ready | starting | draining |\n|---|---|---|---|---|---|")
    last = None
    for sample in samples:
        state = {key: value for key, value in sample.items() if key != "s"}
        if state != last:
            print("| " + " | ".join(str(value) for value in sample.values()) + " |")
        last = state
    print("\n| in flight | seconds | calls | failed | beyond the 100 ms: p50 | p99 |\n|---|---|---|---|---|---|")
    for step in results:
        if not step["calls"]:
            continue
        print(f"| {step['in_flight']} | {step['seconds']} | {step['calls']:,} | {step['failed']} |"
              f" {step['p50_ms']:.1f} ms | {step['p99_ms']:.1f} ms |")


def write_svg(samples, path):
    width, height, left, bottom = 900, 260, 50, 30
    end_s = samples[-1]["s"]
    most = max(max(sample["wanted"], sample["ready"] + sample["starting"]) for sample in samples) * 1.1

    def line(value, colour, dash=""):
        points = " ".join(f"{left + sample['s'] / end_s * width:.1f},{height - value(sample) / most * height:.1f}"
                          for sample in samples)
        return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'{dash}/>"

    labels = [(lambda s: s["in_flight"] / LOAD_MAX, "#999", f"calls in flight / {LOAD_MAX}", " stroke-dasharray='4 3'"),
              (lambda s: s["wanted"], "#369", "instances wanted", ""),
              (lambda s: s["ready"], "#c00", "instances ready", "")]
    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{left + width + 20}' height='{height + bottom + 30}' "
             "font-family='sans-serif' font-size='12'><rect width='100%' height='100%' fill='white'/>"]
    for value in range(0, int(most) + 1, 10):
        y = height - value / most * height
        parts.append(f"<line x1='{left}' x2='{left + width}' y1='{y:.1f}' y2='{y:.1f}' stroke='#eee'/>"
                     f"<text x='{left - 8}' y='{y + 4:.1f}' text-anchor='end'>{value}</text>")
    for second in range(0, int(end_s) + 1, 30):
        x = left + second / end_s * width
        parts.append(f"<text x='{x:.1f}' y='{height + 18}' text-anchor='middle'>{second} s</text>")
    for index, (value, colour, text, dash) in enumerate(labels):
        parts.append(line(value, colour, dash))
        parts.append(f"<text x='{left + 10 + index * 200}' y='{height + 42}' fill='{colour}'>{text}</text>")
    pathlib.Path(path).write_text("\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter steps, and an idleTimeout of 10 s")
    parser.add_argument("--way", choices=("host", "direct"), default="host", help="how the clients' calls go")
    parser.add_argument("--svg", metavar="FILE", help="where a picture of the curve goes")
    parser.add_argument("--json", metavar="FILE", help="where all figures go")
    options = parser.parse_args()
    build = ROOT / os.environ.get("LEVER_BUILD_DIR", "build/release")
    with tempfile.TemporaryDirectory(prefix="lever-bench-") as scratch:
        os.chmod(scratch, 0o755)  # services run under users of their own
        bench = Bench(ROOT, build, scratch, options.quick, ["*"])
        with bench.stack:
            results, samples = measure(bench, options.way, QUICK_STEPS if options.quick else STEPS,
                                       QUICK_IDLE if options.quick else IDLE)
    print_all(results, samples)
    if options.svg:
        write_svg(samples, options.svg)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"steps": results, "samples": samples}, indent=1))
    return 1 if any(step["failed"] for step in results) else 0


if __name__ == "__main__":
    sys.exit(main())
