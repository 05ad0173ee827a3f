#!/usr/bin/env python3
"""The layout's rules hold in this repository; and each rule finds what it is for."""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import layout  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))

STATUS = ''.join(f'  X(CODE{n}, {n}, {n}, 200, 0, "code {n}") \\\n' for n in range(17))
TABLE = ''.join(f'| {n} | `CODE{n}` | {n} | 200 | 0 | code {n} |\n' for n in range(17))


class Repository(unittest.TestCase):
    maxDiff = None

    def test_follows_the_rules(self):
        found = list(layout.findings(ROOT))
        self.assertEqual(found, [], '\n' + '\n'.join(found))


class Rules(unittest.TestCase):
    """A tree of a few files, broken in one way."""

    def found(self, files):
        everything = {'include/lever/status.h': '#ifndef LEVER_STATUS_H_\n#define LEVER_STATUS_H_\n' + STATUS,
                      'docs/wire.md': TABLE} | files
        with tempfile.TemporaryDirectory() as root:
            for path, text in everything.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)) or root, exist_ok=True)
                with open(os.path.join(root, path), 'wb') as file:
                    file.write(text if isinstance(text, bytes) else text.encode())
            for command in (['init', '-q'], ['add', '-A', '-f']):
                subprocess.run(['git', *command], cwd=root, check=True, capture_output=True)
            return list(layout.findings(root))

    def assert_found(self, files, text):
        found = self.found(files)
        self.assertTrue(any(text in line for line in found), f'{text!r} is not in {found}')

    def test_a_tree_that_keeps_them_has_no_findings(self):
        self.assertEqual(self.found({
            'liblever/rpc/a.cc': '#include "liblever/base/b.h"\n#include <vector>\n',
            'liblever/host/gateway/a.cc': '#include "liblever/host/fleet/b.h"\n',
        }), [])

    def test_a_folder_that_includes_one_below_is_found(self):
        self.assert_found({'liblever/base/a.cc': '#include "liblever/rpc/b.h"\n'},
                          'base stands before rpc')
        self.assert_found({'liblever/host/fleet/a.cc': '#include "liblever/host/gateway/b.h"\n'},
                          'host/fleet stands before host/gateway')
        self.assert_found({'liblever/service/a.cc': '#include "liblever/host/registry/b.h"\n'},
                          'service stands before host/registry')
        self.assert_found({'liblever/rpc/a.cc': '#include "tests/rpc/b.h"\n'}, 'on top of the libraries')
        self.assert_found({'liblever/elsewhere/a.cc': ''}, 'not in the list of folders')

    def test_a_dependency_of_the_host_in_the_client_library_is_found(self):
        self.assert_found({'liblever/client/a.cc': '#include <sqlite3.h>\n'}, 'belongs to the host')

    def test_what_has_grown_is_found(self):
        self.assert_found({'liblever/base/a.cc': 'int x;\n' * 701}, 'more than one subject')
        body = 'void Long() {\n' + '  x();\n' * 100 + '}\n'
        self.assert_found({'liblever/base/a.cc': body}, 'Long has 102 lines')
        self.assert_found({'a.bin': 'x' * (layout.FILE_BYTES_MAX + 1)}, 'bytes are committed')

    def test_leftovers_are_found(self):
        self.assert_found({'liblever/base/a.cc': '// TO' + 'DO: later\n'}, 'leftover marker')
        self.assert_found({'tests/a_test.cc': 'GTEST_' + 'SKIP();\n'}, 'not run')
        self.assert_found({'tests/a_test.cc': 'TEST(A, DISABLED' + '_b) {}\n'}, 'not run')
        self.assert_found({'tests/a.mjs': "test." + "skip('x')\n"}, 'not run')
        self.assert_found({'tests/a_test.py': "@unittest." + "skip('x')\n"}, 'not run')
        self.assert_found({'tests/a_test.go': "t." + "Skip()\n"}, 'not run')

    def test_built_and_binary_files_are_found(self):
        self.assert_found({'liblever/base/a.o': ''}, 'is built')
        self.assert_found({'build/release/x': ''}, 'is built')
        self.assert_found({'liblever/proto/a.pb.cc': ''}, 'is built')
        self.assert_found({'picture': b'\x89PNG\0\0'}, 'a binary file')

    def test_a_wrong_header_guard_is_found(self):
        self.assert_found({'liblever/base/a.h': '#ifndef A_H_\n#define A_H_\n#endif\n'}, 'its guard is not')

    def test_a_page_of_limits_that_is_wrong_is_found(self):
        files = {'liblever/rpc/limits.h': 'inline constexpr size_t kAMax = 4 * 1024;\n'
                                          'inline constexpr int64_t kBNs = 10 * kNanosPerSecond;\n',
                 'liblever/host/gateway/http_limits.h': 'inline constexpr int kCMax = rpc::kAMax / 2;\n',
                 'liblever/value/limits.h': '', 'liblever/rpc/counters.h': 'X(limit_a) X(opened)\n'}
        rows = ['| a | `kAMax` | 4 KiB | refused | `limit_a` |', '| b | `kBNs` | 10 s | closed | `opened` |',
                '| c | `kCMax` | 2 KiB | | |']
        guarded = {path: f'#ifndef {layout.guard_of(path)}\n#define {layout.guard_of(path)}\n{text}#endif\n'
                   for path, text in files.items()}

        def page(*changed):
            text = '\n'.join(rows)
            for old, new in changed:
                text = text.replace(old, new)
            return guarded | {'docs/limits.md': text}

        self.assertEqual(self.found(page()), [])
        self.assert_found(page(('4 KiB', '5 KiB')), 'kAMax is 4096, not 5 KiB')
        self.assert_found(page(('10 s', '10 ms')), 'kBNs is 10000000000')
        self.assert_found(page(('`kCMax`', '`kDMax`')), 'there is no constant kDMax')
        self.assert_found(page(('`kCMax`', '`kDMax`')), 'lacks kCMax')
        self.assert_found(page(('`opened`', '`closed`')), 'there is no counter closed')
        self.assert_found(page(('`limit_a`', '')), 'lacks the counter limit_a')

    def test_a_stale_table_of_codes_is_found(self):
        self.assert_found({'docs/wire.md': TABLE.replace('| 3 | `CODE3` | 3 | 200', '| 3 | `CODE3` | 3 | 404')},
                          'not as in include/lever/status.h')
        self.assert_found({'docs/wire.md': TABLE.replace('| 5 | `CODE5` | 5 | 200 | 0 | code 5 |\n', '')},
                          'lacks')
        self.assert_found({'docs/wire.md': 'nothing'}, 'no page has the table')


if __name__ == '__main__':
    unittest.main()
