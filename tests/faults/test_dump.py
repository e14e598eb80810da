# interpreters: each
# weight: heavy
"""
Each system call of `pyunwind dump` fails, in all ways of its own, one at a time. Either what is told is what is told
without a failure (a value may be null, which says that it is not known), or the exit status is 1 and standard error says
what was not to be had; nothing that is told is wrong. The process that is read lives on, untraced and unharmed.
"""

import json
import os
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", "dump"), os.path.join(SOURCE, "tests", "faults")]

import faults  # noqa: E402
from dumping import Subject, wait_until_reading  # noqa: E402
from same import different  # noqa: E402

SUBJECT = os.path.join(SOURCE, "tests", "dump", "subject.py")
WAYS = [["--json"], ["--json", "--pause"], ["--json", "--native"], ["--json", "--children"], ["--json", "--locals"],
        ["--json", "--output"], []]


def state_of(pid):
    """(state, tracer) of each thread."""
    told = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="utf-8", errors="replace") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        told.append((fields["State"][0], int(fields["TracerPid"])))
    return told


def wait_until_idle(pid):
    """Who was stopped goes on to where it waited."""
    while any(state != "S" for state, _tracer in state_of(pid)):
        os.sched_yield()


class Dumps(faults.Judged):
    def __init__(self, tally, way, pid):
        self.tally, self.way, self.pid = tally, way, pid
        self.what = "dump " + " ".join(way)
        self.reference = None

    def command(self):
        written = ["dump.out"] if "--output" in self.way else []
        return [faults.COMMAND, "dump"] + self.way + written + [self.pid]

    def run(self, call=None, error=None):
        if os.path.exists("dump.out"):
            os.unlink("dump.out")
        wait_until_idle(self.pid)
        done = faults.run(self.command(), "start", call, error)
        if "--output" in self.way and os.path.exists("dump.out"):
            with open("dump.out", "rb") as file:
                done.output += file.read()
        return done

    def judge(self, done):
        check = self.tally.check
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        part = done.fault.split(":")[2]
        code = done.code()
        for state, tracer in state_of(self.pid):
            check(state in "SR" and tracer == 0, self.what, "the process is", state, "traced by", tracer, done.describe())
        if code == 127 and part == "loader" or code is not None and code < 0 and part == "loader":
            return "not loaded"
        if not check(code in (0, 1), self.what, "exit status:", done.describe()):
            return "wrong"
        if code == 1:
            all_writes = done.fault.split(":")[3] == "write" and "+" in done.fault
            check(done.errors != b"" or all_writes, self.what, "says nothing:", done.describe())
            # The process is there, and a Python: who says otherwise has not looked at the error.
            is_end = done.fault.endswith(("ESRCH", "ENOENT"))
            check(is_end or not re.search(rb"no process|ended|[nN]ot? (a )?Python|no memory", done.errors), self.what,
                  "blames the process:", done.describe())
        problems = different(self.reference.output, done.output, "--json" in self.way, whole=code == 0)
        check(not problems, self.what, "tells something else: %s:" % problems[:5], done.describe())
        if code == 1:
            return "status 1 and a message"
        return "the same" if done.output == self.reference.output else "the same, or null"

    def all(self):
        self.reference = self.run()
        unknown = faults.unknown_names(self.reference.calls)
        self.tally.check(self.reference.code() == 0 and not unknown, self.what, "calls without a line in calls.py:",
                         unknown, self.reference.describe())
        self.each(self.reference.calls)
        if "--pause" in self.way:
            self.each_named(self.reference.calls, "openat", "ENOENT")
        if "--native" in self.way:
            self.each_named(self.reference.calls, "process_vm_readv", "EFAULT")


def body(tally):
    with Subject("lock", "generator", command=[sys.executable, SUBJECT]) as subject:
        for way in WAYS:
            Dumps(tally, way, subject.pid).all()
        wait_until_reading(subject.pid)
        tally.check(subject.process.poll() is None, "the process has ended")


if __name__ == "__main__":
    sys.exit(faults.test(body))
