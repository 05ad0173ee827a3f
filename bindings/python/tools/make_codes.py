"""Prints lever/_codes.py, made from the one list of status codes, include/lever/status.h:

    python3 tools/make_codes.py > lever/_codes.py

A test compares the two.
"""

import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[3] / "include" / "lever" / "status.h"

text = HEADER.read_text()
table = text[text.index("#define LEVER_STATUS_MAP"):text.index("typedef enum")]
entries = re.findall(r'X\((\w+), (\d+), \d+, \d+, \d+, "([^"]*)"\)', table)

print('"""Made by tools/make_codes.py from include/lever/status.h. Not to be edited."""\n')
for name, number, _ in entries:
    print(f"{name} = {number}")
print("\n# By number.\nNAMES = {")
for name, number, _ in entries:
    print(f'    {number}: "{name}",')
print("}\nTEXTS = {")
for _, number, sentence in entries:
    print(f'    {number}: "{sentence}",')
print("}")
