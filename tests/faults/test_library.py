# interpreters: each
# weight: heavy
"""
Each system call of the libraries fails in a host program, in all ways of its own, one at a time: of its own interpreter
by each memory, of another process, of a core file, and of the crash tracker's installation. Either the host is told what it
is told without a failure, or an error, or the status of a stack says that it is not whole. No descriptor is left open, the
host goes on, and the process that was read lives on, untraced.
"""

import os
import re
import shutil
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", name) for name in ("core", "dump", "faults")]

import faults  # noqa: E402
from compile import compile_shared  # noqa: E402
from cores import gdb_core  # noqa: E402
from dumping import Subject, wait_until_reading  # noqa: E402
from test_dump import state_of  # noqa: E402

SUBJECT = os.path.join(SOURCE, "tests", "dump", "subject.py")
PROGRAM = os.path.join(SOURCE, "tests", "faults", "library.py")
LIBRARY = compile_shared("library", os.path.join(SOURCE, "tests", "faults", "library.c"),
                         os.path.join(SOURCE, "tests", "faults", "begin.c"), flags=["-I" + faults.HERE, faults.FILTER, "-lpyunwind-remote"], pyunwind=True)
FOLDER = os.path.join(os.getcwd(), "reports")


class Hosts(faults.Judged):
    def __init__(self, tally, what, function, *arguments, pid=None):
        self.tally, self.what, self.pid = tally, "library: " + what, pid
        self.command = [sys.executable, PROGRAM, LIBRARY, function, *arguments]
        self.reference = None

    def run(self, call=None, error=None):
        shutil.rmtree(FOLDER, ignore_errors=True)
        return faults.run(self.command, "mark", call, error)

    def judge(self, done):
        check = self.tally.check
        check(not done.late and done.left == 0 and done.code() == 0, self.what, "the host ends:", done.describe())
        # A number of which fstat(2) cannot tell whose it is by now is not closed: it may be the program's.
        may_leave = "crash" in self.what and ":newfstatat:" in done.fault
        check(done.output.startswith(b"descriptors 0\n") or may_leave, self.what, "descriptors are left:",
              done.describe())
        if self.pid is not None:
            for state, tracer in state_of(self.pid):
                check(state in "SR" and tracer == 0, self.what, "the process is", state, "traced by", tracer,
                      done.describe())
        got, wanted = [normalised(text) for text in (done.output, self.reference.output)]
        if got == wanted:
            return "the same"
        if without_names(got) == without_names(wanted) and got.count(" [") < wanted.count(" ["):
            return "a name is left out"  # as where it is empty (docs/text-format.md)
        if may_leave and got.splitlines()[1:] == wanted.splitlines()[1:]:
            return "a descriptor is left open"
        said = re.findall(r"(?m)^(\w+) (-\d+)", got)
        incomplete = re.findall(r"(?m)^(?:capture|current) \d+ (?!complete)(\w.*)", got)
        incomplete += re.findall(r":-1\b", got)
        incomplete += re.findall(r'  <\w[^>]*>|\?\?\?|:null|"status":"(?!complete)', got)
        native = re.findall(r"(?m)^native (?!0 \d+ 0 0)", got)
        check(said or incomplete or native, self.what, "tells something else:", got, "and not", wanted, done.describe())
        wanted_stacks = [line for line in wanted.splitlines() if line.startswith("capture 0 complete")]
        for line in got.splitlines():
            if line.startswith("capture 0 complete"):
                known = [re.sub(r":-?\d+", ":", stack) if ":-1" in line else stack for stack in wanted_stacks]
                line = re.sub(r":-?\d+", ":", line) if ":-1" in line else line  # one that is not known
                check(line in known, self.what, "a stack is", line, "and not among", wanted_stacks,
                      done.describe())
        return "an error" if said else "a status"

    def all(self):
        self.reference = self.run()
        names = faults.unknown_names(self.reference.calls)
        good = self.reference.code() == 0 and not re.search(rb"(?m)^\w+ -", self.reference.output)
        self.tally.check(good and not names, self.what, "without a failure:", names, self.reference.describe())
        calls = [call for call in self.reference.calls if call.process == 0]  # the sidecar's: test_crash.py
        self.each(calls)


def normalised(text):
    """Without what differs from run to run."""
    text = text.decode("utf-8", "backslashreplace")
    text = re.sub(r"message .*\n", "", text)
    return re.sub(r"0x[0-9a-f]+|\"(thread_id|native_id|pid)\":\d+", "NUMBER", text)


def without_names(text):
    """Without those of threads, which the kernel knows."""
    return re.sub(r"(?m)^((?:Current t|T)hread NUMBER) \[.*?\]", r"\1", text)


def body(tally):
    helper = faults.COMMAND
    for name, memory, guard in (("direct", 1, 0), ("trapped", 2, 0), ("guarded", 3, 0), ("guarded, readv", 3, 1),
                                ("guarded, /proc/self/mem", 3, 2), ("guarded, pipe", 3, 3)):
        Hosts(tally, name, "library_core", memory, guard).all()
    Hosts(tally, "writers", "library_write").all()
    Hosts(tally, "crash tracker", "library_crash", FOLDER, helper).all()
    with Subject("lock", "generator", command=[sys.executable, SUBJECT]) as subject:
        for name, pause, native in (("process", 0, 0), ("process, paused", 1, 0), ("process, native", 1, 1)):
            Hosts(tally, name, "library_remote", subject.pid, pause, native, pid=subject.pid).all()
        core, _whole = gdb_core(subject.pid, "subject.core")
        Hosts(tally, "core file", "library_core_file", core).all()
        wait_until_reading(subject.pid)
        tally.check(subject.process.poll() is None, "the process has ended")


if __name__ == "__main__":
    sys.exit(faults.test(body))
