"""
pyunwind_python.h for the tests of this folder: its structures and functions by ctypes, and what they are to give by
traceback.walk_stack(). Runs on CPython 3.8 to 3.15, also in a sub-interpreter.

A name that the header gives as an alias is called through api.c, which is compiled with that header.
"""

import ctypes
import mmap
import os
import sys
import traceback
from ctypes import Structure, c_char, c_char_p, c_int, c_ssize_t, c_void_p

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
# The constructs and the threads are those of the text tests.
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "text"))

import pyunw
from compile import compile_shared

HERE = os.path.dirname(os.path.abspath(__file__))
API = compile_shared("python_api", os.path.join(HERE, "api.c"), pyunwind=True)


class PyTracebackFrameInfo(Structure):
    _fields_ = [("filename", c_char * 256), ("lineno", c_int), ("name", c_char * 256)]

    def words(self):
        return self.filename, self.lineno, self.name


class PyUnstable_FrameInfo(Structure):
    _fields_ = [
        ("filename", c_char * 501),
        ("name", c_char * 501),
        ("lineno", c_int),
        ("filename_truncated", c_int),
        ("name_truncated", c_int),
    ]

    def words(self):
        return self.filename, bool(self.filename_truncated), self.lineno, self.name, bool(self.name_truncated)


PROTOTYPES = {
    "get_frames": (c_int, [c_void_p, c_void_p, c_int]),
    "collect": (c_int, [c_void_p, c_void_p, c_int]),
    "print": (None, [c_int, c_void_p, c_int, c_int]),
    "dump": (c_char_p, [c_int, c_void_p]),
    "dump_quietly": (None, [c_int, c_void_p]),
    "dump_threads": (c_char_p, [c_int, c_void_p, c_void_p, c_ssize_t]),
}


class Functions:
    """get_frames, collect, ... as attributes."""

    def __init__(self, library):
        for name, (result, arguments) in PROTOTYPES.items():
            function = library[name]
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


api = Functions(ctypes.PyDLL(API))
api_without_gil = Functions(ctypes.CDLL(API))

# The symbol itself, as an interpreter's own extension module would call it.
_Py_GetTracebackFrames = ctypes.PyDLL(pyunw.PATH)["_Py_GetTracebackFrames"]
_Py_GetTracebackFrames.restype, _Py_GetTracebackFrames.argtypes = PROTOTYPES["get_frames"]


# ---- Arrays ---------------------------------------------------------------------------------------------------------

PAGE = mmap.PAGESIZE
PROT_NONE = 0
libc = ctypes.CDLL(None)
libc.mmap.restype = c_void_p
libc.mmap.argtypes = [c_void_p, ctypes.c_size_t, c_int, c_int, c_int, ctypes.c_long]
libc.mprotect.argtypes = [c_void_p, ctypes.c_size_t, c_int]
libc.munmap.argtypes = [c_void_p, ctypes.c_size_t]
GUARD = 0xA5


class Array:
    """
    Room for `count` entries that ends where memory ends, with guard bytes before it: who writes past the end dies, and
    what is written before it is seen by close(). slack: bytes between the end and the end of memory, guarded too; the
    entries are then aligned otherwise.
    """

    def __init__(self, entry, count, slack=0):
        self.entry = entry
        self.size = count * ctypes.sizeof(entry) + slack
        self.whole = (self.size + 2 * PAGE - 1) // PAGE * PAGE
        self.base = libc.mmap(
            None, self.whole + PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
        )
        assert self.base not in (None, ctypes.c_void_p(-1).value)
        assert libc.mprotect(self.base + self.whole, PAGE, PROT_NONE) == 0
        ctypes.memset(self.base, GUARD, self.whole)
        self.address = self.base + self.whole - self.size
        self.slack = slack

    def entries(self, count):
        """What was written, as tuples."""
        return [entry.words() for entry in (self.entry * count).from_address(self.address)] if count > 0 else []

    def is_untouched(self):
        return set(ctypes.string_at(self.base, self.whole)) == {GUARD}

    def close(self):
        """Free it; true if nothing was written around it."""
        before = ctypes.string_at(self.base, self.whole - self.size)
        behind = ctypes.string_at(self.base + self.whole - self.slack, self.slack)
        assert libc.munmap(self.base, self.whole + PAGE) == 0
        return set(before + behind) == {GUARD}


# ---- What is expected -----------------------------------------------------------------------------------------------


def characters(text):
    """Each character's UTF-8; a lone surrogate's escape."""
    return [b"\\u%04x" % ord(c) if 0xD800 <= ord(c) < 0xE000 else c.encode() for c in text]


def whole_within(pieces, room):
    """As many whole pieces from the beginning as fit."""
    fitting = b""
    for piece in pieces:
        if len(fitting) + len(piece) > room:
            break
        fitting += piece
    return fitting


def expected_filename(text):
    pieces = characters(text)
    whole = b"".join(pieces)
    if len(whole) > 255:
        reversed_end = whole_within([piece[::-1] for piece in reversed(pieces)], 252)
        whole = b"..." + reversed_end[::-1]
    return whole.partition(b"\0")[0]


def expected_name(text):
    pieces = characters(text)
    whole = b"".join(pieces)
    if len(whole) > 255:
        whole = whole_within(pieces, 252) + b"..."
    return whole.partition(b"\0")[0]


def expected_frames(stack):
    """Of (frame, line) pairs, as traceback.walk_stack() gives them."""
    found = []
    for frame, lineno in stack:
        code = frame.f_code
        line = -1 if lineno is None else lineno
        found.append((expected_filename(code.co_filename), line, expected_name(code.co_name)))
    return found


def escaped(text):
    """(at most 500 bytes as CPython's dumps escape them, whether there would be more)"""
    pieces = []
    for character in text:
        number = ord(character)
        if 0x20 <= number <= 0x7E:
            pieces.append(b"%c" % number)
        elif number <= 0xFF:
            pieces.append(b"\\x%02x" % number)
        elif number <= 0xFFFF:
            pieces.append(b"\\u%04x" % number)
        else:
            pieces.append(b"\\U%08x" % number)
    return whole_within(pieces, 500), len(b"".join(pieces)) > 500


def expected_infos(stack):
    found = []
    for frame, lineno in stack:
        code = frame.f_code
        line = -1 if lineno is None else lineno
        found.append(escaped(code.co_filename) + (line,) + escaped(code.co_name))
    return found


# ---- Comparing ------------------------------------------------------------------------------------------------------


class Checks:
    """Counts what was compared, and keeps what was wrong."""

    def __init__(self):
        self.count = 0
        self.wrong = []
        # Of what fails in a finalizer or a callback from C nobody else would hear.
        sys.unraisablehook = lambda lost: self.wrong.append("in %r: %r" % (lost.object, lost.exc_value))

    def equal(self, label, expected, found):
        self.count += 1
        if found != expected:
            self.wrong.append("%s: expected %s, found %s" % (label, short(expected), short(found)))

    def frames(self, label, expected, found):
        self.equal(label + ", number of frames", len(expected), len(found))
        for number, (one, other) in enumerate(zip(expected, found)):
            self.equal("%s, frame %d" % (label, number), one, other)

    def finish(self):
        for wrong in self.wrong[:10]:
            print(wrong)
        print("%d comparisons, %d wrong" % (self.count, len(self.wrong)))
        return 1 if self.wrong or self.count == 0 else 0


def short(value):
    text = ascii(value)
    return text if len(text) < 400 else text[:190] + " ... " + text[-190:]


def walk(frame):
    return list(traceback.walk_stack(frame))
