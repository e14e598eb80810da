# interpreters: host
"""
A program's own handling of its faults and signals (handlers.c) is the same with pyunwind's fault handler in front of
it, and after that was removed, as without pyunwind: what its handlers are told (signal, code, address, program
counter, masks), what becomes of SA_RESETHAND, SA_NODEFER and SA_RESTART, how it recovers, and how it dies. The oracle
is the same program without pyunwind, under the same kernel.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program

# So the program must end without pyunwind, or the comparison would say nothing.
ENDINGS = {"default": -11, "ignored": -11, "bus_default": -7, "blocked": -11, "resethand": -11, "kill_default": -11,
           "kill_ignored": -11, "stack_overflow": 3, "kill_bus_default": -7, "nested_deferred": -11, "info": 0,
           "reset_and_return": -11, "kill": 0, "threads_jump": 0, "threads_skip": 0, "given_back": 0}


def run(program, case, mode):
    done = subprocess.run([program, case, mode], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="replace")


def main():
    program = compile_program("handlers", "handlers.c", pyunwind=True)
    cases = subprocess.check_output([program]).decode().split()
    assert set(ENDINGS) <= set(cases)
    failed = []
    for case in cases:
        wanted = run(program, case, "without")
        assert wanted[0] == ENDINGS.get(case, wanted[0]), "%s without pyunwind: %r" % (case, wanted)
        assert wanted[0] in (0, 3) or wanted[0] < 0, "%s without pyunwind: %r" % (case, wanted)
        for mode in ("with", "removed"):
            found = run(program, case, mode)
            if found != wanted:
                failed.append("%s (%s)" % (case, mode))
                print("%s, %s: exit status %d\n%s  without pyunwind: exit status %d\n%s"
                      % ((case, mode) + found + wanted))
    if failed:
        print("different: " + ", ".join(failed))
        return 1
    print("%d ways to fault and to be sent signals, the same with pyunwind's handler as without" % len(cases))
    return 0


if __name__ == "__main__":
    sys.exit(main())
