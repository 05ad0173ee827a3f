"""`lever dev`: deploys what is edited, and survives what is broken."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from dev_session import Dev
from lever_testing import BUILD, descendants, open_directory, process_exists, wait_until, write_service


def source(answer):
    return f"exports.answer = async () => {{ console.log('said {answer}'); return '{answer}'; }};\n"


@pytest.fixture
def service(tmp_path):
    return write_service(tmp_path / "svc", {"s.js": source("one")}, name="svc", jsEntry="s.js")


def replace(path, text):
    """As editors that write a new file and give it the name of the old one."""
    new = path.with_name("." + path.name + ".new")
    new.write_text(text)
    new.rename(path)


def test_an_edit_is_a_new_version(service):
    with Dev(service) as dev:
        dev.await_version(1)
        assert dev.invoke("/svc/answer") == "one"
        (service / "s.js").write_text(source("two"))
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "two"
        wait_until(lambda: [row["version"] for row in json.loads(
            dev.cli("--json", "ps", "svc").ok().out)] == [2], what="the end of version 1")
        wait_until(lambda: any(json.loads(line)["text"] == "said two" for line in dev.lines),
                   what="the service's output")
        assert dev.interrupt() == 0
    assert [event["event"] for event in dev.events] == [
        "listening", "deployed", "deployed", "stopping"]


def test_it_speaks_to_people(service):
    with Dev(service, json=False) as dev:
        wait_until(lambda: any("version 1 serves" in line for line in dev.notes))
        (address,) = [line.split()[-1] for line in dev.notes if "listening on" in line]
        dev.address = address
        assert dev.invoke("/svc/answer") == "one"
        wait_until(lambda: any(line.endswith("| said one") for line in dev.lines))
        (service / "s.js").write_text("{")
        wait_until(lambda: dev.notes[-1] == "lever: svc: version 1 goes on")
        assert any("SyntaxError" in line for line in dev.notes), dev.notes


def test_a_running_call_of_the_old_version_ends_by_itself(service):
    (service / "s.js").write_text("""
exports.slow = () => new Promise((resolve) => setTimeout(resolve, 1500, 'old'));
exports.echoChan = async (stream) => { for await (const m of stream) await stream.write('old ' + m); };
""")
    with Dev(service) as dev:
        dev.await_version(1)
        dev.host()
        environment = {**os.environ, "LEVER_HOST": dev.address}
        call = subprocess.Popen([dev.lever, "invoke", "/svc/slow"], stdout=subprocess.PIPE,
                                text=True, env=environment)
        stream = subprocess.Popen([dev.lever, "stream", "/svc/echoChan"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, env=environment)
        stream.stdin.write("1\n")
        stream.stdin.flush()
        assert stream.stdout.readline() == '"old 1"\n'
        wait_until(lambda: json.loads(dev.cli("--json", "ps", "svc").ok().out)[0]["calls"] == 1)
        (service / "s.js").write_text("exports.slow = async () => 'new';")
        dev.await_version(2)
        assert dev.invoke("/svc/slow") == "new"
        assert call.communicate(timeout=30)[0] == '"old"\n'
        assert stream.communicate("2\n", timeout=30)[0] == '"old 2"\n'
        assert stream.returncode == 0


# Neither ready nor failed, and not by a busy loop.
HANGS = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);\n"


def starting_pid(dev, service):
    """That of the instance of it that is starting, once there is one."""
    def found():
        rows = json.loads(dev.cli("--json", "ps", service).ok().out)
        return next((row["pid"] for row in rows if row["phase"] == "starting" and row["pid"]), None)
    return wait_until(found, what="an instance that starts")


@pytest.fixture
def patient_service(service):
    (service / "lever.json").write_text('{"name": "svc", "jsEntry": "s.js", "startTimeout": "9m"}')
    return service


def test_an_edit_gives_up_a_version_that_hangs_at_its_start(patient_service):
    path = patient_service / "s.js"
    with Dev(patient_service) as dev:
        dev.await_version(1)
        for answer in ("two", "three"):
            path.write_text(HANGS)
            pid = starting_pid(dev, "svc")
            assert dev.invoke("/svc/answer") != answer, "the old version goes on meanwhile"
            path.write_text(source(answer))
            wait_until(lambda: dev.invoke("/svc/answer") == answer)
            wait_until(lambda: not process_exists(pid))
        # Back to what serves: that all is well is told.
        path.write_text(HANGS)
        starting_pid(dev, "svc")
        seen = len(dev.events)
        path.write_text(source("three"))
        dev.await_event(lambda e: e["event"] == "deployed", "that version 5 serves", seen)
        assert not [event for event in dev.events if event["event"] == "failed"]


def test_a_service_that_hangs_from_the_start_is_deployed_when_it_is_mended(patient_service):
    (patient_service / "s.js").write_text(HANGS)
    with Dev(patient_service) as dev:
        starting_pid(dev, "svc")
        (patient_service / "s.js").write_text(source("at last"))
        dev.await_event(lambda e: e["event"] == "deployed", "the mended version")
        assert dev.invoke("/svc/answer") == "at last"
        (patient_service / "s.js").write_text(HANGS)
        pid = starting_pid(dev, "svc")
        assert dev.interrupt() == 0
        wait_until(lambda: not process_exists(pid))


def test_a_version_that_hangs_at_its_start_holds_up_no_other_service(patient_service, tmp_path):
    other = write_service(tmp_path / "other", {"s.js": source("one")}, name="other", jsEntry="s.js")
    with Dev(patient_service, other) as dev:
        dev.await_version(1, "svc")
        dev.await_version(1, "other")
        (patient_service / "s.js").write_text(HANGS)
        pid = starting_pid(dev, "svc")
        (other / "s.js").write_text(source("two"))
        dev.await_version(2, "other")
        assert dev.invoke("/other/answer") == "two"
        assert process_exists(pid), "nothing of its own was edited"


@pytest.mark.parametrize("broken, code, message", [
    ({"s.js": "exports.answer = () => {"}, "UNAVAILABLE", "SyntaxError"),
    ({"s.js": "throw new Error('not today');"}, "UNAVAILABLE", "not today"),
    ({"s.js": "process.exit(7);"}, "UNAVAILABLE", "does not start"),
    ({"lever.json": '{"name": "svc",'}, "INVALID_ARGUMENT", "lever.json"),
    ({"lever.json": '{"name": "svc", "jsEntri": "s.js"}'}, "INVALID_ARGUMENT", "jsEntry"),
    ({"lever.json": '{"name": "svc", "jsEntry": "gone.js"}'}, "INVALID_ARGUMENT", "gone.js"),
    ({"lever.json": '{"name": "svc", "jsEntry": "s.js", "build": ["sh", "-c", "exit 9"]}'},
     "FAILED_PRECONDITION", "exit code 9"),
    ({"lever.json": '{"name": "svc", "jsEntry": "s.js", "build": ["no-such-program"]}'},
     "FAILED_PRECONDITION", "no-such-program"),
])
def test_a_broken_edit_shows_its_error_and_the_old_version_goes_on(service, broken, code, message):
    good = {path.name: path.read_text() for path in service.iterdir()}
    with Dev(service) as dev:
        dev.await_version(1)
        for name, text in broken.items():
            replace(service / name, text)
        failure = dev.await_failure()
        assert failure["code"] == code and message in failure["message"], failure
        assert failure["service"] == "svc" and failure["version"] == 1
        assert "/trees/" not in failure["message"], "paths are those that people edit"
        assert dev.invoke("/svc/answer") == "one"
        seen = len(dev.events)
        for name in broken:
            replace(service / name, good[name])
        # The content of version 1: that it is well again is told.
        dev.await_event(lambda e: e["event"] == "deployed" and e["version"] == 1, "version 1 again", seen)
        replace(service / "s.js", source("mended"))
        dev.await_event(lambda e: e["event"] == "deployed" and e["version"] > 1, "the mended version")
        assert dev.invoke("/svc/answer") == "mended"


def test_a_service_that_is_broken_from_the_start_is_deployed_when_it_is_mended(service):
    (service / "s.js").write_text("throw new Error('not yet');")
    with Dev(service) as dev:
        failure = dev.await_failure()
        assert failure["version"] == 0 and "not yet" in failure["message"]
        assert dev.cli("invoke", "/svc/answer").code == 3
        (service / "s.js").write_text(source("at last"))
        dev.await_event(lambda e: e["event"] == "deployed", "the mended version")
        assert dev.invoke("/svc/answer") == "at last"


def test_what_cannot_be_packed_is_named_and_the_old_version_goes_on(service):
    with Dev(service) as dev:
        dev.await_version(1)
        os.mkfifo(service / "pipe")
        failure = dev.await_failure()
        assert "pipe" in failure["message"] and failure["version"] == 1
        (service / "pipe").unlink()
        seen = len(dev.events)
        (service / "link").symlink_to("nothing")
        assert "link" in dev.await_failure(after=seen)["message"]
        assert dev.invoke("/svc/answer") == "one"
        (service / "link").unlink()
        (service / "s.js").write_text(source("two"))
        dev.await_event(lambda e: e["event"] == "deployed" and e["version"] == 2, "version 2")


def test_unreadable_files_and_directories_are_named():
    """As a user who is not root, from an installation that such a user reaches."""
    directory = pathlib.Path(open_directory())
    try:
        prefix = directory / "prefix"
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True,
                       capture_output=True)
        service = write_service(directory / "svc", {"s.js": source("one"), "secret": "x", "d/f": "x"},
                                name="svc", jsEntry="s.js")
        user = 65534 if os.geteuid() == 0 else None
        if user is not None:
            for path in [service, *service.rglob("*")]:
                os.chown(path, user, user)
        environment = {"TMPDIR": str(service.parent / "tmp"), "HOME": str(service)}
        os.mkdir(environment["TMPDIR"], 0o777)
        os.chmod(environment["TMPDIR"], 0o777)
        with Dev(service, build=prefix, user=user, environment=environment) as dev:
            dev.await_version(1)
            (service / "secret").chmod(0)
            assert "secret" in dev.await_failure()["message"]
            (service / "secret").chmod(0o644)
            seen = len(dev.events)
            (service / "d").chmod(0)
            assert '"d"' in dev.await_failure(after=seen)["message"]
            (service / "d").chmod(0o755)
            (service / "s.js").write_text(source("two"))
            dev.await_version(2)
            assert dev.invoke("/svc/answer") == "two"
            assert dev.interrupt() == 0
    finally:
        shutil.rmtree(directory)


def test_editors_of_all_kinds(service):
    path = service / "s.js"
    with Dev(service) as dev:
        dev.await_version(1)
        replace(path, source("renamed over"))
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "renamed over"
        # A backup takes the name, and a new file is written.
        path.rename(service / "s.js~")
        path.write_text(source("with a backup"))
        (service / "s.js~").unlink()
        dev.await_version(3)
        assert dev.invoke("/svc/answer") == "with a backup"
        # In place, in steps.
        with path.open("w") as file:
            for piece in (source("in steps")[:10], source("in steps")[10:]):
                file.write(piece)
                file.flush()
        dev.await_version(4)
        assert dev.invoke("/svc/answer") == "in steps"
        (service / "lib" / "deep").mkdir(parents=True)
        (service / "lib" / "deep" / "text.js").write_text("module.exports = 'from below';")
        path.write_text("const text = require('./lib/deep/text'); exports.answer = async () => text;")
        dev.await_event(lambda e: e["event"] == "deployed" and e["version"] >= 5, "version 5")
        wait_until(lambda: dev.invoke("/svc/answer") == "from below")
        (service / "lib" / "deep" / "text.js").write_text("module.exports = 'from below, edited';")
        wait_until(lambda: dev.invoke("/svc/answer") == "from below, edited")


def test_a_storm_of_changes_is_a_few_versions(service):
    with Dev(service) as dev:
        dev.await_version(1)
        for i in range(1000):
            (service / f"file{i}.txt").write_text(str(i))
        (service / "s.js").write_text(source("after the storm"))
        wait_until(lambda: dev.invoke("/svc/answer") == "after the storm")
        assert len(dev.versions()) <= 4, dev.versions()
        # Touched, and not changed: the host has that version already.
        before = dev.versions()
        for i in range(1000):
            os.utime(service / f"file{i}.txt")
        (service / "s.js").write_text(source("and another"))
        wait_until(lambda: dev.invoke("/svc/answer") == "and another")
        assert len(dev.versions()) == len(before) + 1


def test_what_leverignore_excludes_is_not_looked_at(service):
    (service / ".leverignore").write_text("*.log\ncache/\n")
    (service / "cache").mkdir()
    with Dev(service) as dev:
        dev.await_version(1)
        (service / "a.log").write_text("x")
        (service / "cache" / "x").write_text("x")
        (service / ".git").mkdir()
        (service / ".git" / "HEAD").write_text("x")
        (service / "s.js").write_text(source("two"))
        dev.await_version(2)
        (service / ".leverignore").write_text("cache/\n")
        dev.await_version(3)  # a.log is packed now
        assert dev.versions() == [1, 2, 3]


def builds_of(service):
    return len((service / "builds").read_text().splitlines())


def write_built_service(directory, script, **more):
    return write_service(directory, {
        "src/text": "one", ".gitignore": "builds\n", ".leverignore": "src/\nbuilds\n", **more,
    }, name="svc", jsEntry="dist/s.js", build=["sh", "-ec", "echo built >> builds; " + script])


MAKE = "mkdir -p dist; echo \"exports.answer = async () => '$(cat src/text)';\" > dist/s.js"


def test_a_build_does_not_set_off_another(tmp_path):
    # dist/ is packed, and written by every build; src/ is not packed, and is what it is built from.
    service = write_built_service(tmp_path / "svc", MAKE + "; date +%N > dist/stamp")
    with Dev(service) as dev:
        dev.await_version(1)
        assert dev.invoke("/svc/answer") == "one"
        time.sleep(1)  # for what must not happen there is no condition to wait for
        assert builds_of(service) == 1
        (service / "src" / "text").write_text("two")
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "two"
        time.sleep(1)
        assert builds_of(service) == 2
    # The second session finds the outputs of the first, and cannot tell them from edits at once.
    with Dev(service) as dev:
        dev.await_version(1)
        time.sleep(2)
        assert builds_of(service) <= 4
        before = builds_of(service)
        (service / "src" / "text").write_text("three")
        wait_until(lambda: dev.invoke("/svc/answer") == "three")
        time.sleep(1)
        assert builds_of(service) == before + 1


def test_an_edit_while_the_build_runs_is_built_too(tmp_path):
    service = write_built_service(tmp_path / "svc", MAKE + "; touch running; sleep 1; rm running",
                                  **{".gitignore": "builds\nrunning\n"})
    (service / ".leverignore").write_text("src/\nbuilds\nrunning\n")
    with Dev(service) as dev:
        wait_until(lambda: (service / "running").exists())
        (service / "src" / "text").write_text("two")
        wait_until(lambda: dev.versions() and dev.invoke("/svc/answer") == "two")


def test_packages_are_installed_again_only_when_the_list_of_them_changes(service):
    write_service(service, {
        "package.json": '{"name": "svc", "version": "1.0.0"}',
        "package-lock.json": '{"name": "svc", "version": "1.0.0", "lockfileVersion": 3, "packages": {}}',
    }, name="svc", jsEntry="s.js", build=["npm", "ci", "--no-audit", "--no-fund"])

    def installs():
        return len([line for line in dev.notes if line.startswith("lever: build: npm ci")])
    with Dev(service) as dev:
        dev.await_version(1)
        (service / "s.js").write_text(source("two"))
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "two"
        assert installs() == 1
        (service / "package.json").write_text('{"name": "svc", "version": "1.0.1"}')
        dev.await_version(3)
        assert installs() == 2


def test_several_services_call_each_other(tmp_path):
    front = write_service(tmp_path / "front", {"s.js": """
const lever = require('lever');
exports.ask = () => lever.context().client.invoke('/back/answer');
"""}, name="front", jsEntry="s.js")
    back = write_service(tmp_path / "back", {"s.js": source("one")}, name="back", jsEntry="s.js")
    with Dev(front, back) as dev:
        dev.await_version(1, "front")
        dev.await_version(1, "back")
        assert dev.invoke("/front/ask") == "one"
        (back / "s.js").write_text(source("two"))
        dev.await_version(2, "back")
        assert dev.invoke("/front/ask") == "two"
        # It is a host like any other.
        other = write_service(tmp_path / "other", {"s.js": source("x")}, name="other", jsEntry="s.js")
        dev.cli("deploy", other).ok()
        assert dev.invoke("/other/answer") == "x"


def test_a_service_that_is_renamed_leaves_its_old_name(service):
    with Dev(service) as dev:
        dev.await_version(1, "svc")
        (service / "lever.json").write_text('{"name": "renamed", "jsEntry": "s.js"}')
        dev.await_version(1, "renamed")
        assert dev.invoke("/renamed/answer") == "one"
        assert dev.cli("invoke", "/svc/answer").code == 3


def test_a_directory_that_goes_and_comes_back(service, tmp_path):
    with Dev(service) as dev:
        dev.await_version(1)
        service.rename(tmp_path / "elsewhere")
        assert "svc" in dev.await_failure()["message"]
        (tmp_path / "elsewhere").rename(service)
        (service / "s.js").write_text(source("back"))
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "back"


def test_a_port_that_is_taken(service):
    # The usual port may be anybody's on this machine: then this one is not needed.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass
        with Dev(service, flags=(), json=False) as dev:
            wait_until(lambda: any("version 1 serves" in line for line in dev.notes))
            (line,) = [line for line in dev.notes if "listening on" in line]
            assert "127.0.0.1:8080 is taken" in line and "LEVER_HOST=127.0.0.1:" in line
            dev.address = line.split("LEVER_HOST=")[1]
            assert dev.address != "127.0.0.1:8080"
            assert dev.invoke("/svc/answer") == "one"
            # Asked for, it must be that one.
            again = subprocess.run([dev.lever, "dev", str(service), "--listen", dev.address],
                                   capture_output=True, text=True, timeout=60)
            assert again.returncode != 0
            assert dev.address in again.stderr and "in use" in again.stderr


def test_ctrl_c_ends_everything_and_leaves_nothing(service, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with Dev(service, environment={"TMPDIR": str(temporary)}) as dev:
        dev.await_version(1)
        assert list(temporary.iterdir()) != []
        below = descendants(dev.process.pid)
        assert len(below) >= 2  # lever-spawner and the instance
        assert dev.interrupt() == 0
        wait_until(lambda: not any(map(process_exists, below)), what="the end of all processes")
    assert list(temporary.iterdir()) == []


def test_ctrl_c_ends_a_build(tmp_path):
    service = write_service(tmp_path / "svc", {"s.js": source("one")}, name="svc", jsEntry="s.js",
                            build=["sh", "-c", "echo $$ > pid; sleep 600"])
    with Dev(service) as dev:
        wait_until(lambda: (service / "pid").exists() and (service / "pid").read_text().strip())
        pid = int((service / "pid").read_text())
        started = time.monotonic()
        assert dev.interrupt() == 0
        assert time.monotonic() - started < 10
        wait_until(lambda: not process_exists(pid))


def test_a_second_ctrl_c_ends_it_at_once(service, tmp_path):
    (service / "s.js").write_text(
        "exports.for = () => new Promise((r) => setTimeout(r, 20_000));")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with Dev(service, environment={"TMPDIR": str(temporary)}) as dev:
        dev.await_version(1)
        dev.host()
        call = subprocess.Popen([dev.lever, "invoke", "/svc/for"], stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "LEVER_HOST": dev.address})
        wait_until(lambda: json.loads(dev.cli("--json", "ps", "svc").ok().out)[0]["calls"] == 1)
        below = descendants(dev.process.pid)
        dev.process.send_signal(signal.SIGINT)
        dev.await_event(lambda e: e["event"] == "stopping", "stopping")
        started = time.monotonic()
        assert dev.interrupt() == 130
        assert time.monotonic() - started < 5
        assert call.wait(30) == 4
        call.stderr.close()
        wait_until(lambda: not any(map(process_exists, below)), what="the end of all processes")
    assert list(temporary.iterdir()) == []


def test_data_that_is_kept(service, tmp_path):
    flags = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    with Dev(service, flags=flags) as dev:
        dev.await_version(1)
        (service / "s.js").write_text(source("two"))
        dev.await_version(2)
    with Dev(service, flags=flags) as dev:
        dev.await_version(2)
        assert dev.invoke("/svc/answer") == "two"


def test_what_is_no_service_is_refused(tmp_path):
    lever = str(BUILD / "bin" / "lever")

    def run(*words):
        return subprocess.run([lever, "dev", *map(str, words)], capture_output=True, text=True,
                              timeout=60)
    done = run(tmp_path)
    assert done.returncode == 3 and "lever.json" in done.stderr
    done = run(tmp_path / "nowhere")
    assert done.returncode == 3 and "nowhere" in done.stderr
    (tmp_path / "lever.json").write_text("{}")
    done = run(tmp_path, f"{tmp_path}/.")
    assert done.returncode == 2 and "twice" in done.stderr
