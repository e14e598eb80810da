# interpreters: each
"""
A program of C that is built with `pkg-config pyunwind-remote` alone, shared and static, reads the stacks of another
process by pyunw_open_pid(), pyunw_threads_next() and pyunw_capture(): what that process says of itself.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program
from dumping import BUILD, Subject, check, finish


def flags_of_package(*more):
    environment = dict(os.environ, PKG_CONFIG_PATH=BUILD)
    command = ["pkg-config", "--cflags", "--libs", *more, "pyunwind-remote"]
    return subprocess.check_output(command, env=environment).decode().split()


def expected_lines(truth):
    lines = []
    for told in truth["threads"]:
        lines += ["%d\t%s\t%s\t%d" % (told["thread_id"], filename, name, lineno)
                  for filename, name, _, lineno in told["stack"]]
        lines.append("%d\tcomplete" % told["thread_id"])
    return lines


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.c"), encoding="utf-8") as file:
        source = file.read()
    archives = [os.path.join(BUILD, "lib%s.a" % name) for name in ("pyunwind-remote", "pyunwind")]
    headers = [flag for flag in flags_of_package() if flag.startswith("-I")]
    programs = {
        "shared": compile_program("client_shared", source, flags=flags_of_package()),
        "static": compile_program("client_static", source, flags=headers + archives + ["-lelf"]),
    }
    with Subject("lock", "deep", "generator", "method") as subject:
        expected = sorted(expected_lines(subject.truth))
        for kind, program in programs.items():
            done = subprocess.run([program, str(subject.pid)], stdout=subprocess.PIPE)
            lines = sorted(done.stdout.decode().splitlines())
            check(done.returncode == 0 and lines == expected, kind, "differs:", set(lines) ^ set(expected))
        done = subprocess.run([programs["shared"], str(2**31 - 1)], stdout=subprocess.PIPE)
        check(done.stdout == b"no such process: there is no process 2147483647\n", done.stdout)
    return finish("%d lines right, by the shared library and by the static one" % len(expected))


if __name__ == "__main__":
    sys.exit(main())
