#!/usr/bin/env python3
"""The bench says what it measured: ratios, targets, spreads, the order of the sides, and what failed."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import bench as whole  # noqa: E402
from lib import program, session, table  # noqa: E402
from lib.table import ABSOLUTE, DELTA, HIGHER, LOWER, Row, compare  # noqa: E402

# What pages and tools rely on: every row, with the peers that it is compared with.
WANTED = {
    "unary.cpp.cpu": ["gRPC C++"],
    "unary.cpp.rate": ["gRPC C++", "grpc-go"],
    "unary.cpp.p50": ["bare epoll echo"],
    "relay.cpu": ["haproxy", "nginx", "bare nghttp2 relay"],
    "relay.added_p50": ["haproxy"],
    "http.cpu": ["nginx"],
    "unary.node.cpu": ["grpc-js", "Moleculer"],
    "unary.node.rate": ["Moleculer"],
    "unary.node.p50": ["grpc-js", "Moleculer"],
    "stream.cpp.rate": ["gRPC C++"],
    "stream.cpp.bytes": ["gRPC C++", "plain send/recv, TCP", "plain send/recv, unix socket"],
    "stream.relay.bytes": ["haproxy"],
    "idle.stream.bytes": ["-"],
    "idle.connection.bytes": ["bare nghttp2 session + socket", "gRPC C++"],
    "cold.cpp.p50": ["fork+exec to main of the same binary"],
    "cold.node.p50": ["node -e 0"],
    "deploy.p50": ["tar, one sync -f, exec of the same"],
    "relay.p99.during_deploy": ["the same without"],
    "scaling.instances": ["1 instance (Lever: 10,000)"],
    "scaling.services": ["1 service (Lever: 100,000)"],
    "attack.honest_p99.rapid_reset": ["the same without the attack"],
    "attack.honest_p99.made_you_reset_by_window": ["the same without the attack"],
    "scaling.connections": ["1 connection (Lever: 10,000 idle beside it)"],
}


def sample(lever, peer):
    return {"lever": {"x": lever}, "peer": {"x": peer}}


class Figures(unittest.TestCase):
    def test_lever_and_peer_are_medians_and_ratio_is_lever_by_peer(self):
        row = compare("a", "us", LOWER, 0.5, "p", "x")
        got = table.evaluate(row, [sample(1, 4), sample(9, 2), sample(2, 8)])
        self.assertEqual((got["lever"], got["peer"], got["ratio"]), (2, 4, 0.5))

    def test_a_target_that_is_just_reached_is_met_and_beyond_it_is_not(self):
        for better, target, lever, met in ((LOWER, 0.5, 5, True), (LOWER, 0.5, 5.1, False),
                                           (HIGHER, 3, 30, True), (HIGHER, 3, 29.9, False)):
            row = compare("a", "us", better, target, "p", "x")
            self.assertIs(table.evaluate(row, [sample(lever, 10)])["met"], met, (better, lever))

    def test_a_delta_is_what_lever_takes_more(self):
        row = compare("a", "ms", LOWER, 4, "p", "x", kind=DELTA)
        self.assertIs(table.evaluate(row, [sample(14, 10)])["met"], True)
        self.assertIs(table.evaluate(row, [sample(14.1, 10)])["met"], False)
        self.assertEqual(table.evaluate(row, [sample(14, 10)])["ratio"], 1.4)

    def test_an_absolute_target_needs_no_peer(self):
        row = Row("a", "bytes", LOWER, None, 8192, ("lever",), lambda r: r["lever"]["x"], None, ABSOLUTE)
        got = table.evaluate(row, [sample(8192, None)])
        self.assertEqual((got["met"], got["peer"], got["peer_name"], got["ratio"]),
                         (True, None, None, None))
        self.assertIs(table.evaluate(row, [sample(8193, None)])["met"], False)

    def test_only_a_row_without_a_target_is_neither_met_nor_missed(self):
        row = compare("a", "us", LOWER, None, "p", "x")
        self.assertIsNone(table.evaluate(row, [sample(1, 1)])["met"])
        self.assertIn("reported", table.row_text(table.evaluate(row, [sample(1, 1)])))

    def test_a_ratio_to_nothing_is_not_met(self):
        row = compare("a", "us", LOWER, 1, "p", "x")
        self.assertIs(table.evaluate(row, [sample(1, 0)])["met"], False)

    def test_spread_is_that_of_the_ratios(self):
        row = compare("a", "us", LOWER, 1, "p", "x")
        got = table.evaluate(row, [sample(10, 10), sample(24, 20), sample(36, 40)])
        self.assertEqual(got["spread"], 0.3)  # 0.9 to 1.2 round 1
        self.assertIsNone(table.evaluate(row, [sample(1, 1)])["spread"])


class Side:
    def __init__(self, log, name, fail_at=None):
        self.log, self.name, self.fail_at = log, name, fail_at

    def measure(self, seconds):
        self.log.append(self.name)
        if self.fail_at is not None and self.log.count(self.name) > self.fail_at:
            raise program.BenchError("it broke")
        return {"x": 1.0}


class Group:
    def __init__(self, rows, log, broken=(), fail_at=None):
        self.ROWS, self.log, self.broken, self.fail_at = rows, log, broken, fail_at
        self.opened = []

    def open_side(self, bench, name):
        self.opened.append(name)
        if name in self.broken:
            raise program.BenchError("it is not installed")
        return Side(self.log, name, self.fail_at if name == "b" else None)


def run(group, quick=False, only=("*",)):
    with tempfile.TemporaryDirectory() as scratch:
        return list(session.run_group(group, session.Bench(ROOT, ROOT, scratch, quick, list(only))))


class Sampling(unittest.TestCase):
    def setUp(self):
        self.log = []
        self.rows = [compare("one", "us", LOWER, 1, "A", "x", peer="a"),
                     compare("two", "us", LOWER, 1, "B", "x", peer="b")]

    def test_sides_are_measured_forth_and_back_again_and_again(self):
        run(Group(self.rows, self.log))
        forth, back = ["lever", "a", "b"], ["b", "a", "lever"]
        expected = [forth if i % 2 == 0 else back for i in range(session.FULL_REPETITIONS)]
        self.assertEqual(self.log, sum(expected, []))

    def test_quick_is_one_repetition(self):
        run(Group(self.rows, self.log), quick=True)
        self.assertEqual(self.log, ["lever", "a", "b"])

    def test_only_what_the_wanted_rows_need_is_started(self):
        group = Group(self.rows, self.log)
        got = run(group, only=["o*"])
        self.assertEqual([row["name"] for row in got], ["one"])
        self.assertEqual(group.opened, ["lever", "a"])

    def test_a_side_that_cannot_start_fails_its_own_rows_aloud(self):
        one, two = run(Group(self.rows, self.log, broken=("b",)))
        self.assertNotIn("error", one)
        self.assertIn("b: it is not installed", two["error"])
        self.assertEqual((two["lever"], two["ratio"], two["met"]), (None, None, False))
        self.assertIn("could not be measured", table.row_text(two))

    def test_a_side_that_fails_midway_gives_no_figure_and_is_not_asked_again(self):
        one, two = run(Group(self.rows, self.log, fail_at=1))
        self.assertNotIn("error", one)
        self.assertIn("it broke", two["error"])
        self.assertEqual(self.log.count("b"), 2)


class Files(unittest.TestCase):
    def test_the_json_file_has_rows_with_all_keys_in_order(self):
        rows = [table.evaluate(compare("a", "us", LOWER, 1, "p", "x"), [sample(1, 2)]),
                table.failed(compare("b", "us", LOWER, None, "p", "x"), "why")]
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            table.write_json(rows, file.name)
            got = json.load(file)
        self.assertEqual(list(got), ["rows"])
        self.assertEqual(list(got["rows"][0]), list(table.KEYS))
        self.assertEqual(list(got["rows"][1]), [*table.KEYS, "error"])
        self.assertIsNone(got["rows"][1]["met"])

    def test_every_row_of_the_plan_is_there_once_a_peer(self):
        done = subprocess.run([sys.executable, ROOT / "bench/bench.py", "--list"], capture_output=True,
                              text=True, check=True)
        listed = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
        for name, peers in WANTED.items():
            for peer in peers:
                self.assertEqual(listed.count((name, peer)), 1, (name, peer))

    def test_a_pattern_that_names_no_row_is_an_error(self):
        self.assertEqual(whole.main(["--only", "nothing.of.that.name"]), 2)


class Programs(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)

    def start(self, code):
        started = program.Program([sys.executable, "-c", code], self.scratch.name)
        self.addCleanup(started.stop)
        return started

    def test_cpu_time_counts_threads_that_have_ended(self):
        started = self.start(
            "import threading, time\n"
            "def burn():\n"
            "    while time.thread_time() < 0.2: pass\n"
            "t = threading.Thread(target=burn); t.start(); t.join()\n"
            "print('ready', flush=True); input()\n")
        started.expect("ready")
        self.assertGreater(program.cpu_ns(started.pid), 200_000_000)

    def test_a_program_that_ends_is_told_with_what_it_wrote(self):
        started = self.start("import sys; sys.exit('no such thing')")
        with self.assertRaisesRegex(program.BenchError, "ended with 1.*no such thing"):
            started.expect("ready")

    def test_calls_that_failed_are_no_figure(self):
        started = self.start("input(); print('{\"calls\": 9, \"errors\": 2}', flush=True)")
        with self.assertRaisesRegex(program.BenchError, "2 of 9 failed"):
            started.ask("unary", 1, 1)

    def test_a_program_ends_with_its_input(self):
        started = self.start("import sys; print('ready', flush=True); sys.stdin.read()")
        started.expect("ready")
        began = time.monotonic()
        started.stop()
        self.assertEqual(started.process.returncode, 0)
        self.assertLess(time.monotonic() - began, 2)


if __name__ == "__main__":
    unittest.main()
