"""The quick start of a package's README, taken out of it and run.

Of the section «Quick start»: each fenced block whose first line is a comment with the name of a file is that
file; the block marked `sh` is run, line by line in one shell; the block marked `text` is what that must print
at its end.
"""
import pathlib
import re
import textwrap

SECTION = re.compile(r"^## Quick start\n(.*?)(?=^## |\Z)", re.M | re.S)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
FILE = re.compile(r"^(?://|#) ([\w./-]+\.\w+)\n")


class QuickStart:
    def __init__(self, readme):
        section = SECTION.search(pathlib.Path(readme).read_text())
        assert section, f"{readme} has no quick start"
        self.files, self.script, self.output = {}, None, None
        for language, content in BLOCK.findall(section.group(1)):
            content = textwrap.dedent(content)
            named = FILE.match(content)
            if language == "sh":
                self.script = content
            elif language == "text":
                self.output = content
            elif named:
                self.files[named.group(1)] = content
            else:
                raise AssertionError(f"{readme}: a block of {language} names no file")
        assert self.files and self.script and self.output, f"{readme}: the quick start is not whole"

    def write(self, folder):
        for name, content in self.files.items():
            (folder / name).write_text(content)
