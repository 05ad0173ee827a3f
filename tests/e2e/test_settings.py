"""Versions, configuration and secrets of a service that runs."""

import os
import pathlib
import pty
import stat

from lever_testing import Host, reachable_python, write_service

NODE = """
const { context } = require('lever');
exports.version = async () => context().service.version;
exports.config = async () => context().config;
exports.secret = async (name) => context().secrets[name] ?? null;
exports.details = async () => JSON.stringify(context().service) + JSON.stringify(process.env);
exports.kept = async () => { context().secrets.x = 'changed'; };
if (%s) throw new Error('it does not start');
"""
PYTHON = """
import lever

@lever.method
def secret(name): return lever.context().secrets.get(name)
"""


def service(directory, name, extra="", breaks="false", **manifest):
    return write_service(directory, {"service.js": NODE % breaks + extra}, name=name,
                         jsEntry="service.js", **manifest)


def test_config_is_set_on_a_running_service(host, tmp_path):
    host.deploy(service(tmp_path / "set", "set", config={"colour": "red", "size": 1}))
    assert host.invoke("/set/config") == {"colour": "red", "size": 1}
    done = host.cli("config", "set", "set", "size=2", "name=Ann", 'deep={"a":[1]}').ok()
    assert done.out.strip() == "lever://dev.lever/set version 2"
    assert host.invoke("/set/config") == {"colour": "red", "size": 2, "name": "Ann",
                                          "deep": {"a": [1]}}
    assert host.invoke("/set/version") == 2
    assert host.cli("config", "get", "set", "name").json() == "Ann"
    assert host.cli("config", "get", "set", "nothing").code == 3
    assert "config set" in host.cli("config", "list", "set").ok().out
    assert "(unchanged)" in host.cli("config", "set", "set", "size=2").ok().out
    host.cli("config", "unset", "set", "size").ok()
    assert host.invoke("/set/config")["size"] == 1
    assert host.cli("config", "unset", "set", "size").code == 3
    assert host.cli("config", "set", "set", "novalue").code == 2
    assert host.cli("config", "set", "nobody", "a=1").code == 3


def test_secrets_reach_the_service_and_nobody_else(tmp_path):
    with Host("--python", reachable_python()) as host:
        host.deploy(service(tmp_path / "vault", "vault"))
        host.deploy(write_service(tmp_path / "pyvault", {"service.py": PYTHON}, name="pyvault",
                                  pyEntry="service.py"))
        for name in ("vault", "pyvault"):
            done = host.cli("secret", "set", name, "token", stdin="hunter2-very-secret\n").ok()
            assert "hunter2" not in done.out + done.err
            assert host.invoke(f"/{name}/secret", "token") == "hunter2-very-secret"
            assert host.invoke(f"/{name}/secret", "other") is None
            assert host.cli("secret", "list", name).ok().out == "token\n"
        assert "hunter2" not in host.invoke("/vault/details")
        assert "hunter2" not in host.cli("--json", "ls").ok().out + host.cli("--json", "ps").ok().out
        assert "hunter2" not in host.log_text()
        key = pathlib.Path(host.data_dir, "secret.key")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        host.stop()
        for path in pathlib.Path(host.data_dir).rglob("*"):
            if path.is_file():
                assert b"hunter2" not in path.read_bytes(), path
        host.start()
        assert host.invoke("/vault/secret", "token") == "hunter2-very-secret"
        host.cli("secret", "unset", "vault", "token").ok()
        assert host.invoke("/vault/secret", "token") is None
        assert host.cli("secret", "set", "vault", "empty", stdin="").code == 2


def test_a_secret_that_is_typed_is_not_shown(host, tmp_path):
    host.deploy(service(tmp_path / "typed", "typed"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(host.environment())
        words = host.command("secret", "set", "typed", "token")
        os.execv(words[0], words)
    shown = b""
    while b"token: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"hunter2\n")
    while True:
        try:
            piece = os.read(terminal, 1024)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"hunter2" not in shown
    assert host.invoke("/typed/secret", "token") == "hunter2"


def test_a_rollback_and_one_that_does_not_start(host, tmp_path):
    directory = tmp_path / "rolled"
    host.deploy(service(directory, "rolled", extra="exports.text = async () => 'one';"))
    assert host.invoke("/rolled/text") == "one"
    host.deploy(service(directory, "rolled", extra="exports.text = async () => 'two';"))
    assert host.invoke("/rolled/text") == "two"
    assert host.cli("rollback", "rolled").ok().out.strip() == "lever://dev.lever/rolled version 1 serves"
    assert host.invoke("/rolled/text") == "one"
    rows = host.cli("--json", "versions", "rolled").json()
    assert [(row["version"], row["current"]) for row in rows] == [(2, False), (1, True)]
    assert host.cli("rollback", "rolled").code != 0
    assert host.cli("rollback", "rolled", "7").code == 3
    host.cli("rollback", "rolled", "2").ok()
    assert host.invoke("/rolled/text") == "two"
    bad = host.cli("deploy", service(directory, "rolled", breaks="true"))
    assert bad.code != 0 and "it does not start" in bad.err and "stays at version 2" in bad.err
    assert host.invoke("/rolled/text") == "two"
