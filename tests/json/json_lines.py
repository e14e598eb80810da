"""
JSON lines for the tests of this folder: written by each memory, parsed strictly, and what they are to say by this
interpreter's own word. Runs on CPython 3.8 to 3.15, also in a sub-interpreter.
"""

import json
import os
import sys


sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
# The constructs, the threads and the images are those of the text tests.
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "text"))

import dumps
import pyunw

HAS_QUALNAME = HAS_COLUMNS = sys.version_info >= (3, 11)

FRAME_KEYS = {"kind", "name", "qualname", "filename", "lineno", "end_lineno", "colno", "end_colno"}
THREAD_KEYS = {"schema", "pid", "thread_id", "native_id", "interpreter_id", "name", "state", "holds_gil"}
THREAD_KEYS |= {"collecting_garbage", "frames", "status"}

write_json = pyunw.lib_holding_gil.pyunw_write_json
write_json_threads = pyunw.lib_holding_gil.pyunw_write_json_threads
targets = {"direct": dumps.direct, "trapped": dumps.trapped, "guarded": dumps.guarded}


# ---- Reading --------------------------------------------------------------------------------------------------------


def without_duplicates(pairs):
    members = dict(pairs)
    assert len(members) == len(pairs), "a key twice: %r" % pairs
    return members


def refuse_constant(word):
    raise ValueError("not JSON: %s" % word)


def parse(line):
    """One line: strict UTF-8, strict JSON, the keys that are documented and no others."""
    assert line.endswith(b"\n") and line.count(b"\n") == 1, line
    text = line[:-1].decode("utf-8")
    thread = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    assert set(thread) == THREAD_KEYS and thread["schema"] == "pyunwind.thread/1", thread
    for frame in thread["frames"]:
        assert set(frame) == FRAME_KEYS and frame["kind"] == "python", frame
    return thread


def parse_all(data):
    return [parse(line) for line in data.splitlines(True)]


def as_written(text):
    """Lone surrogates are no UTF-8: they are written as the six characters of their escapes."""
    return "".join("\\u%04x" % ord(c) if 0xD800 <= ord(c) < 0xE000 else c for c in text)


# ---- What a line is to say ------------------------------------------------------------------------------------------


def expected_frame(frame):
    """A frame that stands still, as sys._getframe() and co_positions() describe it."""
    code = frame.f_code
    positions = (frame.f_lineno, None, None, None)
    if HAS_COLUMNS:
        positions = list(code.co_positions())[frame.f_lasti // 2]
    return {
        "kind": "python",
        "name": as_written(code.co_name),
        "qualname": as_written(code.co_qualname) if HAS_QUALNAME else None,
        "filename": as_written(code.co_filename),
        "lineno": frame.f_lineno,
        "end_lineno": positions[1],
        "colno": positions[2],
        "end_colno": positions[3],
    }


def expected_frames(frame):
    found = []
    while frame is not None:
        found.append(expected_frame(frame))
        frame = frame.f_back
    return found


def kernel_name(native_id):
    """UTF-8, other bytes as the surrogates that os.fsdecode() makes of them; null where it is empty."""
    with open("/proc/self/task/%d/comm" % native_id, "rb") as file:
        return as_written(file.read()[:-1].decode("utf-8", "surrogateescape")) or None


# ---- Writing --------------------------------------------------------------------------------------------------------


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
            if one != other:
                self.equal("%s, frame %d" % (label, number), one, other)

    def finish(self):
        for wrong in self.wrong[:10]:
            print(wrong)
        print("%d comparisons, %d wrong" % (self.count, len(self.wrong)))
        return 1 if self.wrong or self.count == 0 else 0


def short(value):
    text = ascii(value)
    return text if len(text) < 400 else text[:190] + " ... " + text[-190:]


output = dumps.Output()


def write(target, tstate=0):
    """One thread's line, parsed; of the calling thread this function's frame is the innermost."""
    assert write_json(target, output.fd, tstate) == 0
    return parse(output.take())


def write_all(target):
    """The lines of all threads, parsed, by thread state: they come in the order of pyunw_threads_next()."""
    assert write_json_threads(target, output.fd) == 0
    lines = parse_all(output.take())
    states = [thread.tstate for thread in pyunw.threads(target)]
    assert len(lines) == len(states), (len(lines), len(states))
    return dict(zip(states, lines))


class Pipe:
    """A pipe that is full but for `room` bytes, and does not wait."""

    def __init__(self, room):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self.filled = 0
        try:
            while True:
                self.filled += os.write(self.writer, bytes(4096))
        except BlockingIOError:
            pass
        assert len(os.read(self.reader, room)) == room
        self.filled -= room

    def close(self):
        """What was written into it."""
        os.close(self.writer)
        with open(self.reader, "rb") as file:
            return file.read()[self.filled :]


