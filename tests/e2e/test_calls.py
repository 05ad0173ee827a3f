"""From a directory to an answered call: deploy, invoke, stream, logs, ps, rm."""

import json

import pytest
from lever_testing import ROOT, wait_until, write_service

HELLO = """
exports.sayHello = async (name) => { console.log('greeting', name); return `Hello, ${name}!`; };
exports.fail = async () => { throw Object.assign(new Error('no luck'), {reason: 7}); };
exports.bytes = async (data) => Buffer.from(data).reverse();
exports.config = async () => require('lever').context().config;
exports.echoChan = async (stream, greeting) => {
  await stream.write(greeting);
  for await (const message of stream) await stream.write(message);
};
"""


@pytest.fixture
def hello(host, tmp_path):
    directory = write_service(tmp_path / "hello", {"service.js": HELLO}, name="hello",
                              jsEntry="service.js", config={"colour": "red"})
    host.deploy(directory)
    return directory


def test_a_deployed_directory_answers(host):
    deployed = host.deploy(ROOT / "examples" / "hello")
    assert deployed.out.strip() == "lever://dev.lever/hello version 1"
    assert host.invoke("/hello/sayHello", "Ann") == "Hello, Ann!"
    assert host.invoke("lever://dev.lever/hello/sayHello", "Bo") == "Hello, Bo!"


def test_a_stream_goes_both_ways(host, hello):
    result = host.cli("stream", "/hello/echoChan", '"hi"', stdin='1\n{"a":[2]}\n"three"\n')
    assert result.lines() == ["hi", 1, {"a": [2]}, "three"]


def test_the_methods_own_error_is_exit_code_1(host, hello):
    result = host.cli("invoke", "/hello/fail")
    assert result.code == 1
    assert result.out == ""
    error = json.loads(result.err)
    assert error["message"] == "no luck" and error["reason"] == 7


def test_config_of_lever_json_reaches_the_service(host, hello):
    assert host.invoke("/hello/config") == {"colour": "red"}


@pytest.mark.parametrize("words, code", [
    (["invoke", "/nobody/home"], 3),
    (["invoke", "/hello/nothing"], 3),
    (["invoke", "lever://other.env/hello/sayHello"], 3),
    (["invoke", "/hello/echoChan"], 3),
    (["invoke", "/hello/a-resource/sayHello"], 3),
    (["invoke", "not an address"], 2),
    (["invoke", "/hello/sayHello", "{broken"], 2),
    (["--env", "no.such", "deploy", "examples/hello"], 3),
    (["rm", "nobody"], 3),
    (["no-such-command"], 2),
])
def test_exit_codes_name_the_trouble(host, hello, words, code):
    result = host.cli(*words)
    assert (result.code, result.out) == (code, ""), result.err
    assert len(result.err.strip()) > 0


def test_a_service_without_resources_says_so(host, hello):
    result = host.cli("invoke", "/hello/a%20resource/sayHello", '"Ann"')
    assert "NOT_FOUND" in result.err and "hello has no resources" in result.err


def test_the_same_content_again_is_unchanged(host, hello):
    again = host.deploy(hello)
    assert "unchanged" in again.out and "version 1" in again.out
    (hello / "service.js").write_text(HELLO.replace("Hello,", "Good day,"))
    assert "version 2" in host.deploy(hello).out
    assert host.invoke("/hello/sayHello", "Ann") == "Good day, Ann!"


def test_output_is_in_logs_and_in_the_hosts_log(host, hello):
    host.invoke("/hello/sayHello", "Ann")
    shown = wait_until(lambda: [line for line in host.cli("logs", "hello").ok().out.splitlines()
                                if "greeting Ann" in line], what="the line in lever logs")
    assert shown[0].startswith("lever://dev.lever/hello")
    wait_until(lambda: "greeting Ann" in host.log_text(), what="the line in the host's log")
    line = next(line for line in host.log if "greeting Ann" in line)
    assert "lever://dev.lever/hello" in line


def test_ps_names_the_running_process(host, hello):
    host.invoke("/hello/sayHello", "Ann")
    (row,) = host.instances("hello")
    assert row["service"] == "hello" and row["version"] == 1 and row["phase"] == "ready"
    assert row["runtime"].startswith("node 2") and "lever" in row["runtime"]
    with open(f"/proc/{row['pid']}/cmdline", encoding="utf-8") as file:
        assert "service.js" in file.read()


def test_rm_makes_calls_not_found(host, hello):
    host.invoke("/hello/sayHello", "Ann")
    host.cli("rm", "hello").ok()
    assert host.cli("invoke", "/hello/sayHello", '"Ann"').code == 3
    wait_until(lambda: host.instances("hello") == [], what="the end of its instance")


def test_private_services_are_for_instances_of_the_environment(host, tmp_path):
    host.deploy(write_service(tmp_path / "vault", {"s.js": "exports.get = async () => 'gold';"},
                              name="vault", jsEntry="s.js", private=True))
    host.deploy(write_service(
        tmp_path / "front", {"s.js": "const {context} = require('lever');"
                                     "exports.get = () => context().client.invoke('/vault/get');"},
        name="front", jsEntry="s.js"))
    refused = host.cli("invoke", "/vault/get")
    assert refused.code == 6 and "PERMISSION_DENIED" in refused.err
    assert host.invoke("/front/get") == "gold"


def test_calls_go_on_while_a_new_version_takes_over(host, hello):
    host.invoke("/hello/sayHello", "Ann")
    (old,) = host.instances("hello")
    (hello / "service.js").write_text(HELLO.replace("Hello,", "Welcome,"))
    host.deploy(hello)
    assert host.invoke("/hello/sayHello", "Ann") == "Welcome, Ann!"
    wait_until(lambda: old["pid"] not in [row["pid"] for row in host.instances("hello")],
               what="the end of version 1")


def test_what_the_host_has_no_runtime_for_is_refused_at_its_deploy(host, tmp_path):
    directory = write_service(tmp_path / "py", {"s.py": ""}, name="py", pyEntry="s.py")
    result = host.cli("deploy", directory)
    assert result.code == 6 and "python" in result.err
    assert host.cli("--json", "ls").json() == []


def test_lever_json_is_refused_by_the_field(host, tmp_path):
    directory = write_service(tmp_path / "bad", {"s.js": ""}, name="bad", jsEntry="s.js",
                              idleTimeuot=5)
    result = host.cli("deploy", directory)
    assert result.code == 2 and "idleTimeuot" in result.err
    assert host.cli("--json", "ls").json() == []
