"""Peers that misbehave against a real host, with an honest client beside them: tests/misbehave has the
attacks, and what each may cost."""

import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time

import pytest
from lever_testing import BUILD, Host, resident_bytes, wait_until
from raw_calls import Caller

MISBEHAVE = BUILD / "tests" / "misbehave" / "misbehave"
FIELDS = ["lever-url=/counter/get", "lever-proto=1"]
IDLE_CONNECTIONS = 20_000
OWN_DESCRIPTORS = 200  # of the host, and of the program that holds the other ends
IDLE_BYTES_MAX = 64 << 10  # a connection, as the host's resident memory says it


class Attacker:
    """A run of the program, whose connections stay open until it is left."""

    def __init__(self, host, *words):
        port = host.address.rpartition(":")[2]
        self.process = subprocess.Popen([MISBEHAVE, words[0], port, *map(str, words[1:])],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def result(self):
        line = self.process.stdout.readline()
        assert line, f"the attacker ended with {self.process.wait()}"
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Honest:
    """A gRPC client that calls one method again and again."""

    def __init__(self, host):
        self.caller = Caller(host.address)
        self.errors, self.times = [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                self.caller.invoke("/counter/get", timeout_s=20)
            except Exception as error:
                self.errors.append(repr(error))
            self.times.append(time.monotonic() - began)

    def take(self):
        """(calls, errors, p99 in ms) since the last time, after some calls more."""
        enough = len(self.times) + 20
        wait_until(lambda: len(self.times) >= enough, 60, "the honest client's calls")
        times, errors = sorted(self.times), self.errors
        self.times, self.errors = [], []
        return len(times), errors, times[len(times) * 99 // 100] * 1000

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.caller.channel.close()


@pytest.fixture
def served(host, tmp_path):
    shutil.copytree(BUILD / "examples" / "counter-cpp" / "bundle", tmp_path / "counter")
    host.deploy(tmp_path / "counter")
    host.invoke("/counter/add", 1)
    return host


def transport(host):
    return dict(host.counters().transport)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_attacks_cost_the_honest_client_nothing(served):
    attacks = [json.loads(line) for line in subprocess.run(
        [MISBEHAVE, "--list"], check=True, capture_output=True, text=True).stdout.splitlines()]
    assert len(attacks) > 15
    wrong = []
    with Honest(served) as honest:
        alone = honest.take()[2]
        print(f"\n{'attack':28} {'end':8} {'pieces':>7} {'ms':>7} {'errors':>6} {'p99 ms':>8} "
              f"{'alone':>7} {'MiB':>7}  counter")
        for attack in attacks:
            before, counted = resident_bytes(served.pid), transport(served)
            honest.take()
            with Attacker(served, attack["name"], 0, *FIELDS) as attacker:
                outcome = attacker.result()
                _, errors, p99 = honest.take()
                grown = resident_bytes(served.pid) - before
            print(f"{attack['name']:28} {'cut off' if outcome['cut_off'] else 'held':8} "
                  f"{outcome['pieces']:7} {outcome['ms']:7.0f} {len(errors):6} {p99:8.2f} {alone:7.2f} "
                  f"{grown / (1 << 20):7.1f}  {attack['counter']}")
            why = attack["counter"]
            if errors:
                wrong.append((attack["name"], errors[:3]))
            if outcome["cut_off"] != attack["cut_off"]:
                wrong.append((attack["name"], outcome))
            if grown > attack["bytes_max"]:
                wrong.append((attack["name"], f"grown by {grown} bytes"))
            if why and transport(served)[why] <= counted[why]:
                wrong.append((attack["name"], f"{why} has not risen", {
                    name: value for name, value in transport(served).items()
                    if value != counted[name]}))
    assert wrong == []
    # Nothing is left behind: the service answers, and has not been started anew.
    assert served.invoke("/counter/get") == 1


def test_what_is_left_open_is_cut_off_in_time_and_costs_no_cpu(served):
    counted = transport(served)
    with Attacker(served, "cut", 100) as attacker:
        assert attacker.result() == {"held": 100, "lost": 0}

        def a_quiet_second():
            before = cpu_seconds(served.pid)
            time.sleep(1)
            return cpu_seconds(served.pid) - before <= 0.03
        # The host's own reports and timers, and nothing for the connections.
        wait_until(a_quiet_second, 8, "a second without CPU")
        wait_until(lambda: transport(served)["limit_frame_time"] == counted["limit_frame_time"] + 100,
                   20, "the end of all that were left open")
    assert served.invoke("/counter/get") == 1


def test_a_host_without_descriptors_refuses_and_recovers(served):
    port = int(served.address.rpartition(":")[2])
    before = resource.prlimit(served.pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{served.pid}/fd"))
    with Caller(served.address) as caller:
        assert caller.invoke("/counter/get") == 1
        resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (open_now + 5, before[1]))
        refused = 0
        clients = []
        for _ in range(30):
            client = socket.create_connection(("127.0.0.1", port))
            client.settimeout(1)
            clients.append(client)
        for client in clients:
            try:
                refused += client.recv(1) == b""
            except TimeoutError:
                pass  # it was taken, and waits for us to begin
            except ConnectionResetError:
                refused += 1
        assert refused >= 20
        used = cpu_seconds(served.pid)
        assert caller.invoke("/counter/get") == 1
        time.sleep(1)
        assert cpu_seconds(served.pid) - used <= 0.2, "it spins"
        assert transport_over(caller, served)["limit_descriptors"] >= 20
        for client in clients:
            client.close()
    resource.prlimit(served.pid, resource.RLIMIT_NOFILE, before)
    assert served.invoke("/counter/get") == 1


def transport_over(caller, host):
    """The counters, over a connection that is open already: there is no descriptor for another."""
    import admin_api
    messages, stubs = admin_api.modules("admin")
    return dict(stubs.AdminStub(caller.channel).GetHost(messages.GetHostRequest(),
                                                        timeout=10).counters.transport)


def test_twenty_thousand_idle_connections_are_held():
    """Or as many as the descriptors that root may have here."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(IDLE_CONNECTIONS, most - OWN_DESCRIPTORS)
    with Host() as host:
        before = resident_bytes(host.pid)
        with Attacker(host, "idle", count) as attacker:
            assert attacker.result() == {"held": count, "lost": 0}
            each = (resident_bytes(host.pid) - before) / count
            print(f"{count} idle connections, {each / 1024:.1f} KiB each")
            assert each <= IDLE_BYTES_MAX
            assert host.cli("--json", "ps").json() == []
            open_now = transport(host)
            assert open_now["connections_opened"] - open_now["connections_closed"] >= count
