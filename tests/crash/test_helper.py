# interpreters: each
"""
A helper that hangs, is stopped, is killed or is not there, and faults of the handler itself in each of its stages: the
process dies as it would have died, and what was written until then can be read.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import COMMAND, Corpus, Crash  # noqa: E402

PROGRAM = """\
from program import *
install(%s)

def crash():
    %sheld.null_read()  # HERE

crash()
"""

HELPERS = {
    "hangs": "exec sleep 1000",
    "is stopped": "kill -STOP $$",
    "is killed": "kill -KILL $$",
    "fails": "exit 3",
    "is refused all": "exit 10",
    "says nothing": "exit 0",
}

# What a stage that faults costs (enum stage in src/crash/report.c): the kind of report, its status
STAGES = [
    ("journal", "report", None),
    ("fault", "report", "complete"),
    ("stack", "report", "complete"),
    ("sidecar", "unfinished", "partial"),
    ("copy", "report", "complete"),
    ("finish", "report", "complete"),
]


def make_helper(name, words):
    path = os.path.join(os.getcwd(), "helper-" + name.replace(" ", "-"))
    with open(path, "w") as file:
        file.write("#!/bin/sh\n%s\n" % words)
    os.chmod(path, 0o700)
    return path


def copy_command():
    """In the same folder, for the libraries that it needs."""
    path = "%s-test-%d" % (COMMAND, os.getpid())
    shutil.copy(COMMAND, path)
    return path


def has_evidence_of_the_fault(corpus, outcome, document):
    if document is not None:
        corpus.check(document["signal"] is not None and document["signal"]["address"] == "0x0",
                     "the first record is not whole:", document["signal"])
        # The fault is told anew without them where they might have been what cannot be read.
        without = corpus.case.name == "fault in stage fault"
        corpus.check((document["registers"] is None) == without, "the registers are", document["registers"])


def hook_that_hangs():
    """The real helper, whose hook hangs: it is over when the time is."""
    return Crash("hook hangs", PROGRAM % ("time_limit=3000, hook='exec sleep 1000'", ""), function="null_read")


def main():
    corpus = Corpus()
    for name, words in HELPERS.items():
        limit = "time_limit=700, " if "hangs" in name or "stopped" in name else ""
        corpus.test(Crash("helper " + name, PROGRAM % ("%shelper=%r" % (limit, make_helper(name, words)), ""),
                          kind="unfinished", status="partial", check=has_evidence_of_the_fault))
    # The command is held open: a file that is removed can still be executed, a script's interpreter cannot read it.
    for name, kind, status in (("command", "report", "complete"), ("script", "unfinished", "partial")):
        helper = make_helper(name, "exec %s \"$@\"" % COMMAND) if name == "script" else copy_command()
        corpus.test(Crash("helper removed, a " + name,
                          PROGRAM % ("helper=%r" % helper, "is_tracked and os.unlink(%r); " % helper),
                          kind=kind, status=status, check=has_evidence_of_the_fault))
    corpus.test(hook_that_hangs())
    for number, (stage, kind, status) in enumerate(STAGES):
        causes = ("unknown",) if stage == "fault" else ("null_read",)  # the registers tell a read from a write
        corpus.test(Crash("fault in stage %s" % stage, PROGRAM % ("", ""), causes, kind=kind, status=status,
                          environment={"PYUNWIND_TEST_FAULT_IN_STAGE": str(number)},
                          check=has_evidence_of_the_fault))
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
