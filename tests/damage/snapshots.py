"""
A thread that rests, read as an image, and what may be said of what was read when not all of it can be.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
sys.path.insert(0, os.path.join(SOURCE, "tests", "promise"))

import pyunw
from compile import compile_shared

PAGE = 4096
ROOM = 128  # frames
FRAMES = (pyunw.pyunw_frame * ROOM)()
RAW = (pyunw.pyunw_raw_frame * ROOM)()


class Reader(ctypes.Structure):
    """struct reader of reader.c"""

    _fields_ = [
        ("reads", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("refuse_first", ctypes.c_uint64),
        ("refuse_last", ctypes.c_uint64),
        ("pages", ctypes.c_void_p),
        ("page_room", ctypes.c_uint64),
        ("page_count", ctypes.c_uint64),
    ]

    def begin(self, refuse_first=0, refuse_last=0):
        """Count anew, and refuse these reads."""
        self.reads = self.bytes = 0
        self.refuse_first, self.refuse_last = refuse_first, refuse_last

    def refused(self):
        return bool(self.refuse_first) and self.reads >= self.refuse_first

    def record(self, room=8192):
        """Note the pages that are read from here on."""
        self._pages = (ctypes.c_uint64 * room)()
        self.pages, self.page_room, self.page_count = ctypes.addressof(self._pages), room, 0

    def recorded(self):
        return sorted(self._pages[: self.page_count])


_READ = ctypes.CDLL(compile_shared("reader", os.path.join(os.path.dirname(os.path.abspath(__file__)), "reader.c"),
                                   pyunwind=True))["read_counted"]


def image_of(info, reader=None, segments=(), may_change=0, code_type=None, read=_READ):
    """pyunw_image of the own process: info as pyunw.describe_target() gave it. reader: the context of read."""
    image = pyunw.pyunw_image(
        size=ctypes.sizeof(pyunw.pyunw_image),
        may_change=may_change,
        runtime=info.runtime,
        version=info.version,
        free_threaded=info.free_threaded,
        code_type=info.code_type if code_type is None else code_type,
    )
    if reader is not None:
        image.read = ctypes.cast(read, pyunw.pyunw_read_function)
        image.context = ctypes.addressof(reader)
    if segments:
        image.segments = (pyunw.pyunw_segment * len(segments))(*segments)
        image.segment_count = len(segments)
    image.kept = (reader, segments)  # borrowed by the target
    return image


def open_image(image):
    """(target, error)"""
    target = pyunw.pyunw_target()
    target.kept = image
    return target, pyunw.lib.pyunw_open_image(target, image, None)


def segments_of(pages):
    """Copies of pages of the own process, adjoining ones as one: [pyunw_segment]."""
    runs = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page:
            runs[-1][1] = page + PAGE
        else:
            runs.append([page, page + PAGE])
    return [segment(begin, pyunw.bytes_at(begin, end - begin)) for begin, end in runs]


def segment(address, data):
    made = pyunw.pyunw_segment(address=address, size=len(data))
    made.kept = ctypes.create_string_buffer(data, len(data))
    made.bytes = ctypes.addressof(made.kept)
    return made


# ---- What was captured ----


class Frame:
    """A captured frame as Python values."""

    TEXTS = (
        ("filename", pyunw.PYUNW_FILENAME_UNREADABLE, pyunw.PYUNW_FILENAME_TRUNCATED),
        ("name", pyunw.PYUNW_NAME_UNREADABLE, pyunw.PYUNW_NAME_TRUNCATED),
        ("qualname", pyunw.PYUNW_QUALNAME_UNREADABLE, pyunw.PYUNW_QUALNAME_TRUNCATED),
    )
    UNREADABLE = (pyunw.PYUNW_FILENAME_UNREADABLE | pyunw.PYUNW_NAME_UNREADABLE | pyunw.PYUNW_QUALNAME_UNREADABLE
                  | pyunw.PYUNW_POSITION_UNREADABLE)

    def __init__(self, frame):
        self.raw = raw_values(frame.raw)
        self.flags = frame.flags
        self.texts = [frame.text(field) for field, _, _ in self.TEXTS]
        position = frame.position
        self.position = (position.lineno, position.end_lineno, position.colno, position.end_colno)

    def differs(self, true, caller_unread=False):
        """Why this is not `true` with some parts flagged as unreadable; None where it is."""
        why = differs_raw(self.raw, true.raw, caller_unread)
        if why:
            return why
        for text, whole, (field, unreadable, truncated) in zip(self.texts, true.texts, self.TEXTS):
            if self.flags & unreadable:
                if text or self.flags & truncated:
                    return "%s is called unreadable, but is %r" % (field, text)
            elif text != whole or (self.flags ^ true.flags) & truncated:
                return "%s is %r, not %r" % (field, text, whole)
        if self.flags & pyunw.PYUNW_POSITION_UNREADABLE:
            if self.position != (-1, -1, -1, -1):
                return "the position is called unreadable, but is %s" % (self.position,)
        elif self.position != true.position:
            return "position %s, not %s" % (self.position, true.position)
        return None


def raw_values(raw):
    return tuple(getattr(raw, name) for name in RAW_FIELDS)


TOLD_BY_NAME = (pyunw.PYUNW_FRAME_MODULE, pyunw.PYUNW_FRAME_CLASS)
RAW_FIELDS = ("code", "frame", "offset", "kind", "flags", "reserved")


def differs_raw(raw, true, caller_unread):
    """Why a raw frame is not `true`, as far as it could be read; None where it is."""
    for name, value, right in zip(RAW_FIELDS, raw, true):
        if value == right:
            continue
        if name == "flags" and caller_unread and value == right & ~pyunw.PYUNW_FRAME_ENTRY:
            continue
        if name == "kind" and value == pyunw.PYUNW_FRAME_UNKNOWN and right in TOLD_BY_NAME:
            continue
        return "%s is %#x, not %#x" % (name, value, right)
    return None


class Answer:
    """What pyunw_capture or pyunw_walk answered."""

    def __init__(self, count, status, frames):
        self.count, self.frames = count, frames
        self.end, self.depth, self.address = status.end, status.depth, status.address
        self.unconfirmed, self.undescribed = status.unconfirmed, status.undescribed
        self.error = min(count, 0)

    def __str__(self):
        if self.error:
            return pyunw.lib.pyunw_strerror(self.error).decode()
        return "%d frames, %s at depth %d, address %#x, %d unconfirmed, %d undescribed" % (
            self.count, pyunw.lib.pyunw_end_name(self.end).decode(), self.depth, self.address, self.unconfirmed,
            self.undescribed)


def capture(target, tstate, max=ROOM):
    status = pyunw.pyunw_status()
    count = pyunw.lib_holding_gil.pyunw_capture(target, tstate, FRAMES, max, status)
    return Answer(count, status, [Frame(frame) for frame in FRAMES[: max_of(count)]])


def walk(target, tstate, max=ROOM):
    status = pyunw.pyunw_status()
    count = pyunw.lib_holding_gil.pyunw_walk(target, tstate, RAW, max, status)
    return Answer(count, status, [raw_values(raw) for raw in RAW[: max_of(count)]])


def max_of(count):
    return count if count > 0 else 0


# What an answer must be where the thread's stack is `true`, but not all of it could be read. The result is what is
# wrong with it, or None.

READ_ERRORS = (pyunw.PYUNW_ERR_FAULT, pyunw.PYUNW_ERR_CORRUPT, pyunw.PYUNW_ERR_LAYOUT, pyunw.PYUNW_ERR_TORN)
PARTIAL = (pyunw.PYUNW_CORRUPT, pyunw.PYUNW_TORN)


def wrong_with(answer, true, may_change=False, described=True):
    if answer.error:
        return None if answer.error in READ_ERRORS else "error %d" % answer.error
    first = answer.unconfirmed if may_change else 0
    if answer.end in PARTIAL and answer.unconfirmed:
        # 3.11, 3.12: the frame of an evaluation loop could not be had, but that of a loop outside of it.
        first = len(true.frames) - answer.count
    if answer.end == pyunw.PYUNW_TORN and not may_change:
        return "called torn, in memory that does not change"
    cut_short = answer.end in PARTIAL
    if first + answer.count > len(true.frames):
        return "more frames than there are"
    for number, (frame, right) in enumerate(zip(answer.frames, true.frames[first:])):
        # Of the frame whose caller could not be read, nobody knows whether C called it.
        caller_unread = cut_short and number + 1 == answer.count
        why = frame.differs(right, caller_unread) if described else differs_raw(frame, right.raw, caller_unread)
        if why:
            return "frame %d: %s" % (number, why)
    if described:
        flagged = sum(1 for frame in answer.frames if frame.flags & Frame.UNREADABLE)
        if answer.undescribed != flagged:
            return "%d frames are flagged" % flagged
    if not may_change and answer.unconfirmed and answer.end != pyunw.PYUNW_CORRUPT:
        return "frames are unconfirmed in memory that does not change"
    if answer.count < len(true.frames) and not (may_change and first + answer.count == len(true.frames)):
        if answer.end not in PARTIAL:
            return "%d of %d frames, but not called corrupt or torn" % (answer.count, len(true.frames))
        if answer.depth != answer.count:
            return "the depth is not where the frames end"
    elif answer.end not in (pyunw.PYUNW_COMPLETE,) + PARTIAL:
        return "all frames, but the end is %d" % answer.end
    return None
