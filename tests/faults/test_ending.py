# interpreters: each
# weight: heavy
"""
Who is read is killed before each of the calls of who reads it, one at a time: a process before the calls of `pyunwind dump`
(its parent waits for it, or does not), one that crashes before those of the helper that reports it, a program before those
of `pyunwind run`. Nothing hangs, no process is left, and what is told of it was so.
"""

import json
import os
import re
import signal
import sys
import threading

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", name) for name in ("dump", "faults")]

import faults  # noqa: E402
from dumping import Subject  # noqa: E402
from test_crash import Crashes, essence, is_same  # noqa: E402
from test_dump import SUBJECT, Dumps  # noqa: E402
from test_run import WAYS, Runs  # noqa: E402


def stacks_of(output):
    """(status, unconfirmed, frames) of each thread."""
    told = []
    for process in json.loads(output.decode("utf-8"))["processes"]:
        for thread in process["threads"]:
            frames = [(frame["name"], frame["lineno"]) for frame in thread["frames"] if frame["kind"] == "python"]
            told.append((thread["status"], thread["unconfirmed"], frames))
    return told


def is_part(frames, whole):
    """What is there of a line may be unknown."""
    for at in range(len(whole) - len(frames) + 1):
        pairs = zip(frames, whole[at:])
        if all(part in (None, known) for frame, other in pairs for part, known in zip(frame, other)):
            return True
    return False


class EndingDumps(Dumps):
    """how: dies, gone."""

    def __init__(self, tally, way, how):
        super().__init__(tally, way, None)
        self.how, self.what = how, "%s, %s" % (self.what, how)

    def run(self, call=None, error=None):
        with Subject("lock", "generator", command=[sys.executable, SUBJECT]) as subject:
            self.pid = subject.pid
            waits = threading.Thread(target=subject.process.wait)
            if self.how == "gone":
                waits.start()
            error = error and "%s/%d" % (error, subject.pid)
            try:
                return faults.run(self.command(), "start", call, error)
            finally:
                subject.process.stdin.close()  # by which it ends
                if self.how == "gone":
                    waits.join()

    def judge(self, done):
        check, code = self.tally.check, done.code()
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        if not check(code in (0, 1), self.what, "exit status:", done.describe()):
            return "wrong"
        check(done.killed, self.what, "was not killed:", done.describe())
        check(code == 0 or re.search(rb"ended|ending|no process", done.errors), self.what, "does not say that it has ended:",
              done.describe())
        stacks = stacks_of(done.output) if done.output else []
        for status, unconfirmed, frames in stacks:
            ends_early = status != "complete" or unconfirmed
            good = any(frames == known or (ends_early and is_part(frames, known)) for _, _, known in self.reference)
            check(good, self.what, "tells", status, frames, "and not", self.reference, done.describe())
        check(code == 1 or len(stacks) == len(self.reference), self.what, "tells less, and says nothing:", stacks,
              done.describe())
        return "status %d, %s" % (code, "stacks" if stacks else "no stacks")

    def all(self):
        first = self.run()
        self.tally.check(first.code() == 0, self.what, "without a failure:", first.describe())
        self.reference = stacks_of(first.output)
        self.each_of(faults.endings(first.calls, self.how))


class EndingCrashes(Crashes):
    what = "crash, dies"

    def judge(self, done):
        check = self.tally.check
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        check(done.code() in (-signal.SIGSEGV, -signal.SIGKILL), self.what, "ends otherwise:", done.describe())
        check(done.output == b"" and done.errors == b"", self.what, "says something:", done.describe())
        kind, document, problem = self.report()
        late = "" if done.killed else ", too late to be killed"
        if not check(document is not None, self.what, "no report:", problem, done.describe()):
            return "no report"
        check(document["signal"] is not None and document["signal"]["number"] == signal.SIGSEGV, self.what, "signal:",
              document["signal"], done.describe())
        told = essence(document)
        if document["status"] == "complete":
            check(is_same(told, self.reference), self.what, "complete, but it tells", told, "and not", self.reference,
                  done.describe())
        else:
            check(document["notes"], self.what, "partial without a note:", done.describe())
            self.check_part(told, self.reference, document["notes"], done)
        return "%s, %s%s" % (kind, document["status"], late)

    def check_part(self, told, wanted, notes, done):
        """A stack that is not whole may begin later or end earlier."""
        for thread in told["threads"]:
            known = [other["python"] for other in wanted["threads"] if other["crashed"] == thread["crashed"]]
            self.tally.check(any(is_part(thread["python"], whole) for whole in known), self.what, "tells", thread,
                             "and not", known, notes, done.describe())

    def each(self, calls):
        self.each_of(faults.endings([call for call in calls if call.process > 0], "dies#0"))

    def row_of(self, call):
        return self.what


class EndingRuns(Runs):
    """Of the program that is run, as soon as it has made a call; its own calls are not ours."""

    def judge(self, done):
        check, code = self.tally.check, done.code()
        check(not done.late and done.left == 0, self.what, "hangs or leaves a process:", done.describe())
        if not done.killed:
            return super().judge(done) + ", too early or too late to be killed"
        if not check(code in (self.ends, -signal.SIGKILL), self.what, "ends otherwise:", done.describe()):
            return "wrong"
        found = self.reports()
        check(len(found) == (code == -signal.SIGKILL), self.what, "status %s and %d reports:" % (code, len(found)),
              done.describe())
        for document in found:
            check(document["signal"] is not None and document["signal"]["number"] == signal.SIGKILL, self.what,
                  "the report tells", document, done.describe())
        return "status %s, %s" % (code, found[0]["status"] + " report" if found else "no report")

    def each(self, calls):
        self.what += ", dies"
        program = os.path.basename(os.path.realpath(sys.executable))
        self.each_of(faults.endings([call for call in calls if call.process == 0], "dies@" + program))


def body(tally):
    for way in (["--json"], ["--json", "--pause"], ["--json", "--native"]):
        for how in ("dies", "gone"):
            EndingDumps(tally, way, how).all()
    EndingCrashes(tally).all()
    for way in WAYS:
        EndingRuns(tally, *way).all()
    outcomes = [outcome for what, outcomes in tally.rows.items() if not what.startswith("dump") for outcome in outcomes]
    tally.check(any("to be killed" not in outcome for outcome in outcomes), "nobody was killed")


if __name__ == "__main__":
    sys.exit(faults.test(body))
