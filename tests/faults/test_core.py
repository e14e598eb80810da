# interpreters: each
"""
Each system call of `pyunwind core` fails, in all ways of its own, one at a time. Either what is told is what is told without
a failure (a value may be null), or the exit status is 1 and standard error says what was not to be had; nothing that is told
is wrong.
"""

import os
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", name) for name in ("core", "dump", "faults")]

import faults  # noqa: E402
from cores import gdb_core  # noqa: E402
from dumping import Subject  # noqa: E402
from same import different  # noqa: E402

SUBJECT = os.path.join(SOURCE, "tests", "dump", "subject.py")


class Cores(faults.Judged):
    def __init__(self, tally, core, options):
        self.tally, self.what, self.options = tally, "core " + " ".join(options), options
        self.command = [faults.COMMAND, "core", "--json"] + options + [core]
        self.reference = None

    def run(self, call=None, error=None):
        return faults.run(self.command, "start", call, error)

    def judge(self, done):
        check = self.tally.check
        part, code = done.fault.split(":")[2], done.code()
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        if part == "loader" and code is not None and (code == 127 or code < 0):
            return "not loaded"
        if not check(code in (0, 1), self.what, "exit status:", done.describe()):
            return "wrong"
        all_writes = done.fault.split(":")[3] == "write" and "+" in done.fault
        check(code == self.reference.code() or done.errors != b"" or all_writes, self.what, "says nothing:",
              done.describe())
        problems = different(self.reference.output, done.output, True, whole=code == 0)
        check(not problems, self.what, "tells something else: %s:" % problems[:5], done.describe())
        if code == 1:
            return "status 1 and a message"
        return "the same" if done.output == self.reference.output else "the same, or null"

    def each_reading(self, calls):
        """A disk that fails is told, also where no more is known than that something is null."""
        told = 0
        for call in [call for call in calls if call.name == "pread64" and call.part == "own"][::8]:
            done = self.run(call, "EIO")
            self.tally.add(self.what, done, self.judge(done))
            says = done.code() == 1 and re.search(b"cannot be read|could not be read everywhere", done.errors)
            self.tally.check(says or done.output == self.reference.output, self.what, "does not tell of a failure:",
                             done.describe())
            told += bool(says)
        self.tally.check(told > 16, self.what, "tells of %d failures" % told)

    def all(self):
        self.reference = self.run()
        unknown = faults.unknown_names(self.reference.calls)
        self.tally.check(self.reference.code() in (0, 1) and self.reference.output.endswith(b"}\n") and not unknown,
                         self.what, "without a failure:", unknown, self.reference.describe())
        self.each(self.reference.calls)
        if not self.options:
            self.each_reading(self.reference.calls)


def body(tally):
    with Subject("lock", "generator", command=[sys.executable, SUBJECT]) as subject:
        core, _whole = gdb_core(subject.pid, "subject.core")
    for options in ([], ["--native"], ["--locals"]):
        Cores(tally, core, options).all()


if __name__ == "__main__":
    sys.exit(faults.test(body))
