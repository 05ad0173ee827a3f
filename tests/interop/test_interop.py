"""gRPC's interoperability suite: every case, Lever against each stack, in both roles, plain and over TLS, and
with the host between two programs.

A cell is `[grpc-go-client/lever-server/tls/large_unary]`. stacks.py has the table of stacks and names the cells
that are impossible; `python tests/interop/matrix.py` prints everything as a table.
"""

import pytest
from interop_testing import Certificates, Server, run_client
from stacks import CASES, LEVER, PEERS


def routes():
    """(client, server, how) of every pair that is tried."""
    found = [(LEVER, LEVER, how) for how in ("plain", "tls")]
    for peer in PEERS:
        for how in ("plain", "tls"):
            found += [(peer, LEVER, how), (LEVER, peer, how)]
    return found


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
        self.outcomes = {}

    def port(self, server, how):
        key = (server.name, how)
        if key not in self.servers:
            self.servers[key] = Server(server, self.certificates if how == "tls" else None)
        return self.servers[key].port

    def outcome(self, client, server, how, case):
        """Of one case. A client that takes lists runs all that are possible with this server at once."""
        key = (client.name, server.name, how)
        if case not in self.outcomes.get(key, {}):
            cases = [case]
            if client.takes_lists:
                cases = [each for each in CASES if not impossible(client, server, each)]
            ran = run_client(client, self.port(server, how), cases,
                             self.certificates if how == "tls" else None)
            self.outcomes.setdefault(key, {}).update(ran)
        return self.outcomes[key][case]

    def stop(self):
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
