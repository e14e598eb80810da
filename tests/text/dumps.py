"""
Two dumps of one moment: what this interpreter's faulthandler writes and what pyunwind writes, each with all of
pyunwind's memories. The calls stand on one line of one frame, so that the stacks they see are the same to the line.

Runs on CPython 3.8 to 3.15, also in a sub-interpreter.
"""

import faulthandler
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from standing_threads import own_tstate

MEMORIES = {
    "direct": pyunw.PYUNW_MEMORY_DIRECT,
    "trapped": pyunw.PYUNW_MEMORY_TRAPPED,
    "guarded": pyunw.PYUNW_MEMORY_GUARDED,
}

pyunw.check(pyunw.lib.pyunw_trap_install())
direct, trapped, guarded = (pyunw.open_self(memory) for memory in MEMORIES.values())
write_text = pyunw.lib_holding_gil.pyunw_write_text
write_text_threads = pyunw.lib_holding_gil.pyunw_write_text_threads
their_dump = faulthandler.dump_traceback


class Output:
    """A file that is written through its descriptor and read from its beginning."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()
        self.fd = self.file.fileno()

    def take(self):
        """All that was written since the last time."""
        data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        os.ftruncate(self.fd, 0)
        return data


class Dumps:
    """What was written of one moment; .theirs and .ours[memory] are bytes."""

    def __init__(self, results):
        assert results == (None, 0, 0, 0), results
        self.theirs = outputs[0].take()
        self.ours = {name: output.take() for name, output in zip(MEMORIES, outputs[1:])}
        assert self.theirs


outputs = [Output() for _ in range(1 + len(MEMORIES))]
fds = [output.fd for output in outputs]


def of_thread():
    """Dumps of the calling thread, with this function's frame innermost."""
    a, b, c, d = fds
    return Dumps((their_dump(a, False), write_text(direct, b, 0), write_text(trapped, c, 0), write_text(guarded, d, 0)))


def of_threads():
    """Dumps of all threads of the calling thread's interpreter."""
    a, b, c, d = fds
    w = write_text_threads
    i = own_tstate()
    return Dumps((their_dump(a, True), w(direct, b, 0, i, 0), w(trapped, c, 0, i, 0), w(guarded, d, 0, i, 0)))


class Comparison:
    """Counts the dumps that were compared, and keeps those that differ."""

    def __init__(self):
        self.count = 0
        self.wrong = []
        # Of what fails in a finalizer or a callback from C nobody else would hear.
        sys.unraisablehook = lambda lost: self.wrong.append("in %r: %r" % (lost.object, lost.exc_value))

    def equal(self, label, expected, found):
        self.count += 1
        if found != expected:
            self.wrong.append("%s:\n%s" % (label, first_difference(expected, found)))

    def dumps(self, label, dumps, expected=None):
        """Each of our dumps is theirs, or what is expected where they differ."""
        for memory, ours in dumps.ours.items():
            self.equal("%s, %s" % (label, memory), dumps.theirs if expected is None else expected, ours)

    def both(self, label):
        """Compare the dumps of this moment: the calling thread and all threads."""
        self.dumps(label + ", one thread", of_thread())
        self.dumps(label + ", all threads", of_threads())

    def finish(self, what):
        for wrong in self.wrong[:10]:
            print(wrong)
        print("%d dumps compared with %s, %d differ" % (self.count, what, len(self.wrong)))
        return 1 if self.wrong or self.count == 0 else 0


def first_difference(expected, found):
    """The lines around the first that differs, as text."""
    expected, found = expected.splitlines(True), found.splitlines(True)
    at = 0
    while at < len(expected) and at < len(found) and expected[at] == found[at]:
        at += 1
    lines = ["    lines %d and %d, equal up to line %d" % (len(expected), len(found), at)]
    lines += ["    expected %r" % line for line in expected[at : at + 3]] or ["    expected nothing"]
    lines += ["    found    %r" % line for line in found[at : at + 3]] or ["    found    nothing"]
    return "\n".join(lines)
