"""Versions and configuration of a service that runs."""

from lever_testing import write_service

NODE = """
const { context } = require('lever');
exports.version = async () => context().service.version;
exports.config = async () => context().config;
exports.details = async () => JSON.stringify(context().service) + JSON.stringify(process.env);
if (%s) throw new Error('it does not start');
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
