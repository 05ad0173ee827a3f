#!/usr/bin/env python3
"""Runs the fuzz targets, and keeps their corpus.

  fuzz.py run [--seconds N] [TARGET...]    fuzzes each target, from what is committed on
  fuzz.py merge [TARGET...]                commits to corpus/ what was found since and covers more
  fuzz.py input TARGET FILE                FILE as a line for corpus/TARGET.hex, to keep a finding

Targets are those of the preset `fuzz`, built in build/fuzz. What a run finds on its way stays in
build/fuzz/corpus/TARGET, and what breaks a target in build/fuzz/findings/TARGET.
"""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.sax.saxutils

import seeds

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, 'build', 'fuzz')
# Longest input of a target: what is larger is slow, and seldom shows more.
LENGTHS = {'address': 2048, 'envelope': 4096, 'value': 2048, 'frames': 4096, 'headers': 8192,
           'http1': 4096, 'gzip': 4096}
TARGETS = sorted(name[:-len('_fuzz.cc')] for name in os.listdir(HERE) if name.endswith('_fuzz.cc'))
# What of a corpus is committed: the smallest inputs that cover all that is covered, up to here.
CORPUS_BYTES_MAX = 50_000
RSS_MIB_MAX = 1024
INPUT_SECONDS_MAX = 10


def program(target):
    return os.path.join(BUILD, 'tests', 'fuzz', f'fuzz_{target}')


def corpus_file(target):
    return os.path.join(HERE, 'corpus', f'{target}.hex')


def read_corpus(target):
    """The inputs of a target that are committed, and the lines that say something of them."""
    inputs, notes = [], []
    if os.path.exists(corpus_file(target)):
        with open(corpus_file(target), encoding='ascii') as file:
            for line in file.read().splitlines():
                if line.startswith('#'):
                    notes.append(line)
                else:
                    inputs.append(bytes.fromhex(line))
    return inputs, notes


def write_inputs(inputs, folder):
    os.makedirs(folder, exist_ok=True)
    for number, data in enumerate(inputs):
        with open(os.path.join(folder, f'committed-{number:04}'), 'wb') as file:
            file.write(data)


def prepare(target):
    """The folders of a run: (what it finds, what was there before)."""
    grown = os.path.join(BUILD, 'corpus', target)
    given = os.path.join(BUILD, 'corpus', f'{target}.given')
    os.makedirs(grown, exist_ok=True)
    write_inputs(read_corpus(target)[0] + seeds.of(target), given)
    return grown, given


def options(target):
    # Connections, services and pools outlive an input of http1, so that libFuzzer would look for leaks after
    # most of them; the replay of its corpus in the preset asan looks once.
    more = ['-detect_leaks=0', '-entropic=0'] if target == 'http1' else []
    return more + [f'-max_len={LENGTHS.get(target, 4096)}', f'-rss_limit_mb={RSS_MIB_MAX}',
            f'-timeout={INPUT_SECONDS_MAX}']


def run(target, seconds):
    """Fuzzes for so long. (what is to be said in one line, whether something was found)"""
    grown, given = prepare(target)
    findings = os.path.join(BUILD, 'findings', target)
    os.makedirs(findings, exist_ok=True)
    log_name = os.path.join(BUILD, f'{target}.log')
    command = [program(target), grown, given, f'-max_total_time={seconds}', '-print_final_stats=1',
               f'-artifact_prefix={findings}/', *options(target)]
    began = time.time()
    with open(log_name, 'wb') as log:
        code = subprocess.run(command, stdout=log, stderr=log, cwd=ROOT,
                              timeout=seconds + 600).returncode
    with open(log_name, encoding='utf-8', errors='replace') as file:
        log = file.read()
    covered = re.findall(r'cov: (\d+)', log)
    runs = re.findall(r'stat::number_of_executed_units: (\d+)', log) or re.findall(r'#(\d+)', log)
    said = (f'{target}: {runs[-1] if runs else 0} inputs in {time.time() - began:.0f} s, '
            f'{covered[-1] if covered else 0} edges covered')
    if code == 0:
        return said + ', nothing found', False
    written = re.findall(r'Test unit written to (\S+)', log)
    for name in written:
        said += f'\n  found: {program(target)} {name}'
    return said + f'\n  what happened is in {log_name}', True


def merge(target):
    grown, given = prepare(target)
    small = os.path.join(BUILD, 'corpus', f'{target}.small')
    subprocess.run(['rm', '-rf', small], check=True)
    os.makedirs(small)
    subprocess.run([program(target), '-merge=1', small, given, grown, *options(target)],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    inputs = []
    for name in os.listdir(small):
        with open(os.path.join(small, name), 'rb') as file:
            inputs.append(file.read())
    inputs.sort(key=lambda data: (len(data), data))
    # An empty line is an input, too; libFuzzer begins with it anyway.
    inputs = [data for data in inputs if data]
    kept, total = [], 0
    for data in inputs:
        total += len(data)
        if total > CORPUS_BYTES_MAX:
            break
        kept.append(data)
    noted = regressions(target)
    with open(corpus_file(target), 'w', encoding='ascii') as file:
        for data in kept:
            file.write(data.hex() + '\n')
        for line in noted:
            file.write(line + '\n')
    print(f'{target}: {len(kept)} of {len(inputs)} inputs kept')


def regressions(target):
    """The end of a corpus: from its first note on, inputs that once broke the target, each after a note."""
    if not os.path.exists(corpus_file(target)):
        return []
    with open(corpus_file(target), encoding='ascii') as file:
        lines = file.read().splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith('#')), len(lines))
    return lines[first:]


def write_report(path, results):
    with open(path, 'w', encoding='utf-8') as file:
        file.write('<testsuite>\n')
        for target, said, found in results:
            file.write(f'<testcase name="fuzz_{target}">')
            if found:
                file.write(f'<failure>{xml.sax.saxutils.escape(said)}</failure>')
            file.write('</testcase>\n')
        file.write('</testsuite>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    running = commands.add_parser('run')
    running.add_argument('--seconds', type=int, default=int(os.environ.get('LEVER_FUZZ_SECONDS', 120)))
    running.add_argument('--report', help='a report in JUnit\'s format')
    merging = commands.add_parser('merge')
    for command in (running, merging):
        command.add_argument('targets', nargs='*', metavar='TARGET')
    keeping = commands.add_parser('input')
    keeping.add_argument('target', choices=TARGETS)
    keeping.add_argument('file')
    arguments = parser.parse_args()
    if arguments.command == 'input':
        with open(arguments.file, 'rb') as file:
            print(file.read().hex())
        return 0
    targets = arguments.targets or TARGETS
    for target in targets:
        if target not in TARGETS:
            parser.error(f'{target} is none of the targets: {" ".join(TARGETS)}')
    if arguments.command == 'merge':
        for target in targets:
            merge(target)
        return 0
    results = []
    for target in targets:
        said, found = run(target, arguments.seconds)
        print(said, flush=True)
        results.append((target, said, found))
    if arguments.report:
        write_report(arguments.report, results)
    return 1 if any(found for _, _, found in results) else 0


if __name__ == '__main__':
    sys.exit(main())
