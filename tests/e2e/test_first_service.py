"""The commands of docs/first-service.md, and what the page says that they answer."""

import json
import os
import re
import subprocess

from dev_session import Dev
from lever_testing import BUILD, ROOT

PAGE = (ROOT / "docs" / "first-service.md").read_text()


def blocks():
    """(language, text) of each fenced block."""
    language, lines = None, []
    for line in PAGE.splitlines(keepends=True):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, lines = line[3:].strip(), []
        else:
            yield language, "".join(lines)
            language = None


def shown():
    """(command, what the page shows of its answer) of every line that begins with a dollar."""
    for language, text in blocks():
        if language == "":
            yield from re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


def test_the_page_is_true(host, tmp_path):
    environment = {**os.environ, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}"}

    def run(command, address):
        done = subprocess.run(["bash", "-c", command.replace("127.0.0.1:8080", address)],
                              capture_output=True, text=True, timeout=120, cwd=tmp_path,
                              env={**environment, "LEVER_HOST": address})
        assert done.returncode == 0, command + "\n" + done.stderr
        return done.stdout

    commands = list(shown())
    names = [command for command, _ in commands]
    at = {"dev": names.index("lever dev hello"),
          "leverd": names.index("leverd --data-dir /var/tmp/lever &")}
    for command, answer in commands[:at["dev"]]:
        out = run(command, host.address)
        assert answer == "" or out == answer, command
    # What it shows of files is what they have.
    written = {path.name: re.sub(r"\s+", " ", path.read_text()) for path in (tmp_path / "hello").iterdir()}
    for language, source in blocks():
        for part in source.split("\n\n") if language in ("js", "json") else []:
            part = re.sub(r"\s+", " ", part).strip()
            assert any(part in file for file in written.values()), part

    served = tmp_path / "hello" / "service.js"
    with Dev(tmp_path / "hello") as dev:
        dev.await_version(1)
        address = dev.host()["host"]
        for command, answer in commands[at["dev"] + 1:at["leverd"]]:
            if "Welcome" in answer:
                served.write_text(served.read_text().replace("Hello, ", "Welcome, "))
                dev.await_version(2)
            # `curl` ends its answer without a line end.
            assert run(command, address).rstrip() == answer.rstrip(), command
    for command, answer in commands[at["leverd"] + 1:]:
        assert run(command, host.address).rstrip() == answer.splitlines()[-1], command
    assert json.loads(run("lever --json ls", host.address))[0]["service"] == "hello"
