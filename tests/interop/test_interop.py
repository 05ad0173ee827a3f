"""gRPC's interoperability suite: every case, Lever against each stack, in both roles, plain and
over TLS, and `relayed`: with a host between every two stacks, which passes the calls on without
knowing the service.

A cell is `[grpc-go-client/lever-server/tls/large_unary]`. stacks.py has the table of stacks and
names the cells that are impossible; `python tests/interop/matrix.py` prints a run as a table.
"""

import pytest
from interop_testing import Certificates, Server, run_client
from lever_testing import Host
from stacks import CASES, LEVER, PEERS, STACKS

SERVICE = "grpc.testing.TestService"
DIRECT = ("plain", "tls")


def routes():
    """(client, server, how) of every pair that is tried."""
    direct = [(LEVER, LEVER), *((peer, LEVER) for peer in PEERS), *((LEVER, peer) for peer in PEERS)]
    relayed = [(client, server) for client in STACKS for server in STACKS]
    return ([(client, server, how) for how in DIRECT for client, server in direct] +
            [(client, server, "relayed") for client, server in relayed])


def impossible(client, server, case):
    """Why a cell cannot be tried; empty if it can."""
    return client.client_lacks.get(case) or server.server_lacks.get(case) or ""


def cells():
    return [pytest.param(client, server, how, case,
                         id=f"{client.name}-client/{server.name}-server/{how}/{case}")
            for client, server, how in routes() for case in CASES
            if not impossible(client, server, case)]


class Bench:
    """The servers that run, and what the clients' runs came to; each is started and run once."""

    def __init__(self):
        self.certificates = Certificates()
        self.servers = {}
        self.hosts = {}
        self.outcomes = {}

    def port(self, server, how):
        if how == "relayed":
            return self._relay_port(server)
        key = (server.name, how)
        if key not in self.servers:
            self.servers[key] = Server(server, self.certificates if how == "tls" else None)
        return self.servers[key].port

    def _relay_port(self, server):
        """That of a host which passes the service's calls on to the server."""
        if server.name not in self.hosts:
            host = Host("--upstream", f"{SERVICE}=127.0.0.1:{self.port(server, 'plain')}")
            self.hosts[server.name] = host.__enter__()
        return int(self.hosts[server.name].address.rpartition(":")[2])

    def outcome(self, client, server, how, case):
        """Of one case. A client that takes lists runs all that this server makes possible at once."""
        client, server, wanted = client.running(case), server.running(case), server
        key = (client.name, server.name, how)
        if case not in self.outcomes.get(key, {}):
            cases = [case]
            if client.takes_lists:
                cases = [each for each in CASES if not impossible(client, server, each)
                         and wanted.running(each) is server]
            ran = run_client(client, self.port(server, how), cases,
                             self.certificates if how == "tls" else None)
            self.outcomes.setdefault(key, {}).update(ran)
        return self.outcomes[key][case]

    def stop(self):
        for host in self.hosts.values():
            host.__exit__(None, None, None)
        for server in self.servers.values():
            server.stop()
        self.certificates.remove()


@pytest.fixture(scope="module")
def bench():
    running = Bench()
    yield running
    running.stop()


@pytest.mark.parametrize("client, server, how, case", cells())
def test_case(bench, client, server, how, case):
    wrong = bench.outcome(client, server, how, case)
    assert not wrong, wrong
