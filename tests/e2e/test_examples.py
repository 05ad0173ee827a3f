"""The examples, run as their first lines say."""

import os
import shutil
import subprocess

from lever_testing import BUILD, ROOT, open_directory, process_exists, wait_until

EMBED = BUILD / "examples" / "embed" / "embed"
COUNTER = BUILD / "examples" / "counter-cpp" / "bundle"


def test_counter_cpp(host):
    host.deploy(COUNTER)
    assert host.invoke("/counter/add", 5) == 5
    assert host.invoke("/counter/add", 2) == 7
    assert host.cli("invoke", "/counter/fail", '"bad"').code == 1
    result = host.cli("stream", "/counter/echoChan", stdin='1\n"two"\n')
    assert result.lines() == [1, "two"]


def test_chat(host):
    host.deploy(ROOT / "examples" / "chat", timeout_s=300)
    done = subprocess.run([str(ROOT / "examples" / "chat" / "try.sh")], env={
        **host.environment(), "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_curl(host):
    host.deploy(ROOT / "examples" / "hello")
    done = subprocess.run([str(ROOT / "examples" / "curl.sh")], env=host.environment(),
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_embed_starts_instances_with_its_own_driver():
    directory = open_directory()
    program = subprocess.Popen([EMBED, os.path.join(directory, "data"), "127.0.0.1:0"],
                               stdout=subprocess.PIPE, text=True)
    try:
        address = program.stdout.readline().split()[-1]
        environment = {**os.environ, "LEVER_HOST": address}

        def lever(*words):
            return subprocess.run([BUILD / "bin" / "lever", *words], env=environment, check=True,
                                  capture_output=True, text=True, timeout=60).stdout
        lever("deploy", str(COUNTER))
        assert lever("invoke", "/counter/add", "3").strip() == "3"
        below = [int(pid) for pid in subprocess.run(
            ["pgrep", "-P", str(program.pid)], capture_output=True, text=True).stdout.split()]
        assert len(below) == 1
    finally:
        program.terminate()
        assert program.wait(60) == 0
        program.stdout.close()
        shutil.rmtree(directory)
    wait_until(lambda: not process_exists(below[0]))
