"""The p99 of relayed calls while a service of 1,000 files is deployed again and again, and without."""

import threading
import time

from lib import sides
from lib.sides import Load
from lib.table import LOWER, compare

ROWS = [compare("relay.p99.during_deploy", "us", LOWER, 1.5, "the same without", "p99_us", "during", "without")]
FILES = 1000


class During(Load):
    def __init__(self, client, host, directory):
        super().__init__(client, ("unary", 64))
        self.host, self.directory = host, directory
        self.failure = None
        self.deploys = 0

    def deploy(self):
        (self.directory / "data" / "0.txt").write_text(f"{time.monotonic_ns()}")
        self.host.deploy(self.directory)
        self.deploys += 1

    def deploy_until(self, stop):
        try:
            while not stop.is_set():
                self.deploy()
        except Exception as error:  # told where it can be acted upon
            self.failure = error

    def measure(self, seconds):
        stop = threading.Event()
        deploying = threading.Thread(target=self.deploy_until, args=(stop,))
        deploying.start()
        try:
            return super().measure(seconds)
        finally:
            stop.set()
            deploying.join()
            if self.failure is not None:
                raise self.failure


def relayed(bench):
    host = sides.host(bench)
    sides.deploy_cpp(bench, host)
    return host, sides.lever_client(bench, host.address, "echo-cpp")


def open_side(bench, name):
    host, client = bench.once("relayed", lambda: relayed(bench))
    if name == "without":
        return Load(client, ("unary", 64))
    files = {f"data/{i}.txt": f"{i} " * 400 for i in range(FILES)}
    files["service.js"] = "exports.x = async () => 1;\n"
    directory = sides.lever_testing.write_service(bench.folder("bundles") / "large", files, name="large",
                                                  jsEntry="service.js")
    during = During(client, host, directory)
    during.deploy()
    return during
