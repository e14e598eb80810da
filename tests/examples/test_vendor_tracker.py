# interpreters: each
"""examples/vendor_tracker.c tells its collector the stack that the program itself printed just before it crashed.

It is also to be as short as it says: a vendor's whole tracker in under 100 lines.
"""

import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import preloading  # noqa: E402

FOLDER = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(FOLDER, "vendor_crash.py")
EXAMPLE = os.path.join(os.environ["PYUNWIND_SOURCE"], "examples", "vendor_tracker.c")
LIBRARY = os.path.join(os.environ["PYUNWIND_BUILD"], "examples", "libvendor_tracker.so")
HAS_QUALIFIED_NAMES = sys.version_info >= (3, 11)


def run(collected):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment.update(LD_PRELOAD=preloading(LIBRARY), TRACKER_FD=str(collected.fileno()), PYTHONIOENCODING="utf-8")
    return subprocess.run(
        [sys.executable, "-s", PROGRAM],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=[collected.fileno()],
    )


def lines_of_source():
    with open(PROGRAM, encoding="utf-8") as file:
        return file.read().splitlines()


def main():
    with open(EXAMPLE, encoding="utf-8") as file:
        count = len(file.readlines())
    assert count < 100, "%s has %d lines" % (EXAMPLE, count)
    with tempfile.TemporaryFile() as collected:
        done = run(collected)
        collected.seek(0)
        told = [line.split("\t") for line in collected.read().decode("utf-8").splitlines()]
    printed = [line.split("\t") for line in done.stdout.decode("utf-8").splitlines()]
    assert done.returncode == -signal.SIGSEGV, "the program ended with %d" % done.returncode
    names = [[file, function.rpartition(".")[2] if HAS_QUALIFIED_NAMES else function] for function, file, _, _ in told]
    assert names == printed, "told %s\nprinted %s" % (told, printed)
    source = lines_of_source()
    called = ["strlen", "self.read(depth - 1)", "self.read(depth - 1)", "self.read(depth - 1)", "Reader().read(3)",
              "générateur():"]
    for (function, _, line, column), part in zip(told, called):
        assert part in source[int(line) - 1], "%s is told to be at line %s" % (function, line)
        assert HAS_QUALIFIED_NAMES == (int(column) >= 0), "%s has column %s" % (function, column)
    if HAS_QUALIFIED_NAMES:
        assert told[0][0] == "Reader.read", told[0]
    print("%d frames told as printed, by a tracker of %d lines" % (len(told), count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
