# interpreters: each
"""
Where pyunwind's text differs from faulthandler's on purpose (docs/text-format.md lists it): where CPython stops early,
pyunwind writes the whole stack in the same format. Here faulthandler is the oracle for what it does print, and
sys._getframe() for the rest.
"""

import _thread
import sys
import sysconfig
import types

import dumps
from constructs import lineless, without_lines
from dumps import Comparison
from images import OwnImage
from standing_threads import MovingThread, StandingThreads, own_tstate, wait_until_detached

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MINOR = sys.version_info[1]
HEADER = b"Stack (most recent call first):\n"
INVALID = b"  <invalid frame>\n"
TORN = b"  <torn: the thread ran on while it was read>\n"

comparison = Comparison()


# ---- The whole stack, from sys._getframe() --------------------------------------------------------------------------


def escape(text):
    """As CPython's Python/traceback.c, _Py_DumpASCII."""
    escaped = ""
    for character in text[:500]:
        number = ord(character)
        if 0x20 <= number <= 0x7E:
            escaped += character
        elif number <= 0xFF:
            escaped += "\\x%02x" % number
        elif number <= 0xFFFF:
            escaped += "\\u%04x" % number
        else:
            escaped += "\\U%08x" % number
    return escaped + ("..." if len(text) > 500 else "")


def line_of(frame):
    code = frame.f_code
    number = "???" if frame.f_lineno is None else frame.f_lineno
    return ('  File "%s", line %s in %s\n' % (escape(code.co_filename), number, escape(code.co_name))).encode()


def lines_from(frame):
    lines = []
    while frame is not None:
        lines.append(line_of(frame))
        frame = frame.f_back
    return lines


def look(label, dump=dumps.of_thread):
    """The dumps of this moment, as lines of .theirs and .ours; the latter are checked to be the whole stack."""
    dumped = dump()
    # The two innermost frames, the dumping function's and this one, are not where they were any more.
    whole = lines_from(sys._getframe(1))
    header, *theirs = dumped.theirs.splitlines(True)
    ours = theirs[:2] + whole
    comparison.dumps(label, dumped, b"".join([header] + ours))
    return types.SimpleNamespace(theirs=theirs, ours=ours)


def check_label(label, condition, what):
    comparison.count += 1
    if not condition:
        comparison.wrong.append("%s: %s" % (label, what))


# ---- More than 100 frames -------------------------------------------------------------------------------------------


def descend(depth, action):
    return descend(depth - 1, action) if depth > 0 else action()


def descend_through_c(depth, action):
    return list(map(descend_through_c, [depth - 1], [action]))[0] if depth > 0 else action()


def differ_in_frames():
    sys.setrecursionlimit(20000)
    for depth in (100, 101, 150, 500, 5000):
        for dump in (dumps.of_thread, dumps.of_threads):
            label = "%d frames and more, %s" % (depth, dump.__name__)
            seen = descend(depth, lambda: look(label, dump))
            check_label(label, len(seen.ours) > depth, "only %d frames" % len(seen.ours))
            # 3.13 and later stop silently.
            end = [b"  ...\n"] if MINOR < 13 else []
            comparison.equal(label + ", theirs", b"".join(seen.ours[:100] + end), b"".join(seen.theirs))


def differ_in_entry_frames():
    """Some versions count the interpreter's own entry frames among the 100."""
    seen = descend_through_c(90, lambda: look("90 calls through C"))
    counted = len(seen.theirs)
    check_label("90 calls through C", 90 < len(seen.ours) < 100, "%d frames" % len(seen.ours))
    comparison.equal("90 calls through C, theirs", b"".join(seen.ours[:counted]), b"".join(seen.theirs))
    check_label("90 calls through C", MINOR >= 13 or counted == len(seen.ours), "theirs has %d" % counted)


# ---- More than 100 threads ------------------------------------------------------------------------------------------


def write_threads(max_threads):
    result = dumps.write_text_threads(dumps.guarded, dumps.fds[1], 0, own_tstate(), max_threads)
    assert result == 0, result
    return dumps.outputs[1].take()


def differ_in_threads():
    with StandingThreads(120):
        dumped = dumps.of_threads()
        whole = dumped.ours["direct"]
        parts = whole.split(b"\n\n")
        check_label("121 threads", len(parts) == 121 and parts[-1].startswith(b"Current thread "), "%d" % len(parts))
        for memory, ours in dumped.ours.items():
            comparison.equal("121 threads, %s" % memory, whole, ours)
        comparison.equal("121 threads, theirs", b"\n\n".join(parts[:100]) + b"\n\n...\n", dumped.theirs)
        comparison.equal("121 threads, at most 100", dumped.theirs, write_threads(100))
        for limit in (1, 2, 99, 119, 120, 121, 122, 10000):
            ours, theirs = write_threads(limit), take_theirs(limit)
            if theirs is not None:
                comparison.equal("at most %d threads" % limit, without_current(theirs), without_current(ours))
            expected = [without_current(part) for part in parts[:limit]] + [b"...\n"] * (limit < 121)
            found = [without_current(part) for part in ours.split(b"\n\n")]
            comparison.equal("at most %d threads" % limit, b"\n\n".join(expected), b"\n\n".join(found))
    with StandingThreads(99):
        comparison.dumps("100 threads", dumps.of_threads())


def without_current(text):
    """Without the current thread's stack: of each dump the line is another."""
    return text.partition(b"Current thread ")[0]


def take_theirs(max_threads):
    """Before 3.15 faulthandler has no such argument."""
    if MINOR < 15:
        return None
    dumps.their_dump(dumps.fds[0], True, max_threads=max_threads)
    return dumps.outputs[0].take()


# ---- A frame without a line -----------------------------------------------------------------------------------------


def differ_in_lines():
    if MINOR < 10:
        return
    function = without_lines(lineless)
    seen = descend(3, lambda: function(lambda: look("a frame without a line")))
    line = ('  File "%s", line ??? in lineless\n' % lineless.__code__.co_filename).encode()
    check_label("a frame without a line", line in seen.ours, "it is missing")
    expect_end_at("a frame without a line", seen, line, seen.ours)


def expect_end_at(label, seen, line, whole):
    """Newer versions end the stack at a frame that they hold to be invalid: all before it is equal, and it is."""
    expected = whole
    if INVALID in seen.theirs:
        expected = whole[: whole.index(line) + 1] + [INVALID]
    comparison.equal(label + ", theirs", b"".join(expected), b"".join(seen.theirs))
    # Since 3.14.1, and since a late 3.13.
    if MINOR != 13:
        check_label(label, (INVALID in seen.theirs) == (sys.version_info >= (3, 14, 1)), "%r" % seen.theirs)


# ---- The frame between a caller and a specialised __init__ ----------------------------------------------------------


class Made:
    def __init__(self, action):
        self.result = action()


def make(action):
    return Made(action).result


def differ_in_init():
    for _ in range(1000):
        make(int)
    seen = make(lambda: look("a specialised __init__"))
    trampoline = b'  File "__init__", line ??? in __init__\n'
    check_label("a specialised __init__", trampoline not in seen.ours, "the trampoline is written")
    if FREE_THREADED and MINOR == 13 or MINOR < 13:  # no such frame
        comparison.equal("a specialised __init__, theirs", b"".join(seen.ours), b"".join(seen.theirs))
    else:
        at = next(n for n, line in enumerate(seen.ours) if line.endswith(b" in __init__\n") and n > 2) + 1
        expect_end_at("a specialised __init__", seen, trampoline, seen.ours[:at] + [trampoline] + seen.ours[at:])


# ---- Memory that cannot be read, and threads that run on ------------------------------------------------------------


def lines_of(thread):
    """What its stack is when nothing is in the way."""
    assert dumps.write_text(dumps.guarded, dumps.fds[1], thread.tstate) == 0
    header, *lines = dumps.outputs[1].take().splitlines(True)
    (frame,) = (frame for ident, frame in sys._current_frames().items() if ident != _thread.get_ident())
    comparison.equal("another thread", b"".join(lines_from(frame)), b"".join(lines))
    assert header == HEADER and [line.split()[-1] for line in lines] == [b"inner", b"outer", b"run"], lines
    return lines


def overlaps(address, size, at, length):
    return address < at + length and at < address + size


def write_image(before_read, tstate):
    """Lines of one thread's text, read through before_read."""
    image = OwnImage(before_read)
    result = dumps.write_text(image.target, dumps.fds[1], tstate)
    header, *lines = dumps.outputs[1].take().splitlines(True)
    assert (result, header) == (0, HEADER), (result, header)
    return lines


def end_of(text):
    """Where the last character of a str of ASCII characters lies."""
    return id(text) + sys.getsizeof(text) - 2


def refuse(lines, tstate, label, at, expected):
    """Refuse what lies at an address."""
    comparison.equal(
        label,
        b"".join(expected),
        b"".join(write_image(lambda address, size: overlaps(address, size, at, 8), tstate)),
    )


def differ_in_memory():
    """What cannot be read is ??? or ends the stack; a stack that changed meanwhile is marked."""
    thread = MovingThread()
    lines = lines_of(thread)
    comparison.equal("an image", b"".join(lines), b"".join(write_image(lambda *_: False, thread.tstate)))
    code = MovingThread.outer.__code__
    table = code.co_lnotab if MINOR < 10 else code.co_linetable
    quoted, name, number = b'"%s"' % code.co_filename.encode(), b"in outer\n", lines[1].split(b", ")[1].split()[1]
    for label, at, expected in (
        ("a name", id(code.co_name), [lines[0], lines[1].replace(name, b"in ???\n"), lines[2]]),
        ("a file", id(code.co_filename), [line.replace(quoted, b"???") for line in lines]),
        ("the end of a file", end_of(code.co_filename), [line.replace(quoted, b"???") for line in lines]),
        ("a line", id(table), [lines[0], lines[1].replace(b"line " + number, b"line ???"), lines[2]]),
        ("a code object", id(code), lines[:1] + [INVALID]),
        # In 3.11 and 3.12 an innermost frame that makes no sense is one that is not filled in yet.
        ("the innermost code object", id(MovingThread.inner.__code__), [TORN if MINOR in (11, 12) else INVALID]),
        ("a frame", thread.frames[1].frame, lines[:1] + [INVALID]),
        ("the outermost frame", thread.frames[2].frame, lines[:2] + [INVALID]),
    ):
        refuse(lines, thread.tstate, label + " that cannot be read", at, expected)

    seen = []

    def refuse_second_time(address, size):
        if overlaps(address, size, end_of(code.co_filename), 1):
            seen.append(address)
        return len(seen) > 1

    found = write_image(refuse_second_time, thread.tstate)
    check_label("a text that changes", len(seen) > 1 and found[-1] == TORN, "it is not marked: %r" % found)

    def move_at_outermost(address, size):
        if overlaps(address, size, thread.frames[2].code, 8) and not thread.moved:
            thread.move()
            wait_until_detached(1)

    found = write_image(move_at_outermost, thread.tstate)
    comparison.equal("a thread that runs on", b"".join(lines + [TORN]), b"".join(found))
    check_label("a thread that runs on", thread.moved, "it did not")
    thread.end()


# ---- What CPython itself has cut ------------------------------------------------------------------------------------


def differ_in_delegation():
    """3.9 (up to 3.10.0 or later) unlinks the callers while an exception is thrown into a generator that delegates."""

    def inner():
        try:
            yield 1
        except ValueError:
            dumped = dumps.of_thread()
            whole = dumped.theirs.endswith(line_of(top))
            comparison.dumps("delegation", dumped, dumped.theirs if whole else dumped.theirs + TORN)
            seen.append(whole)
            yield 2

    def outer():
        yield from inner()

    top, seen = sys._getframe(), []
    while top.f_back is not None:
        top = top.f_back
    generator = outer()
    next(generator)
    generator.throw(ValueError())
    check_label("delegation", seen in ([MINOR != 9], [MINOR not in (9, 10)]), "whole: %r" % seen)


def main():
    differ_in_frames()
    differ_in_entry_frames()
    differ_in_threads()
    differ_in_lines()
    differ_in_init()
    differ_in_delegation()
    differ_in_memory()
    return comparison.finish("what they are to be")


if __name__ == "__main__":
    sys.exit(main())
