"""The rules of the layout: what in a tree of Lever departs from them.

Each rule is a generator of findings, one line each, over the files that git knows. layout_test.py runs
them over this repository, and over small broken trees to see that each rule finds what it is for.
"""
import os
import re
import subprocess

import limits

# A folder of liblever/ includes only itself and what stands before it here.
FOLDERS = [
    'base', 'value', 'rpc', 'policy', 'route', 'client', 'service', 'capi',
    'host/registry', 'host/fleet', 'host/scale', 'host/deploy', 'host/gateway', 'host/admin',
    'host/capi',
]
CODE = ('.h', '.hpp', '.cc', '.cpp', '.c', '.js', '.cjs', '.mjs', '.ts', '.py', '.go', '.sh')
FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 100
FILE_BYTES_MAX = 1 << 20

# Put together here, so that this file does not hold what it looks for.
MARKERS = re.compile(r'\b(' + '|'.join(['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK']) + r')\b')
CPP_SKIPS = re.compile('GTEST_' + r'SKIP|\bDISABLED' + r'_\w')
PY_SKIPS = re.compile(r'pytest\.mark\.(skip|xfail)|unittest\.' + r'(skip|expectedFailure)|\.skip' + r'Test\(')
GO_SKIPS = re.compile(r'\bt\.' + r'Skip(f|Now)?\(')
JS_SKIPS = re.compile(r'\b(test|it|describe|t|suite)\.' + r'(skip|todo)\(|\bskip: ' + 'true')
SKIPS = {'.cc': CPP_SKIPS, '.cpp': CPP_SKIPS, '.h': CPP_SKIPS, '.py': PY_SKIPS, '.go': GO_SKIPS,
         '.js': JS_SKIPS, '.cjs': JS_SKIPS, '.mjs': JS_SKIPS, '.ts': JS_SKIPS}

BUILT = re.compile(r'(^|/)(build|node_modules|__pycache__|CMakeFiles|\.deps)/|'
                   r'\.(o|a|so|pyc|node|exe|class|pb\.cc|pb\.h|lvb|sqlite|db|log)$|\.so\.\d')


def tracked(root):
    listed = subprocess.run(['git', '-c', 'safe.directory=*', 'ls-files', '-z'], cwd=root,
                            capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split('\0') if path and os.path.isfile(os.path.join(root, path))]


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read()


def folder_of(path):
    """The folder of the list that a path below liblever/ is in, or None."""
    parts = path.split('/')
    for count in (2, 1):
        name = '/'.join(parts[:count])
        if name in FOLDERS and len(parts) > count:
            return name
    return None


def includes(root, files):
    for path in files:
        if not path.startswith('liblever/') or not path.endswith(('.h', '.cc')):
            continue
        mine = folder_of(path[len('liblever/'):])
        if mine is None:
            yield f'{path}: its folder is not in the list of folders'
            continue
        for included in re.findall(r'^\s*#\s*include\s*[<"]([^">]+)', read(root, path), re.M):
            if included.startswith(('tests/', 'daemon/', 'examples/', 'bindings/', 'bench/')):
                yield f'{path} includes {included}, which stands on top of the libraries'
            if included.startswith('../') or '/../' in included:
                yield f'{path} includes {included}: a path from the root is wanted'
            if not included.startswith('liblever/'):
                continue
            theirs = folder_of(included[len('liblever/'):])
            if theirs is None:
                if not included.startswith('liblever/proto/'):
                    yield f'{path} includes {included}: not a folder of the list'
            elif FOLDERS.index(theirs) > FOLDERS.index(mine):
                yield f'{path} includes {included}: {mine} stands before {theirs}'


def client_library_is_small(root, files):
    """Nothing of the host's dependencies is named in what other people's processes load."""
    heavy = re.compile(r'^\s*#\s*include\s*[<"](sqlite3|archive|archive_entry|google/|grpcpp?/|absl/|'
                       r're2/|sodium|spdlog/|CLI/|curl/|prometheus/)', re.M)
    for path in files:
        if path.startswith('liblever/') and not path.startswith(('liblever/host/', 'liblever/proto/')):
            for found in heavy.finditer(read(root, path)):
                yield f'{path} includes {found.group(1)}: that belongs to the host'


def sizes(root, files):
    for path in files:
        size = os.path.getsize(os.path.join(root, path))
        if size > FILE_BYTES_MAX:
            yield f'{path}: {size} bytes are committed'
        if path.endswith(CODE):
            lines = read(root, path).count('\n') + 1
            if lines > FILE_LINES_MAX:
                yield f'{path}: {lines} lines, more than one subject?'
        if path.endswith(('.cc', '.cpp', '.c')):
            for name, lines in functions(read(root, path)):
                if lines > FUNCTION_LINES_MAX:
                    yield f'{path}: {name} has {lines} lines'


def functions(text):
    """Names and lengths of the function bodies that begin in the first or third column."""
    lines = text.split('\n')
    at = 0
    while at < len(lines):
        head = re.match(r'^( {0,2})[A-Za-z_~][^;]*\)[^;]*\{\s*$', lines[at])
        if head is None or re.match(r'^\s*(namespace|extern|class|struct|enum|union|if|for|while|switch)\b',
                                    lines[at]):
            at += 1
            continue
        end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith(head.group(1) + '}')), at)
        yield lines[at].split('(')[0].split()[-1], end - at + 1
        at = end + 1


def leftovers(root, files):
    # Of the checkout itself: the folder round it may bear a name that is ordinary elsewhere.
    here = os.path.abspath(root).rstrip('/')
    for path in files:
        if not path.endswith(CODE + ('.md', '.txt', '.cmake', '.json', '.proto', '.in')):
            continue
        skips = SKIPS.get(os.path.splitext(path)[1])
        for number, line in enumerate(read(root, path).split('\n'), 1):
            if path.endswith(CODE) and MARKERS.search(line):
                yield f'{path}:{number}: a leftover marker'
            if skips is not None and skips.search(line):
                yield f'{path}:{number}: a test that is not run'
            if here.count('/') > 1 and here in line:
                yield f'{path}:{number}: a path of this machine'


def committed(root, files):
    for path in files:
        if BUILT.search(path):
            yield f'{path}: is built, and committed'
            continue
        with open(os.path.join(root, path), 'rb') as file:
            if b'\0' in file.read(8192):
                yield f'{path}: a binary file'


def guard_of(path):
    return re.sub(r'[^A-Za-z0-9]', '_', path.removeprefix('include/')).upper() + '_'


def header_guards(root, files):
    for path in files:
        if not path.endswith('.h') or not path.startswith(('liblever/', 'include/')):
            continue
        guard = guard_of(path)
        if f'#ifndef {guard}\n#define {guard}\n' not in read(root, path):
            yield f'{path}: its guard is not {guard}'


def status_list(root):
    """(name, number, gRPC, HTTP, exit code, text) of each code in include/lever/status.h."""
    rows = re.findall(r'X\((\w+), (\d+), (\d+), (\d+), (\d+), +"([^"]*)"\)',
                      read(root, 'include/lever/status.h'))
    return [(name, int(number), int(grpc), int(http), int(code), text)
            for name, number, grpc, http, code, text in rows]


def status_tables(root, files):
    """Where a page lists all codes in a table, it is the table of status.h."""
    codes = status_list(root)
    if len(codes) < 17:
        yield 'include/lever/status.h: the list of codes cannot be read'
    wanted = [f'| {number} | `{name}` | {grpc} | {http} | {code} | {text} |'
              for name, number, grpc, http, code, text in codes]
    tables = 0
    for path in files:
        if not path.endswith('.md'):
            continue
        rows = [line for line in read(root, path).split('\n')
                if re.match(r'\| \d+ \| `[A-Z_0-9]+` \|', line)]
        if not rows:
            continue
        tables += 1
        for row in rows:
            if row not in wanted:
                yield f'{path}: not as in include/lever/status.h: {row}'
        for row in wanted:
            if row not in rows:
                yield f'{path}: its table of codes lacks {row}'
    if tables == 0:
        yield 'docs: no page has the table of status codes'


def limits_page(root, files):
    """Where there are limits, docs/limits.md has them."""
    if limits.HEADERS[0] in files:
        yield from limits.findings(lambda path: read(root, path))


RULES = [includes, client_library_is_small, sizes, leftovers, committed, header_guards, status_tables,
         limits_page]


def findings(root):
    files = tracked(root)
    for rule in RULES:
        yield from rule(root, files)
