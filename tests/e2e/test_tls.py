"""TLS on the host's port: foreign gRPC clients, HTTP clients, the command, the Node client, a program that
attaches itself; mutual TLS; certificates that are replaced while calls run."""

import json
import os
import subprocess
import threading

import pytest
from lever_testing import BUILD, Host, wait_until, write_service
from test_peers import run_peer

NODE_PACKAGE = BUILD / "runtime" / "node" / "node_modules" / "lever"
COUNTER = BUILD / "examples" / "counter-cpp" / "bundle" / "serve"
SERVICE = "exports.add = async (a, b) => a + b;\nexports.nap = async (ms, back) => {" \
          " await new Promise((done) => setTimeout(done, ms)); return back; };\n"


class Certificates:
    """An authority, and what it has signed."""

    def __init__(self, directory):
        self.directory = directory
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2")

    def run(self, *words):
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True,
                       timeout=60)

    def path(self, name):
        return str(self.directory / name)

    def issue(self, name, alternatives="DNS:localhost,IP:127.0.0.1"):
        """NAME.pem and NAME.key; what was there is replaced at once, the key first."""
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "next.key", "-out", "next.csr", "-subj", f"/CN={name}")
        (self.directory / "next.ext").write_text(f"subjectAltName={alternatives}\n")
        self.run("x509", "-req", "-in", "next.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-CAcreateserial", "-days", "2", "-extfile", "next.ext", "-out", "next.pem")
        os.replace(self.path("next.key"), self.path(f"{name}.key"))
        os.replace(self.path("next.pem"), self.path(f"{name}.pem"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("tls"))
    made.issue("host")
    made.issue("client", "DNS:client")
    return made


class TlsHost(Host):
    """A host that listens plain and over TLS; its command goes over TLS."""

    def __init__(self, certificates, *flags):
        super().__init__("--listen", "tls:127.0.0.1:0", "--tls-cert", certificates.path("host.pem"),
                         "--tls-key", certificates.path("host.key"), *flags)
        self.certificates = certificates

    def start(self):
        super().start()
        self.plain, self.address = self.address, self.process.stdout.readline().split()[-1]
        self.target = self.address.removeprefix("tls:")
        self.port = self.target.rpartition(":")[2]

    def environment(self):
        return {**super().environment(), "LEVER_TLS_CA": self.certificates.path("ca.pem")}

    def curl(self, *words, url=None):
        return subprocess.run(
            ["curl", "-sS", "--max-time", "30", "--cacert", self.certificates.path("ca.pem"), *words,
             url or f"https://{self.target}/sum/add"], capture_output=True, text=True, timeout=60)

    def s_client(self, *words):
        return subprocess.run(
            ["openssl", "s_client", "-connect", self.target, "-CAfile",
             self.certificates.path("ca.pem"), *words], input="", capture_output=True, text=True,
            errors="replace", timeout=30)


@pytest.fixture(scope="module")
def host(certificates, tmp_path_factory):
    with TlsHost(certificates) as running:
        running.deploy(write_service(tmp_path_factory.mktemp("sum"), {"s.js": SERVICE}, name="sum",
                                     jsEntry="s.js"))
        yield running


@pytest.mark.parametrize("peer", ["grpcio", "grpc-go"])
def test_a_foreign_grpc_client_calls_over_tls(host, peer):
    assert run_peer(peer, "--target", host.target, "--ca", host.certificates.path("ca.pem"), "--url",
                    "/sum/add", "--arg-json", "[2, 3]") == [5]


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_curl_calls_over_tls(host, version):
    done = host.curl(f"--http{version}", "-w", " %{http_version} %{http_code}", "-d", "[2, 3]")
    assert done.stdout.split() == ["5", version, "200"], done.stderr


def test_both_ports_serve_at_once(host):
    done = host.curl("-d", "[2, 3]", url=f"http://{host.plain}/sum/add")
    assert done.stdout == "5", done.stderr


def test_large_bodies_go_over_tls(host, tmp_path):
    text = json.dumps(["x" * 1_500_000, "y" * 1_500_000])
    (tmp_path / "body").write_text(text)
    for version in ["--http1.1", "--http2"]:
        done = host.curl(version, "-d", f"@{tmp_path}/body")
        assert json.loads(done.stdout) == "x" * 1_500_000 + "y" * 1_500_000, done.stderr


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_tls_1_2_and_1_3_are_spoken(host, version):
    done = host.s_client(f"-{version}", "-alpn", "h2,http/1.1", "-verify_return_error")
    assert done.returncode == 0, done.stderr
    assert "ALPN protocol: h2" in done.stdout
    assert "Compression: NONE" in done.stdout or version == "tls1_3"


def test_tls_1_1_is_refused(host):
    done = host.s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert "protocol version" in done.stderr


def test_a_client_without_alpn_may_speak_http_1_1(host):
    done = host.curl("--no-alpn", "--http1.1", "-d", "[2, 3]")
    assert done.stdout == "5", done.stderr


def test_plain_http_on_the_tls_port_is_told_so(host):
    def told_and_logged():
        # At most one line a second is logged, which another failure may have had.
        done = host.curl(url=f"http://{host.target}/-/healthz")
        assert "use https://" in done.stdout, done.stderr
        return "plain HTTP on a TLS port" in host.log_text()
    wait_until(told_and_logged)


def test_tls_on_the_plain_port_is_closed(host):
    done = host.curl(url=f"https://{host.plain}/-/healthz")
    assert done.returncode != 0
    wait_until(lambda: "TLS on a plain port" in host.log_text())


def test_an_https_page_of_the_hosts_own_may_call_and_an_http_one_may_not(host):
    def status(origin):
        return host.curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"Origin: {origin}", "-d",
                         "[2, 3]").stdout
    assert status(f"https://{host.target}") == "200"
    assert status(f"http://{host.target}") == "403"


def test_the_command_calls_over_tls_and_says_what_it_does_not_trust(host):
    assert host.invoke("/sum/add", 2, 3) == 5
    assert host.cli("--host", f"tls:localhost:{host.port}", "invoke", "/sum/add", "1", "1").json() == 2
    environment = {**host.environment(), "LEVER_TLS_CA": host.certificates.path("client.pem")}
    done = subprocess.run(host.command("invoke", "/sum/add", "1", "1"), env=environment,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "LEVER_TLS_CA" in done.stderr
    environment["LEVER_TLS_CA"] = host.certificates.path("missing.pem")
    done = subprocess.run(host.command("invoke", "/sum/add", "1", "1"), env=environment,
                          capture_output=True, text=True, timeout=60)
    assert "missing.pem" in done.stderr


def node(script, **environment):
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_node_client_calls_over_tls_beside_nodes_own(host):
    script = f"""
      const {{ Client }} = require({json.dumps(str(NODE_PACKAGE))});
      const https = require('https');
      const ca = {json.dumps(host.certificates.path("ca.pem"))};
      const own = () => new Promise((done, fail) => https.get('https://{host.target}/-/healthz',
        {{ ca: require('fs').readFileSync(ca) }}, (reply) => reply.resume().on('end', () =>
          done(reply.statusCode))).on('error', fail));
      (async () => {{
        const first = await own();
        const client = new Client({{ host: {json.dumps(host.address)}, tls: {{ ca }} }});
        const sum = await client.invoke('/sum/add', 20, 3);
        const second = await own();
        await client.close();
        let refused = '';
        try {{ new Client({{ host: {json.dumps(host.plain)}, tls: {{ ca }} }}); }}
        catch (error) {{ refused = error.message; }}
        console.log(JSON.stringify([first, sum, second, refused.includes('tls:')]));
      }})();
    """
    assert node(script) == [200, 23, 200, True]


def test_a_program_attaches_itself_over_tls(host):
    program = subprocess.Popen([COUNTER, "attach", "--host", host.address, "--listen", "127.0.0.1:0"],
                               stdout=subprocess.PIPE, text=True, env=host.environment())
    try:
        program.stdout.readline()
        assert host.invoke("/counter/add", 4) == 4
    finally:
        program.terminate()
        assert program.wait(30) == 0
        program.stdout.close()


def test_mutual_tls_serves_only_clients_with_a_certificate(certificates):
    with TlsHost(certificates, "--tls-client-ca", certificates.path("ca.pem")) as host:
        refused = host.cli("ps")
        assert refused.code != 0
        assert "LEVER_TLS_CERT" in refused.err
        done = host.curl(url=f"https://{host.target}/-/healthz")
        assert done.returncode != 0
        environment = {**host.environment(), "LEVER_TLS_CERT": certificates.path("client.pem"),
                       "LEVER_TLS_KEY": certificates.path("client.key")}
        done = subprocess.run(host.command("--json", "ps"), env=environment, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        done = host.curl("--cert", certificates.path("client.pem"), "--key",
                         certificates.path("client.key"), url=f"https://{host.target}/-/healthz")
        assert done.returncode == 0, done.stderr


def shown_serial(host):
    shown = host.s_client("-alpn", "h2").stdout
    return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown, capture_output=True,
                          text=True, timeout=30).stdout


def test_a_certificate_is_replaced_while_calls_run_and_none_fails(host, certificates):
    before = shown_serial(host)
    stop = threading.Event()
    failures, calls = [], []

    def call(version):
        while not stop.is_set():
            done = host.curl(version, "-d", "[1, 2]")
            calls.append(1)
            if done.stdout != "3":
                failures.append(done.stderr or done.stdout)

    long_call = subprocess.Popen(host.command("invoke", "/sum/nap", "2500", '"done"'),
                                 env=host.environment(), stdout=subprocess.PIPE, text=True)
    callers = [threading.Thread(target=call, args=(version,)) for version in ("--http1.1", "--http2")]
    for caller in callers:
        caller.start()
    try:
        certificates.issue("host")
        wait_until(lambda: shown_serial(host) != before)
        wait_until(lambda: len(calls) > 20)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert failures == []
    out, _ = long_call.communicate(timeout=30)
    assert json.loads(out) == "done"


def test_leverd_refuses_tls_that_cannot_work(certificates, tmp_path):
    def start(*flags):
        return subprocess.run([BUILD / "bin" / "leverd", "--data-dir", tmp_path / "data", *flags],
                              capture_output=True, text=True, timeout=60)
    done = start("--listen", "tls:127.0.0.1:0")
    assert done.returncode == 2 and "certificate" in done.stderr
    done = start("--listen", "tls:127.0.0.1:0", "--tls-cert", certificates.path("host.pem"),
                 "--tls-key", certificates.path("client.key"))
    assert done.returncode == 2 and "client.key" in done.stderr
    done = start("--listen", "127.0.0.1:0", "--tls-cert", certificates.path("host.pem"), "--tls-key",
                 certificates.path("host.key"))
    assert done.returncode == 2 and "tls:" in done.stderr
