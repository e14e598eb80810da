# interpreters: each
"""
pyunw_write_text() and pyunw_write_text_threads() against this interpreter's own faulthandler, byte for byte, wherever
that prints a whole stack: every construct of the language, names of every kind, threads, sub-interpreters, threads
without frames, garbage collection, signal handlers, threads of C.
"""

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import sysconfig

import constructs
import dumps
from dumps import Comparison
from standing_threads import StandingThreads, make_interpreter, own_tstate, set_kernel_name

import pyunw
from compile import compile_shared

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
HERE = os.path.dirname(os.path.abspath(__file__))
SIGNAL = signal.SIGUSR2

SIGNALS = compile_shared("text_signals", "signals.c", pyunwind=True)
holding_gil = ctypes.PyDLL(SIGNALS)
releasing_gil = ctypes.CDLL(SIGNALS)

comparison = Comparison()


def compare_constructs():
    for construct in constructs.CONSTRUCTS:
        before = comparison.count

        def check(*_):
            comparison.both(construct.__name__)
            return 0

        construct(check)
        assert comparison.count > before, "%s never came to its check" % construct.__name__


def descend(depth, action):
    return descend(depth - 1, action) if depth > 0 else action()


def compare_depths():
    """Up to the 100 frames that CPython prints."""

    def look():
        one, every = dumps.of_thread(), dumps.of_threads()
        comparison.dumps("deep, one thread", one)
        comparison.dumps("deep, all threads", every)
        return {one.theirs.count(b"  File "), every.theirs.count(b"  File ")}

    (least,) = descend(0, look)
    for frames in (least + 1, 50, 99, 100):
        assert descend(frames - least, look) == {frames}


# ---- Threads --------------------------------------------------------------------------------------------------------

# Bytes of any kind but NUL, 15 at the most.
KERNEL_NAMES = [b"plain", b"", b"\xff\xfe", b"[brackets]", b"exactly 15 long", b"line\nbreak\n", b"\x01\\"]
KERNEL_NAMES.append("h\xe9t\xe9\u03b1".encode())


def compare_threads():
    set_kernel_name(b"main \xe9")
    for count in (0, 1, 5, 90):
        with StandingThreads(count, KERNEL_NAMES):
            comparison.both("%d threads" % (count + 1))
            compare_others_one_by_one("%d threads" % (count + 1))
    set_kernel_name(b"python")


def compare_others_one_by_one(label):
    """A thread's own dump is its part of the dump of all, under another header."""
    own = own_tstate()
    stacks = {}
    for part in dumps.of_threads().theirs.split(b"\n\n"):
        header, _, stack = part.partition(b" (most recent call first):\n")
        stacks[int(header.split(b"0x")[1][:16], 16)] = stack.rstrip(b"\n")
    for thread in pyunw.threads(dumps.guarded):
        if thread.tstate == own:
            continue
        assert dumps.write_text(dumps.guarded, dumps.fds[1], thread.tstate) == 0
        expected = b"Stack (most recent call first):\n" + stacks.pop(thread.thread_id) + b"\n"
        comparison.equal(label + ", another thread", expected, dumps.outputs[1].take())
    assert len(stacks) == 1, stacks  # the own one


def compare_thread_without_frames():
    assert releasing_gil.begin_thread_without_frames() == 0
    comparison.both("a thread without frames")
    dumped = dumps.of_threads()
    assert (b"<no Python frame>" in dumped.theirs) == (sys.version_info < (3, 15)), dumped.theirs
    assert releasing_gil.end_thread_without_frames() == 0


def compare_collecting():
    """Under "Current thread" 3.10 and later tell that the garbage collector runs."""

    class Dying:
        def __del__(self):
            comparison.both("collecting")
            seen.append(b"  Garbage-collecting\n" in dumps.of_threads().theirs)

    seen = []
    dying = Dying()
    dying.cycle = dying
    del dying
    gc.collect()
    assert seen == [sys.version_info >= (3, 10)], seen


# ---- Sub-interpreters -----------------------------------------------------------------------------------------------

INNER = """
import sys
sys.path[:0] = [%r]
import inside_interpreter
inside_interpreter.main(%r)
"""


def compare_interpreters():
    module, number = make_interpreter()
    comparison.both("beside a sub-interpreter")
    path = os.path.abspath("inside_interpreter.txt")
    error = module.run_string(number, INNER % (HERE, path))
    assert error is None, error
    with open(path) as file:
        counted, wrong = file.read().split("\n", 1)
    comparison.count += int(counted)
    if wrong:
        comparison.wrong.append("in a sub-interpreter:\n" + wrong)
    comparison.both("beside a sub-interpreter that has run")
    module.destroy(number)


# ---- Signal handlers ------------------------------------------------------------------------------------------------


def strike(label, raise_signal, expected_result=0):
    """Both dumps from the handlers of one signal."""
    for memory, number in dumps.MEMORIES.items():
        for all_threads in (False, True):
            what = "%s, %s, %s threads" % (label, memory, "all" if all_threads else "own")
            theirs, ours = dumps.outputs[:2]
            assert holding_gil.install_handler(SIGNAL, number, ours.fd, all_threads) == 0
            faulthandler.register(SIGNAL, file=theirs.fd, all_threads=all_threads, chain=True)
            assert raise_signal(SIGNAL) == 0
            faulthandler.unregister(SIGNAL)
            result = ctypes.c_int()
            assert holding_gil.take_calls(ctypes.byref(result)) == 1
            expected = 0 if all_threads else expected_result
            if result.value != expected:
                comparison.wrong.append("%s: %d instead of %d" % (what, result.value, expected))
            check_refusal(what, theirs.take(), ours.take(), all_threads)


def check_refusal(what, theirs, ours, all_threads):
    """3.14t and later refuse to show all threads in a signal handler: a listed difference."""
    refusal = b"<Cannot show all threads while the GIL is disabled>\n"
    if FREE_THREADED and all_threads and sys.version_info >= (3, 14):
        assert theirs.startswith(refusal), theirs
        own = theirs[len(refusal) :].partition(b"\n")[2]
        comparison.equal(what, True, own in ours and ours.count(b"hread 0x") == len(pyunw.threads(dumps.guarded)))
    else:
        comparison.equal(what, theirs, ours)


def compare_handlers(label):
    raisers = {
        "holding the GIL": ctypes.PyDLL(None)["raise"],
        "not holding the GIL": ctypes.CDLL(None)["raise"],
        "thread of C without frames": releasing_gil.raise_in_thread_without_frames,
    }
    for who, raise_signal in raisers.items():
        strike("%s, handler, %s" % (label, who), raise_signal)
    # Of a thread that Python does not know there is no stack.
    stranger = "%s, handler, a thread that Python does not know" % label
    strike(stranger + ", GIL free", releasing_gil.raise_in_stranger, pyunw.PYUNW_ERR_NO_THREAD)
    strike(stranger + ", GIL taken", holding_gil.raise_in_stranger, pyunw.PYUNW_ERR_NO_THREAD)


def compare_handlers_everywhere():
    compare_handlers("alone")
    with StandingThreads(5, KERNEL_NAMES):
        compare_handlers("6 threads")
    assert releasing_gil.begin_thread_without_frames() == 0
    compare_handlers("beside a thread without frames")
    assert releasing_gil.end_thread_without_frames() == 0

    class Dying:
        def __del__(self):
            compare_handlers("collecting")

    dying = Dying()
    dying.cycle = dying
    del dying
    gc.collect()
    for _ in (compare_handlers("in a generator") for _ in range(1)):
        pass
    module, number = make_interpreter()
    compare_handlers("beside a sub-interpreter")
    module.destroy(number)


# ---- Errors ---------------------------------------------------------------------------------------------------------


def compare_errors():
    """What cannot be written or found is an error, and leaves nothing behind."""
    own, fd = own_tstate(), dumps.fds[1]
    for expected, results in (
        (pyunw.PYUNW_ERR_WRITE, (dumps.write_text(dumps.guarded, -1, 0),)),
        (pyunw.PYUNW_ERR_WRITE, (dumps.write_text_threads(dumps.guarded, -1, 0, own, 0),)),
        (pyunw.PYUNW_ERR_ARGUMENT, (dumps.write_text_threads(dumps.guarded, fd, 0, own, -1),)),
        (pyunw.PYUNW_ERR_NO_THREAD, (dumps.write_text_threads(dumps.guarded, fd, own, own, 0),)),
        (pyunw.PYUNW_ERR_WRITE, write_into_full_pipe()),
    ):
        comparison.equal("errors", {expected}, set(results))
    comparison.equal("errors", b"", dumps.outputs[1].take())


def write_into_full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        own = own_tstate()
    results = dumps.write_text(dumps.guarded, writer, 0), dumps.write_text_threads(dumps.guarded, writer, 0, own, 0)
    os.close(reader)
    os.close(writer)
    return results


def main():
    compare_constructs()
    compare_depths()
    compare_threads()
    compare_thread_without_frames()
    compare_collecting()
    compare_handlers_everywhere()
    compare_interpreters()
    compare_errors()
    return comparison.finish("faulthandler's")


if __name__ == "__main__":
    sys.exit(main())
