"""Environments: apart from one another, and calls between them."""

import json

from lever_testing import Host, write_service

SERVICE = """
const lever = require('lever');
exports.where = async () => lever.context().service.env;
exports.ask = async (address) => {
  try { return await lever.context().client.invoke(address); } catch (error) { return error.code; }
};
"""


def deploy(host, directory, env, **manifest):
    write_service(directory, {"service.js": SERVICE}, jsEntry="service.js", **manifest)
    host.cli("--env", env, "deploy", directory, timeout_s=120).ok()


def test_a_service_sees_its_own_environment(host, tmp_path):
    host.cli("env", "create", "one.env").ok()
    host.cli("env", "create", "two.env").ok()
    for env in ("one.env", "two.env"):
        deploy(host, tmp_path / env / "caller", env, name="caller")
        deploy(host, tmp_path / env / "open", env, name="open")
        deploy(host, tmp_path / env / "closed", env, name="closed", private=True)
    deploy(host, tmp_path / "only", "two.env", name="only")

    def ask(env, address):
        return host.invoke(f"lever://{env}/caller/ask", address)

    for env in ("one.env", "two.env"):
        assert ask(env, "/open/where") == env
        # The second call goes straight to the instance; it is the same.
        assert ask(env, "/open/where") == env
        assert ask(env, "/closed/where") == env
    assert ask("one.env", "/only/where") == "NOT_FOUND"
    assert ask("one.env", "lever://two.env/only/where") == "two.env"
    assert ask("one.env", "lever://two.env/open/where") == "two.env"
    for _ in range(3):
        assert ask("one.env", "lever://two.env/closed/where") == "PERMISSION_DENIED"
    assert host.cli("invoke", "lever://two.env/closed/where").code == 6


def test_environments_outlive_the_host_and_are_deleted(tmp_path):
    with Host() as host:
        deploy(host, tmp_path / "hello", "dev.lever", name="hello", config={"a": 1})
        created = host.cli("env", "create", "copy.env", "--copy-from", "dev.lever").ok()
        assert created.out.strip() == "environment copy.env created with 1 service"
        assert host.cli("env", "create", "copy.env").code != 0
        assert host.cli("env", "create", "other.env", "--copy-from", "no.env").code == 3
        host.kill()
        host.start()
        assert host.invoke("lever://copy.env/hello/where") == "copy.env"
        assert host.cli("--json", "env", "list").json() == [
            {"environment": "copy.env", "services": 1}, {"environment": "dev.lever", "services": 1}]
        refused = host.cli("env", "delete", "copy.env")
        assert refused.code != 0 and "has hello" in refused.err
        assert host.invoke("lever://copy.env/hello/where") == "copy.env"
        host.cli("env", "delete", "copy.env", "--force").ok()
        assert host.cli("invoke", "lever://copy.env/hello/where").code == 3
        assert host.invoke("/hello/where") == "dev.lever"
        host.stop()
        host.start()
        assert json.loads(host.cli("--json", "env", "list").out) == [
            {"environment": "dev.lever", "services": 1}]
