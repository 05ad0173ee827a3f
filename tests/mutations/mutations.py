#!/usr/bin/env python3
"""Takes one check out of the product at a time, and sees that the tests which are there for it fail.

    tests/mutations/mutations.py [--list] [--check NAME]... [MUTATION]...

The tree is copied to build/mutations (with what is not committed yet), and built there; what a run has built
serves the next. Each test first has to pass as the tree is, and then, for each mutation that names it, to
build, to fail, and to say the words that it says when it has found what it looks for: a test that fails for
another reason shows nothing. A mutation whose text is not in its file exactly once is an error. Ends with
`N passed, N failed`, one for each mutation and each of its tests.
"""
import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / 'build' / 'mutations'
# Of what is not in the repository, what the build and the tests need.
BORROWED = ('.deps', 'bindings/node/node_modules')
OUTPUT_LINES = 40  # of a test that did what it should not


@dataclasses.dataclass(frozen=True)
class Check:
    """A test: what to build, what to run (from the root of the copy), and with what besides."""
    targets: tuple
    command: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    timeout_s: float = 600


@dataclasses.dataclass(frozen=True)
class Mutation:
    """`text` in `file` becomes `replacement`. `fails`: by check, words of its failure."""
    file: str
    text: str
    replacement: str
    fails: dict


CHECKS = {
    'ownership': Check(
        targets=('service_ownership_test',),
        command=('build/release/tests/service/service_ownership_test',)),
    'simulation': Check(
        targets=('host_scale_ownership_simulation_test',),
        command=('build/release/tests/host/scale/host_scale_ownership_simulation_test',),
        environment={'LEVER_SIMULATION_SEEDS': '20'}),
    # Real processes that are stopped and killed.
    'faults': Check(
        targets=('leverd', 'lever-cli', 'lever-spawner', 'e2e_owned', 'e2e_callers'),
        command=('.deps/venv/bin/python', '-m', 'pytest', '-q', 'tests/e2e/test_ownership_faults.py',
                 '-k', 'two_owners')),
}

MUTATIONS = {
    # A request begins whatever the clock says by then.
    'dispatch': Mutation(
        file='liblever/service/ownership.cc',
        text='return view_->MayBegin(request.shard, request.generation, loop_->clock().NowNs());',
        replacement='return true;',
        fails={'ownership': 'ownership->MayBegin', 'simulation': 'a dispatch outside a valid grant'}),
    # The same on every thread: only the generation is looked at.
    'dispatch-clock': Mutation(
        file='liblever/service/grant_view.h',
        text='return granted_[shard].load() == generation && now_ns < end_ns_.load();',
        replacement='return granted_[shard].load() == generation;',
        fails={'faults': 'its grant had ended'}),
    # What a method returns is sent as a success whatever the clock says by then.
    'reply': Mutation(
        file='liblever/service/ownership.cc',
        text='return shards_->MayReply(request.shard, request.generation, loop_->clock().NowNs());',
        replacement='return true;',
        fails={'ownership': 'ownership->MayReply', 'simulation': 'a success outside a valid grant',
               'faults': 'its grant had ended'}),
}


def write(path, content, mode=None):
    """Writes what is not there yet: what stays the same is not built again."""
    if not path.is_symlink() and path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    if mode is not None:
        path.chmod(mode)


def copy_tree():
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT, check=True,
        capture_output=True).stdout.decode()
    wanted = [name for name in listed.split('\0') if name and name not in BORROWED]
    for name in wanted:
        source, target = ROOT / name, COPY / name
        if source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(os.readlink(source))
        elif source.is_file():
            write(target, source.read_bytes(), source.stat().st_mode)
    for name in BORROWED:
        source, target = ROOT / name, COPY / name
        if not source.exists() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve())


def run(command, environment=None, timeout_s=3600):
    """Whether it ended well, and what it wrote."""
    full = {**os.environ, 'CCACHE_BASEDIR': str(COPY), 'CCACHE_NOHASHDIR': '1', **(environment or {})}
    try:
        done = subprocess.run(command, cwd=COPY, env=full, timeout=timeout_s, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as late:
        return False, (late.stdout or b'').decode(errors='replace') + '\nit took too long\n'
    return done.returncode == 0, done.stdout.decode(errors='replace')


def must(command):
    well, output = run(command)
    if not well:
        sys.exit(f'{output}\n{" ".join(command)}: failed')


def build(checks):
    targets = sorted({target for name in checks for target in CHECKS[name].targets})
    must(['cmake', '--build', '--preset', 'release', '-j2', '--target', *targets])


def tail(output):
    return '\n'.join(output.splitlines()[-OUTPUT_LINES:])


def passes_unchanged(name):
    check = CHECKS[name]
    well, output = run(check.command, check.environment, check.timeout_s)
    if not well:
        print(f'{tail(output)}\n{name}: fails without a mutation, so that it can show nothing', flush=True)
    return well


def fails_with(name, mutation):
    check = CHECKS[name]
    words = MUTATIONS[mutation].fails[name]
    well, output = run(check.command, check.environment, check.timeout_s)
    if well:
        print(f'{tail(output)}\n{mutation}: {name} passes all the same', flush=True)
    elif words not in output:
        print(f'{tail(output)}\n{mutation}: {name} fails, and does not say {words!r}', flush=True)
    else:
        said = next(line for line in output.splitlines() if words in line)
        print(f'{mutation}: {name} fails, as it must: {said.strip()}', flush=True)
        return True
    return False


def mutate(mutation, checks):
    """How many of the checks fail as they must."""
    wanted = MUTATIONS[mutation]
    path = COPY / wanted.file
    original = path.read_text()
    if original.count(wanted.text) != 1:
        sys.exit(f'{mutation}: {wanted.file} has its text {original.count(wanted.text)} times, not once:\n'
                 f'{wanted.text}')
    write(path, original.replace(wanted.text, wanted.replacement).encode())
    try:
        build(checks)
        return sum(fails_with(name, mutation) for name in checks)
    finally:
        write(path, original.encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='what there is')
    parser.add_argument('--check', action='append', choices=CHECKS, help='only these tests (all)')
    parser.add_argument('mutation', nargs='*', help='only these (all)')
    arguments = parser.parse_args()
    unknown = set(arguments.mutation) - set(MUTATIONS)
    if unknown:
        parser.error(f'no mutation {", ".join(sorted(unknown))}; there are {", ".join(MUTATIONS)}')
    allowed = set(arguments.check or CHECKS)
    wanted = {name: [check for check in mutation.fails if check in allowed]
              for name, mutation in MUTATIONS.items()
              if not arguments.mutation or name in arguments.mutation}
    if arguments.list:
        for name, checks in wanted.items():
            print(f'{name} ({MUTATIONS[name].file}): {", ".join(checks)}')
        return 0
    wanted = {name: checks for name, checks in wanted.items() if checks}
    checks = sorted({check for checks in wanted.values() for check in checks})
    if not checks:
        parser.error('nothing to do')
    copy_tree()
    must(['cmake', '--preset', 'release'])
    build(checks)
    able = {check for check in checks if passes_unchanged(check)}
    passed = sum(mutate(name, [check for check in checks if check in able])
                 for name, checks in wanted.items())
    failed = sum(len(checks) for checks in wanted.values()) - passed
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
