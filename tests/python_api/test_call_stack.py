# interpreters: each
"""
The aliases of pyunwind_python.h: PyUnstable_CollectCallStack against traceback.walk_stack(), PyUnstable_PrintCallStack
and the dumps against faulthandler's, byte for byte, and against the interpreter's own functions of the same names where
it exports them (3.8, 3.11, 3.12: _Py_DumpTraceback and _Py_DumpTracebackThreads; 3.15: PyUnstable_DumpTraceback and
PyUnstable_DumpTracebackThreads).
"""

import ctypes
import os
import sys

import python_api
from python_api import Array, Checks, PyUnstable_FrameInfo, api, api_without_gil, expected_infos, walk

import constructs
import dumps
import pyunw
from constructs import lineless, without_lines
from standing_threads import StandingThreads, make_interpreter, own_tstate

MINOR = sys.version_info[1]
HEADER = b"Stack (most recent call first):\n"
FREED = HEADER + b"  <freed thread state>\n"

checks = Checks()
target = pyunw.open_self()
output = dumps.Output()


def collect(tstate, room=200, call=None):
    """(what the call returned, the entries) with guard bytes around the array."""
    array = Array(PyUnstable_FrameInfo, room)
    count = (call or api.collect)(tstate, array.address, room)
    entries = array.entries(count)
    if count <= 0:
        checks.equal("entries that do not count", True, array.is_untouched())
    checks.equal("bytes around the array", True, array.close())
    return count, entries


# ---- PyUnstable_CollectCallStack ------------------------------------------------------------------------------------


def check_collected(label):
    for call in (api.collect, api_without_gil.collect):
        count, entries = collect(own_tstate(), call=call)
        # Two frames went on meanwhile: that of collect(), and this one's line.
        expected = expected_infos(walk(sys._getframe(1)))
        checks.equal(label, (b"collect", b"check_collected"), tuple(entry[3] for entry in entries[:2]))
        checks.frames(label, expected, entries[2:])


def check_constructs():
    for construct in constructs.CONSTRUCTS:
        before = checks.count

        def check(*_):
            check_collected(construct.__name__)
            return 0

        construct(check)
        assert checks.count > before, "%s never came to its check" % construct.__name__


def check_cutting():
    """At most 500 bytes, and no part of an escape."""
    for character in "x", "\xe9", "\u03b1", "\U0001f600", "\udc80", "\x7f":
        width = len(python_api.escaped(character)[0])
        for length in range(500 // width - 2, 500 // width + 3):
            for before in ["a" * n for n in range(11)]:
                text = before + character * length
                _, entries = constructs.with_names(text, text)(lambda: collect(own_tstate(), 3))
                checks.equal(ascii(text), python_api.escaped(text) + (2,) + python_api.escaped(text), entries[2])


def check_results():
    tstate = own_tstate()
    whole, _ = collect(tstate)
    for room in (1, 2, whole - 1, whole, whole + 1):
        checks.equal("room for %d of %d" % (room, whole), min(room, whole), collect(tstate, room)[0])
    array = Array(PyUnstable_FrameInfo, 1)
    # 0..max_frames; an array there must be.
    for room, expected in ((0, 0), (-1, -1), (-(2**31), -1)):
        checks.equal("max_frames %d" % room, expected, api.collect(tstate, array.address, room))
        checks.equal("max_frames %d, no array" % room, -1, api.collect(tstate, None, room))
    checks.equal("no array", -1, api.collect(tstate, None, 1))
    for number in (None, 1, 8, 2**47, 2**64 - 8, tstate + 8, id(array), array.base, array.base + array.whole):
        checks.equal("no thread state: %s" % number, (-1, []), collect(number, 3))
    python = ctypes.pythonapi
    python.PyThreadState_New.restype, python.PyThreadState_New.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    python.PyThreadState_Clear.argtypes = python.PyThreadState_Delete.argtypes = [ctypes.c_void_p]
    (own,) = pyunw.threads(target)
    other = python.PyThreadState_New(own.interpreter)
    # Of this function a thread without a frame has no stack; of _Py_GetTracebackFrames one of no frames.
    checks.equal("no frame", (-1, []), collect(other, 3))
    python.PyThreadState_Clear(other)
    python.PyThreadState_Delete(other)
    checks.equal("freed", (-1, []), collect(other, 3))
    array.close()
    with StandingThreads(5):
        frames = sys._current_frames()
        others = [thread for thread in pyunw.threads(target) if thread.tstate != tstate]
        assert len(others) == 5
        for thread in others:
            expected = expected_infos(walk(frames[thread.thread_id]))
            checks.frames("another thread", expected, collect(thread.tstate)[1])
            checks.frames("another thread", expected[:1], collect(thread.tstate, 1)[1])


# ---- PyUnstable_PrintCallStack --------------------------------------------------------------------------------------


def printed(frames, count, header):
    api.print(output.fd, frames, count, header)
    return output.take()


def check_printed(label):
    """What was collected is printed as faulthandler prints the stack, from the frame of our caller on."""
    array = Array(PyUnstable_FrameInfo, 100)
    count = api.collect(own_tstate(), array.address, 100)
    text = printed(array.address, count, 1)
    array.close()
    dumps.their_dump(output.fd, False)
    expected = output.take().splitlines(True)
    # The line of this function's own frame, the first, is another by now.
    found = text.splitlines(True)
    checks.equal(label, expected[0], found[0])
    checks.frames(label, expected[2:], found[2:])


def is_printed_alike(text):
    """CPython cuts after 500 characters, this after 500 bytes; and an empty text stands for an unknown one."""
    return text and not python_api.escaped(text)[1]


def check_printing():
    def check(*_):
        check_printed("printed")
        return 0

    for construct in constructs.CONSTRUCTS:
        if construct is not constructs.names:
            construct(check)
    for name in filter(is_printed_alike, constructs.NAMES):
        constructs.with_names("file", name)(check)
        constructs.with_names(name, "function")(check)
    if MINOR >= 10:
        _, entries = without_lines(lineless)(lambda: collect(own_tstate(), 4))
        checks.equal("a frame without a line", (-1, b"lineless"), entries[2][2:4])
    entry = (PyUnstable_FrameInfo * 3)()
    entry[0].filename, entry[0].name, entry[0].lineno = b"file", b"name", 7
    entry[1].filename, entry[1].name, entry[1].lineno = b"f" * 500, b"n" * 500, -1
    entry[1].filename_truncated = entry[1].name_truncated = 1
    entry[2].lineno = -1
    first = b'  File "file", line 7 in name\n'
    second = b'  File "%s...", line ??? in %s...\n' % (b"f" * 500, b"n" * 500)
    third = b"  File ???, line ??? in ???\n"
    for header in (0, 1, -1):
        begin = HEADER if header else b""
        for count, expected in ((0, b""), (-1, b""), (-(2**31), b""), (1, first), (2, first + second)):
            checks.equal("%d frames printed" % count, begin + expected, printed(entry, count, header))
        checks.equal("3 frames printed", begin + first + second + third, printed(entry, 3, header))
        for count in (0, 1, -1):
            checks.equal("no array printed", begin, printed(None, count, header))
    api.print(-1, entry, 3, 1)  # a descriptor that is none: nothing happens


# ---- The dumps ------------------------------------------------------------------------------------------------------


def find_theirs(*names):
    """The interpreter's own function under one of these names, or None where it exports none."""
    for name in names:
        try:
            return ctypes.pythonapi[name]
        except AttributeError:
            continue
    return None


their_dump = find_theirs("PyUnstable_DumpTraceback", "_Py_DumpTraceback")
their_dump_threads = find_theirs("PyUnstable_DumpTracebackThreads", "_Py_DumpTracebackThreads")
assert (their_dump is not None) == (MINOR in (8, 11, 12, 15)) == (their_dump_threads is not None)
if their_dump:
    # Before 3.15 the first returns nothing, and the second takes no number of threads.
    their_dump.restype = ctypes.c_char_p if MINOR >= 15 else None
    their_dump.argtypes = [ctypes.c_int, ctypes.c_void_p]
    their_dump_threads.restype = ctypes.c_char_p
    their_dump_threads.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    their_dump_threads.argtypes += [ctypes.c_ssize_t] if MINOR >= 15 else []

faulthandler_output, own_output, alias_output, their_output = (dumps.Output() for _ in range(4))


def check_dump(label):
    f, a, b, c, i = faulthandler_output.fd, own_output.fd, alias_output.fd, their_output.fd, own_tstate()
    their = their_dump or (lambda *_: None)
    results = dumps.their_dump(f, False), api.dump(a, i), api.dump_quietly(b, i), their(c, i)
    checks.equal(label + ", results", (None,) * 4, results)
    expected = faulthandler_output.take()
    checks.equal(label + ", PyUnstable_DumpTraceback", expected, own_output.take())
    checks.equal(label + ", _Py_DumpTraceback", expected, alias_output.take())
    if their_dump:
        checks.equal(label + ", the interpreter's", expected, their_output.take())


def check_dump_threads(label):
    f, a, b, c, i = faulthandler_output.fd, own_output.fd, alias_output.fd, their_output.fd, own_tstate()
    their = their_dump_threads or (lambda *_: None)
    more = (0,) if MINOR >= 15 else ()
    dump = api.dump_threads
    results = dumps.their_dump(f, True), dump(a, None, i, 0), dump(b, None, None, 0), their(c, None, i, *more)
    checks.equal(label + ", results", (None,) * 4, results)
    expected = faulthandler_output.take()
    checks.equal(label + ", of a thread state", expected, own_output.take())
    checks.equal(label + ", of nothing", expected, alias_output.take())
    if their_dump_threads:
        checks.equal(label + ", the interpreter's", expected, their_output.take())


def check_dumps(label):
    check_dump(label)
    check_dump_threads(label)


def check_dumps_everywhere():
    for construct in constructs.CONSTRUCTS:

        def check(*_):
            check_dumps(construct.__name__)
            return 0

        construct(check)
    for count in (0, 1, 5, 99, 100, 120):
        with StandingThreads(count):
            check_dumps("%d threads" % (count + 1))
    check_dump_of_others()
    check_threads_of_others()
    module, number = make_interpreter()
    check_dumps("beside a sub-interpreter")
    error = module.run_string(number, INNER % (python_api.HERE, os.path.abspath("inside.txt")))
    assert error is None, error
    with open("inside.txt") as file:
        counted, wrong = file.read().split("\n", 1)
    checks.count += int(counted)
    if wrong:
        checks.wrong.append(wrong)
    module.destroy(number)


INNER = """
import sys
sys.path.insert(0, %r)
import test_call_stack
test_call_stack.check_dumps("in a sub-interpreter")
test_call_stack.check_collected("in a sub-interpreter")
checks = test_call_stack.checks
with open(%r, "w") as file:
    file.write("%%d\\n%%s" %% (checks.count, "\\n".join(checks.wrong)))
"""


def check_dump_of_others():
    """Other threads, and what is no thread state."""
    own = own_tstate()
    with StandingThreads(5):
        others = [thread.tstate for thread in pyunw.threads(target) if thread.tstate != own]
        for tstate in others:
            checks.equal("another thread", None, api.dump(own_output.fd, tstate))
            text = own_output.take()
            checks.equal("another thread", True, text.startswith(HEADER) and b" in stand\n" in text)
            if their_dump:
                their_dump(their_output.fd, tstate)
                checks.equal("another thread, the interpreter's", their_output.take(), text)
    for number in (None, 8, 2**47, 2**64 - 8, own + 8, id(checks), others[0]):
        result = api.dump(own_output.fd, number)
        checks.equal("no thread state, an error in words", True, bool(result))
        checks.equal("no thread state", FREED, own_output.take())
        api.dump_quietly(own_output.fd, number)
        checks.equal("no thread state", FREED, own_output.take())
    if MINOR >= 15:
        their_dump(their_output.fd, None)
        checks.equal("NULL, the interpreter's", FREED, their_output.take())
    checks.equal("a descriptor that is none", True, bool(api.dump(-1, own)))
    checks.equal("a descriptor that is none", True, bool(api.dump_threads(-1, None, own, 0)))


def check_threads_of_others():
    """Every combination of interpreter, current thread and limit."""
    (own,) = pyunw.threads(target)
    with StandingThreads(7):
        other = pyunw.threads(target)[0].tstate
        assert other != own.tstate
        for interpreter in (None, own.interpreter):
            for current in (None, own.tstate, other):
                for limit in (0, 1, 2, 6, 7, 8, 9, 100, 1000):
                    check_threads(interpreter, current, limit)
                result = api.dump_threads(own_output.fd, interpreter, current, -1)
                checks.equal("less than no thread", (True, b""), (bool(result), own_output.take()))
        result = api.dump_threads(own_output.fd, 8, own.tstate, 0)
        checks.equal("no interpreter", (True, b""), (bool(result), own_output.take()))


def check_threads(interpreter, current, limit):
    label = "interpreter %s, current %s, at most %d" % (interpreter, current, limit)
    result = api.dump_threads(own_output.fd, interpreter, current, limit)
    text = own_output.take()
    # Of NULL the calling thread's is the current one, as CPython has it.
    marked = b"Current thread 0x" in text
    count = text.count(b" (most recent call first):\n")
    dots = text.endswith(b"\n\n...\n")
    checks.equal(label, (None, min(limit or 8, 8), 0 < limit < 8), (result, count, dots))
    # The calling thread is the last of them, the other the first.
    checks.equal(label, bool(current) and current != own_tstate() or not 0 < limit < 8, marked)
    if their_dump_threads and (MINOR >= 15 or limit == 0):
        arguments = (interpreter or (own_interpreter() if MINOR < 15 else None), current or own_tstate())
        their_dump_threads(their_output.fd, *(arguments + ((limit,) if MINOR >= 15 else ())))
        checks.equal(label + ", the interpreter's", without_own(their_output.take()), without_own(text))


def own_interpreter():
    return next(thread.interpreter for thread in pyunw.threads(target) if thread.tstate == own_tstate())


def without_own(text):
    """The calling thread, the last, is at another line by now; its header stays."""
    head, mark, rest = text.rpartition(b"hread 0x")
    return head + mark + rest.partition(b"\n")[0] if not rest.endswith(b"\n...\n") else text


def main():
    check_collected("the own thread")
    check_constructs()
    check_cutting()
    check_results()
    check_printing()
    check_dumps_everywhere()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
