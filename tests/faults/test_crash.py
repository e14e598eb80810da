# interpreters: each
# weight: heavy
"""
Each system call that is made when a program crashes fails, in all ways of its own, one at a time: those of the handler,
of the processes that it starts, and of the sidecar. The program dies as it would have died, within its time; it says
nothing; no process is left. There is a report, finished or not, which tells the signal; what it tells is right, and where
something is missing it says so.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))

import faults  # noqa: E402

PROGRAM = os.path.join(SOURCE, "tests", "faults", "crashing.py")
# What the handler was called with is no siginfo_t, says the kernel: as where it is called with the number alone.
NO_INFO = "0:%s:own:process_vm_readv:1 EFAULT" % os.path.basename(os.path.realpath(sys.executable))
FOLDER = os.path.join(os.getcwd(), "reports")


def environment():
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith("PYUNWIND_") or key in ("PYUNWIND_SOURCE", "PYUNWIND_BUILD")}
    return dict(kept, CRASHING_BEGIN=faults.BEGIN, CRASHING_REPORTS=FOLDER)


def frame_of(frame):
    if frame["kind"] == "python":
        return (frame["name"], frame["lineno"])
    return frame.get("function")


def essence(document):
    """What does not differ from run to run."""
    threads = []
    for thread in document["threads"]:
        frames = thread["frames"] + (thread["native_frames"] or [])
        threads.append({
            "crashed": thread["crashed"],
            "python": [frame_of(frame) for frame in frames if frame["kind"] == "python"],
            "native": [frame_of(frame) for frame in frames if frame["kind"] == "native"],
            "native_status": thread["native_status"],
        })
    return {
        "signal": document["signal"],
        "cause": document["diagnosis"]["cause"],
        "threads": sorted(threads, key=lambda thread: not thread["crashed"]),
    }


def is_same(told, wanted):
    """A native stack may say itself that it ends early; a name that is not known is null."""
    for thread, other in zip(told["threads"], wanted["threads"]):
        if thread["native_status"] in ("complete", other["native_status"]):
            native = [name and known for name, known in zip(thread["native"], other["native"])]
            if thread["native"] != native or len(native) != len(other["native"]):
                return False
    parts = [[(thread["crashed"], thread["python"]) for thread in one["threads"]] for one in (told, wanted)]
    return parts[0] == parts[1] and told["signal"] == wanted["signal"] and told["cause"] == wanted["cause"]


class Crashes(faults.Judged):
    what = "crash"

    def __init__(self, tally):
        self.tally = tally
        self.reference = None

    def run(self, call=None, error=None):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.mkdir(FOLDER, 0o700)
        return faults.run([sys.executable, PROGRAM], "mark", call, error, environment())

    def report(self):
        """(kind of the file, document, what was wrong)"""
        names = sorted(os.listdir(FOLDER))
        for kind in (".json", ".partial"):
            for name in names:
                if not name.endswith(kind) or name.startswith("."):
                    continue
                done = subprocess.run([faults.COMMAND, "report", "--json", os.path.join(FOLDER, name)],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                if done.stdout == b"":
                    return kind, None, done.stderr.decode(errors="replace")
                return kind, json.loads(done.stdout.decode("utf-8")), None
        return None, None, "there are only %s" % names

    def judge(self, done):
        check = self.tally.check
        check(not done.late and done.left == 0, "hangs or leaves a process:", done.describe())
        # Where the handler cannot be taken away, the fault would come for ever: it is ended at once.
        is_action = done.fault.startswith("0:") and ":rt_sigaction:" in done.fault
        ends = [-signal.SIGKILL, -signal.SIGSEGV] if is_action else [-signal.SIGSEGV]
        check(done.code() in ends, "dies otherwise:", done.describe())
        check(done.output == b"" and done.errors == b"", "says something:", done.describe())
        kind, document, problem = self.report()
        if document is None:
            check(False, "no report:", problem, done.describe())
            return "no report"
        told = essence(document)
        wanted = self.reference
        check(document["signal"] is not None and document["signal"]["number"] == signal.SIGSEGV, "signal:",
              document["signal"], done.describe())
        outcome = "%s, %s" % (kind, document["status"])
        if done.fault == NO_INFO:
            wanted = self.as_raised(told, done)
        if document["status"] == "complete":
            check(is_same(told, wanted), "complete, but it tells", told, "and not", wanted, done.describe())
            return outcome
        check(document["notes"], "partial without a note:", done.describe())
        self.check_part(told, wanted, document["notes"], done)
        return outcome

    def as_raised(self, told, done):
        """What is wanted where nothing is known but the number: the handler's own frames are not left out then."""
        wanted = dict(self.reference, signal=told["signal"], cause=told["cause"])
        crashed, other = told["threads"][0], wanted["threads"][0]
        self.tally.check(told["cause"] == "sent_signal" and told["signal"]["code_name"] == "SI_TKILL" and
                         crashed["native"][-len(other["native"]):] == other["native"], "is not taken for raised:", told,
                         done.describe())
        wanted["threads"] = [dict(other, native=crashed["native"])] + wanted["threads"][1:]
        return wanted

    def check_part(self, told, wanted, notes, done):
        """Of the thread that crashed and the other, what is there is right."""
        for thread in told["threads"]:
            same = [other for other in wanted["threads"] if other["crashed"] == thread["crashed"]]
            ends = [other["python"] for other in same]
            self.tally.check(any(thread["python"] in ([], end) for end in ends), "Python frames:", thread, "not", same,
                             notes, done.describe())
            self.tally.check(len(told["threads"]) <= len(wanted["threads"]), "more threads:", told, done.describe())

    def all(self):
        first = self.run()
        kind, document, problem = self.report()
        names = faults.unknown_names(first.calls)
        good = first.code() == -signal.SIGSEGV and kind == ".json" and document["status"] == "complete"
        if not self.tally.check(good and not names, "without a failure:", names, kind, problem, document, first.describe()):
            return
        self.reference = essence(document)
        self.each(first.calls)

    def row_of(self, call):
        return "crash: process %d, %s, %s" % (call.process, call.program, call.part)


def body(tally):
    Crashes(tally).all()


if __name__ == "__main__":
    sys.exit(faults.test(body))
