"""
What the interpreter itself says of a stack: the frames of traceback.walk_stack(), each with all that pyunwind tells
of a frame.
"""

import collections
import sys
import traceback

import pyunw

HAS_COLUMNS = sys.version_info >= (3, 11)
HAS_QUALNAME = sys.version_info >= (3, 11)
FRAME_IS_OBJECT = sys.version_info < (3, 11)
UNKNOWN = -1

CO_FUNCTION = 0x1 | 0x2  # CO_OPTIMIZED, CO_NEWLOCALS
CO_GENERATOR = 0x20
CO_COROUTINE = 0x80
CO_ASYNC_GENERATOR = 0x200

ExpectedFrame = collections.namedtuple("ExpectedFrame", "code frame_object offset lineno position kind")


def kind_of(code):
    if code.co_flags & CO_GENERATOR:
        return pyunw.PYUNW_FRAME_GENERATOR
    if code.co_flags & CO_COROUTINE:
        return pyunw.PYUNW_FRAME_COROUTINE
    if code.co_flags & CO_ASYNC_GENERATOR:
        return pyunw.PYUNW_FRAME_ASYNC_GENERATOR
    if code.co_flags & CO_FUNCTION == CO_FUNCTION:
        return pyunw.PYUNW_FRAME_FUNCTION
    return pyunw.PYUNW_FRAME_MODULE if code.co_name == "<module>" else pyunw.PYUNW_FRAME_CLASS


_positions = {}  # id of a code object: the code object, so that it lives on, and its positions


def positions_of(code):
    """(line, end line, column, end column) of every code unit (3.11+)."""
    if id(code) not in _positions:
        known = [tuple(UNKNOWN if n is None else n for n in position) for position in code.co_positions()]
        _positions[id(code)] = code, known
    return _positions[id(code)][1]


def position_at(code, offset, lineno):
    if not HAS_COLUMNS or offset < 0:
        return lineno, UNKNOWN, UNKNOWN, UNKNOWN
    return positions_of(code)[offset // 2]


def expected_stack(innermost):
    """Of a frame object and its callers, innermost first."""
    stack = []
    for frame, lineno in traceback.walk_stack(innermost):
        code = frame.f_code
        lineno = UNKNOWN if lineno is None else lineno
        position = position_at(code, frame.f_lasti, lineno)
        stack.append(ExpectedFrame(code, frame, frame.f_lasti, lineno, position, kind_of(code)))
    return stack


# ---- Text -----------------------------------------------------------------------------------------------------------


def as_utf8(text):
    """A lone surrogate as \\udcxx; a str subclass as its characters."""
    return str.encode(text, "utf-8", "backslashreplace")


def cut_to_fit(text, size, keep_end):
    """(what of a text fits into a buffer of size bytes with its NUL, as bytes; whether it was cut)"""
    text = str.__str__(text)
    near = text[-size:] if keep_end else text[:size]  # no character takes less than a byte
    room = size - 1
    kept = []
    for character in reversed(near) if keep_end else near:
        character = as_utf8(character)
        if len(character) > room:
            break
        room -= len(character)
        kept.append(character)
    return b"".join(reversed(kept) if keep_end else kept), len(kept) < len(text)


def text_fields(code):
    """(field of pyunw_frame, its text, its size, whether its end is kept, its flag)"""
    qualname = code.co_qualname if HAS_QUALNAME else code.co_name
    return (
        ("filename", code.co_filename, pyunw.PYUNW_FILENAME_SIZE, True, pyunw.PYUNW_FILENAME_TRUNCATED),
        ("name", code.co_name, pyunw.PYUNW_NAME_SIZE, False, pyunw.PYUNW_NAME_TRUNCATED),
        ("qualname", qualname, pyunw.PYUNW_QUALNAME_SIZE, False, pyunw.PYUNW_QUALNAME_TRUNCATED),
    )


# ---- Comparison -----------------------------------------------------------------------------------------------------


def differences_of_raw(raw, expected, innermost_runs):
    """What a raw frame says otherwise than the interpreter; of a running innermost frame the offset cannot be known."""
    if raw.code != id(expected.code):
        yield "code 0x%x, expected 0x%x" % (raw.code, id(expected.code))
    if FRAME_IS_OBJECT and raw.frame != id(expected.frame_object):
        yield "frame 0x%x, expected 0x%x" % (raw.frame, id(expected.frame_object))
    if raw.offset != expected.offset and not innermost_runs:
        yield "offset %d, expected %d" % (raw.offset, expected.offset)
    if raw.kind != expected.kind:
        yield "kind %d, expected %d" % (raw.kind, expected.kind)
    if raw.reserved != 0:
        yield "reserved is %d" % raw.reserved


def differences_of_frame(frame, expected, innermost_runs=False):
    """What a described frame says otherwise than the interpreter."""
    code = expected.code
    yield from differences_of_raw(frame.raw, expected, innermost_runs)
    flags = 0 if HAS_QUALNAME else pyunw.PYUNW_QUALNAME_IS_NAME
    for field, text, size, keep_end, flag in text_fields(code):
        wanted, cut = cut_to_fit(text, size, keep_end)
        flags |= flag if cut else 0
        got = frame.text(field).encode()
        if got != wanted:
            yield "%s %r, expected %r" % (field, got, wanted)
    if frame.flags != flags:
        yield "flags %d, expected %d" % (frame.flags, flags)
    if frame.position.lineno != expected.lineno:
        yield "line %d, expected %d" % (frame.position.lineno, expected.lineno)
    position = expected.position
    if innermost_runs:  # at another instruction of that line
        position = position_at(code, frame.raw.offset, expected.lineno)
    got = tuple(getattr(frame.position, field) for field, _ in frame.position._fields_)
    if got != position:
        yield "position %s, expected %s" % (got, position)


def differences_of_status(status, count):
    """A stack that was read whole."""
    if status.end != pyunw.PYUNW_COMPLETE:
        yield "%s at depth %d, address 0x%x" % (
            pyunw.lib.pyunw_end_name(status.end).decode(),
            status.depth,
            status.address,
        )
    elif (status.depth, status.address, status.unconfirmed, status.undescribed) != (count, 0, 0, 0):
        yield "complete, %d frames, but status %s" % (
            count,
            {field: getattr(status, field) for field, _ in status._fields_},
        )
