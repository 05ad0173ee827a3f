"""The `lever` command on terminals, pipes, slow readers, and with Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import subprocess

import pytest
from lever_testing import BUILD, Host, resident_bytes, wait_until, write_service

SERVICE = """
const kib = 'x'.repeat(1024);
exports.hello = async () => { console.log('greeting'); return 'hello'; };
exports.floodChan = async (stream, count) => {
  for (let n = 0; n < count; ++n) await stream.write(n + kib);
};
exports.untilToldChan = async (stream) => {
  let told = false;
  (async () => { for await (const m of stream) told = m === 'stop'; })();
  let n = 0;
  while (!told) { await stream.write(++n); if (n % 100 === 0) await new Promise(setImmediate); }
};
exports.waitChan = async (stream) => {
  await stream.write('here');
  for await (const m of stream) {}
};
"""


@pytest.fixture
def service(host, tmp_path):
    directory = write_service(tmp_path / "cli", {"s.js": SERVICE}, name="cli", jsEntry="s.js")
    host.deploy(directory)
    return directory


def start(host, *words, **more):
    return subprocess.Popen(host.command(*words), env=host.environment(), text=True,
                            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                               "stderr": subprocess.PIPE, **more})


def read_terminal(terminal):
    """What comes out of a terminal until nobody has it open any more."""
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            return shown.decode()
        if not piece:
            return shown.decode()
        shown += piece
    raise AssertionError(f"the terminal was not closed; so far: {shown!r}")


def test_deploy_shows_progress_on_a_terminal_and_nowhere_else(host, tmp_path):
    directory = write_service(tmp_path / "big", {"s.js": "exports.f = () => 1;"}, name="big",
                              jsEntry="s.js")
    (directory / "data").write_bytes(os.urandom(3 << 20))
    terminal, end = pty.openpty()
    process = start(host, "deploy", str(directory), stderr=end)
    os.close(end)
    shown = read_terminal(terminal)
    os.close(terminal)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "lever://dev.lever/big version 1\n"
    assert re.search(r"\r\x1b\[Kuploading [\d.]+ [KM]iB( of 3\.0 MiB)?", shown), shown
    assert shown.endswith("\r\x1b[K"), "the line is not cleared at the end"

    (directory / "data").write_bytes(os.urandom(1 << 20))
    assert host.deploy(directory).err == ""


def test_deploy_runs_build(host, tmp_path):
    directory = write_service(
        tmp_path / "built", {"lib.txt": "made of this"}, name="built", jsEntry="made.js",
        build=["sh", "-c", "echo building; echo \"exports.f = () => '$(cat lib.txt)';\" > made.js"])
    result = host.deploy(directory)
    assert result.out == "lever://dev.lever/built version 1\n"
    assert "building\n" in result.err
    assert host.invoke("/built/f") == "made of this"
    as_json = host.cli("--json", "deploy", directory).json()
    assert as_json == {"service": "lever://dev.lever/built", "version": 1, "unchanged": True, "canary_percent": 0}


def test_a_build_finds_the_installation_that_the_command_belongs_to(host, tmp_path):
    directory = write_service(
        tmp_path / "built", {}, name="built", jsEntry="made.js",
        build=["sh", "-c", "echo \"exports.f = () => '$CMAKE_PREFIX_PATH';\" > made.js"])
    host.deploy(directory)
    assert host.invoke("/built/f").split(":")[0] == str(BUILD)


def test_a_slow_reader_slows_the_method_and_loses_nothing(host, service):
    count = 120_000
    process = start(host, "stream", "/cli/floodChan", str(count), stdin=subprocess.DEVNULL)
    assert process.stdout.readline().startswith('"0x')

    # Nothing is read: the pipe, the command's and the host's buffers fill up, and then nothing moves.
    def received_bytes():
        with open(f"/proc/{process.pid}/io", encoding="ascii") as io:
            return int(io.readline().split()[1])
    seen = []

    def stands_still():
        seen.append(received_bytes())
        assert resident_bytes(process.pid) < 64 << 20
        return len(seen) > 50 and seen[-1] == seen[-50]
    wait_until(stands_still, what="the end of reading ahead")
    lines = [json.loads(line) for line in process.stdout]
    assert process.wait(30) == 0, process.stderr.read()
    assert [int(line[:-1024]) for line in lines] == list(range(1, count))


def test_input_is_read_while_output_comes(host, service):
    process = start(host, "stream", "/cli/untilToldChan")
    assert process.stdout.readline() == "1\n"
    process.stdin.write('"go on"\n"stop"\n')
    process.stdin.close()
    numbers = [int(line) for line in process.stdout]
    assert process.wait(30) == 0, process.stderr.read()
    assert numbers == list(range(2, len(numbers) + 2))


def test_ctrl_c_ends_a_stream_and_the_method_hears_of_it(host, service):
    process = start(host, "stream", "/cli/waitChan")
    assert process.stdout.readline() == '"here"\n'
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "CANCELLED" in process.stderr.read()
    wait_until(lambda: [row["streams"] for row in host.instances("cli")] == [0],
               what="the end of the stream in the service")


def test_logs_follow_until_ctrl_c(host, service):
    process = start(host, "logs", "cli", "-f", "--tail", "0", stdin=subprocess.DEVNULL)
    # The next lines come only to who follows already.
    wait_until(lambda: host.invoke("/cli/hello") and
               select.select([process.stdout], [], [], 0)[0], what="a line of the log")
    for line in process.stdout:
        assert line.startswith("lever://dev.lever/cli v1 i-")
        if line.endswith("| greeting\n"):
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == ""


def test_logs_tail_is_the_last_lines(host, service):
    for _ in range(3):
        host.invoke("/cli/hello")

    def greetings():
        return [line for line in host.cli("logs", "cli", "--tail", "2").ok().out.splitlines()
                if line.endswith("| greeting")]
    assert len(wait_until(lambda: len(greetings()) == 2 and greetings())) == 2
    rows = host.cli("--json", "logs", "cli", "--tail", "1").lines()
    assert [(row["service"], row["stream"], row["text"]) for row in rows] == [
        ("cli", "stdout", "greeting")]


def test_ps_names_what_runs_services(host, service):
    host.invoke("/cli/hello")
    shown = host.cli("ps").ok().out
    (row,) = host.instances("cli")
    assert re.search(rf"^cli +1 +{row['id']} +ready +{row['pid']} ", shown, re.MULTILINE), shown
    assert re.search(r"; node /\S+ 2\d\.\d+\.\d+; python /", shown), shown


def test_a_reader_that_leaves_ends_the_command(host, service):
    process = start(host, "stream", "/cli/floodChan", "1000000", stdin=subprocess.DEVNULL)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE


def test_a_host_at_a_unix_socket(tmp_path):
    with Host("--listen", f"unix:{tmp_path}/lever.sock") as host:
        host.address = f"unix:{tmp_path}/lever.sock"
        host.deploy(write_service(tmp_path / "s", {"s.js": "exports.f = () => 7;"}, name="s",
                                  jsEntry="s.js"))
        assert host.invoke("/s/f") == 7
        assert host.cli("--host", "unix:/nowhere/lever.sock", "ls").code == 4


def test_errors_for_programs_are_json(host, service):
    result = host.cli("--json", "--env", "no.such", "deploy", str(service))
    assert result.code == 3
    error = json.loads(result.err)["error"]
    assert error["code"] == "NOT_FOUND" and "no.such" in error["message"]
    result = host.cli("--json", "invoke", "/cli/nothing")
    assert json.loads(result.err)["error"]["executed"] == "no"
