"""`lever init`: what it writes is tested, deployed, called and edited, in each language."""

import os
import subprocess

import pytest
from dev_session import Dev
from lever_testing import BUILD, Host, wait_until

LEVER = str(BUILD / "bin" / "lever")
# The file with the greeting, the unary method, the streaming one, and what fails to build or to start.
LANGUAGES = {
    "node": ("service.js", "sayHello", "echoChan"),
    "python": ("service.py", "say_hello", "echo_chan"),
    "go": ("main.go", "SayHello", "EchoChan"),
    "cpp": ("service.h", "sayHello", "echoChan"),
}
BUILD_S = 300


def lever(*words, cwd=None, environment=None):
    return subprocess.run([LEVER, *map(str, words)], capture_output=True, text=True, timeout=BUILD_S,
                          stdin=subprocess.DEVNULL, cwd=cwd,
                          env={**os.environ, **(environment or {})})


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def host():
    # The Python on PATH may be one that only root reaches.
    with Host("--allow-root-services") as running:
        yield running


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_service_is_tested_deployed_called_and_edited(language, host, tmp_path):
    source, method, stream = LANGUAGES[language]
    directory = tmp_path / "greeter"
    done = lever("init", directory, "--lang", language)
    assert done.returncode == 0, done.stderr
    assert f"lever invoke /greeter/{method}" in done.stdout
    written = files(directory)
    assert {"lever.json", ".leverignore", ".gitignore", "README.md"} <= set(written)
    assert not any(b"{{" in content for content in written.values())

    done = lever("test", directory)
    assert done.returncode == 0, done.stdout + done.stderr

    host.deploy(directory, timeout_s=BUILD_S)
    assert host.invoke(f"/greeter/{method}", "Ann") == "Hello, Ann!"
    assert host.cli("stream", f"/greeter/{stream}", '"hi"', stdin='1\n{"a":[true]}\n').lines() == [
        "hi", 1, {"a": [True]}]

    path = directory / source
    good = path.read_text()
    with Dev(directory) as dev:
        dev.await_version(1, "greeter", timeout_s=BUILD_S)
        assert dev.invoke(f"/greeter/{method}", "Ann") == "Hello, Ann!"
        path.write_text(good.replace("Hello, ", "Welcome, "))
        dev.await_version(2, timeout_s=BUILD_S)
        assert dev.invoke(f"/greeter/{method}", "Ann") == "Welcome, Ann!"
        seen = len(dev.events)
        path.write_text(good + "\nthis is no code (\n")
        assert dev.await_failure(after=seen, timeout_s=BUILD_S)["version"] == 2
        assert dev.invoke(f"/greeter/{method}", "Ann") == "Welcome, Ann!"
        path.write_text(good)
        wait_until(lambda: dev.invoke(f"/greeter/{method}", "Ann") == "Hello, Ann!", BUILD_S)
        assert dev.interrupt() == 0


def test_a_test_that_fails_is_a_command_that_fails(tmp_path):
    directory = tmp_path / "greeter"
    assert lever("init", directory, "--lang", "node").returncode == 0
    path = directory / "service.js"
    path.write_text(path.read_text().replace("Hello, ", "Welcome, "))
    done = lever("test", directory)
    assert done.returncode != 0 and "Welcome, Ann!" in done.stdout


def test_the_node_scaffold_finds_lever_by_import_as_well(tmp_path):
    directory = tmp_path / "greeter"
    assert lever("init", directory, "--lang", "node").returncode == 0
    (directory / "module.test.mjs").write_text("""
import assert from 'node:assert';
import { test } from 'node:test';
import lever, { Client } from 'lever';
import testing from 'lever/testing';
test('both are there', () => { assert.ok(Client && lever.Client && testing.start); });
""")
    done = lever("test", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "both are there" in done.stdout


def test_what_is_behind_the_dashes_is_for_the_test_command(tmp_path):
    directory = tmp_path / "greeter"
    assert lever("init", directory, "--lang", "node").returncode == 0
    done = lever("test", directory, "--", "--test-name-pattern=says hello")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "says hello" in done.stdout


@pytest.mark.parametrize("content", ["file", "hidden", "directory", "not a directory"])
def test_a_directory_that_is_not_empty_stays_as_it_is(content, tmp_path):
    directory = tmp_path / "greeter"
    if content == "not a directory":
        directory.write_text("mine")
    else:
        directory.mkdir()
        name = {"file": "notes.txt", "hidden": ".env", "directory": "src"}[content]
        if content == "directory":
            (directory / name).mkdir()
        else:
            (directory / name).write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    done = lever("init", directory, "--lang", "node")
    assert done.returncode == 6, done.stderr
    assert str(directory) in done.stderr and done.stderr.count("\n") == 1
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_empty_directory_takes_it_and_the_name_may_be_another(tmp_path):
    directory = tmp_path / "My_Service"
    directory.mkdir()
    done = lever("init", directory, "--lang", "node")
    assert done.returncode == 2 and "--name" in done.stderr
    assert list(directory.iterdir()) == []
    assert lever("init", directory, "--lang", "node", "--name", "No").returncode == 2
    assert list(directory.iterdir()) == []
    assert lever("init", ".", "--lang", "node", "--name", "mine", cwd=directory).returncode == 0
    assert '"name": "mine"' in (directory / "lever.json").read_text()


def test_a_service_whose_tests_nobody_knows_is_told_so(tmp_path):
    (tmp_path / "lever.json").write_text('{"name": "mine"}')
    done = lever("test", tmp_path)
    assert done.returncode == 3 and "CMakePresets.json" in done.stderr
