# interpreters: host
"""
Two tests that compile the same at once: the file that was there first stays. A process that had preloaded it and then
opened it by its path got a second copy of it otherwise, with state of its own.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import compile as compiling

TEXT = "/* %d */\nint answer(void)\n{\n    return 42;\n}\n" % os.getpid()


def main():
    run, identities = compiling._run, []

    def run_while_another_compiles(command):
        compiling._run = run
        path = compiling.compile_shared("answer", TEXT)
        identities.append(os.stat(path).st_ino)
        run(command)

    compiling._run = run_while_another_compiles
    path = compiling.compile_shared("answer", TEXT)
    assert identities == [os.stat(path).st_ino], "the first file was replaced"
    assert ctypes.CDLL(path).answer() == 42
    assert os.listdir(os.path.dirname(path)) == ["answer.so"], "a temporary file was left"
    print("the first of two files that were compiled at once stays")
    return 0


if __name__ == "__main__":
    sys.exit(main())
