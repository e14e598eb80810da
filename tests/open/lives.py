"""
What the host program (host.c) runs in each life of its interpreter: captures at all sorts of moments, each compared
with sys._getframe() and sys.is_finalizing(). Prints one line a moment: "right", or what was found and expected.

Runs on CPython 3.8 to 3.15, and needs no extension module that is not built in.
"""

import atexit
import sys

import host

INNER = "import inner_life; inner_life.main()"


def frames_from(frame):
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return frames


# The arguments keep what the interpreter's finalization takes out of this module before the last calls.
def check(stage, capture=host.capture, getframe=sys._getframe, frames_from=frames_from, say=host.say,
          own=host.current_is_own, count=host.target_count, is_finalizing=host.is_finalizing,
          python_is_finalizing=sys.is_finalizing, range=range, len=len, repr=repr):
    for target in range(count()):
        captured, expected = capture(target), frames_from(getframe())
        if captured != (len(expected), "complete", expected):
            say("%s, target %d: WRONG: %s, expected %s" % (stage, target, repr(captured), repr(expected)))
        elif not own():
            say("%s, target %d: WRONG thread state" % (stage, target))
        elif is_finalizing(target) != python_is_finalizing():
            say("%s, target %d: WRONG, finalizing %d" % (stage, target, is_finalizing(target)))
        else:
            say("%s, target %d: right, %d frames" % (stage, target, len(expected)))


class Last:
    def __init__(self, stage):
        self.stage = stage

    def __del__(self, check=check):
        check(self.stage)


def generate():
    yield check("in a generator called from C")


def in_thread():
    check("in a thread of C")


def enter_interpreters():
    kinds = ["sharing the GIL"]
    if sys.version_info >= (3, 12):
        kinds.append("with its own GIL")
    for own_gil, kind in enumerate(kinds):
        found, expected = host.run_inside(INNER, own_gil), frames_from(sys._getframe())
        idle, captured, error, threads = found
        assert idle == "no frame", found
        assert captured == (len(expected), "complete", expected), (captured, expected)
        assert error == 0 and len(threads) == 2, found
        inner, outer = threads
        assert inner[0] > 0 and inner[1:3] == (0, 1), found  # of another interpreter, and the current one
        assert outer == (0, 1, 0, 1), found
        host.say("around an interpreter %s: right" % kind)


def main():
    # Which of the two goes first is the interpreter's own affair.
    sys.kept_by_sys = Last("while modules are torn down")
    global kept_by_module
    kept_by_module = Last("while modules are torn down")
    atexit.register(check, "at exit")
    sorted([1], key=lambda item: check("in a callback from C"))
    list(generate())
    host.say("a thread of C: " + ", ".join(host.call_in_thread(in_thread)))
    enter_interpreters()
