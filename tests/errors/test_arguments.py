# interpreters: each
"""
Every public function of pyunwind.h with NULL, zero, negative, closed, never-opened and meaningless arguments: the
documented code, and never a crash (this process would die of it). The oracle is the header's @return.
"""

import ctypes
import mmap
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from pyunw import PYUNW_ERR_ARGUMENT as ARGUMENT, PYUNW_ERR_CORRUPT as CORRUPT, PYUNW_ERR_FAULT as FAULT
from pyunw import PYUNW_ERR_NO_THREAD as NO_THREAD, PYUNW_ERR_NOT_OPEN as NOT_OPEN, PYUNW_ERR_WRITE as WRITE

HEADER = os.path.join(os.environ["PYUNWIND_SOURCE"], "include", "pyunwind.h")
INT_MIN, INT_MAX = -2**31, 2**31 - 1

lib = pyunw.lib
is_finalizing = lib.dll["pyunw_is_finalizing"]
is_finalizing.argtypes = [ctypes.POINTER(pyunw.pyunw_target)]
checked = 0


def expect(result, wanted, what):
    global checked
    checked += 1
    assert result == wanted, "%s: %d (%s), expected %d" % (what, result, lib.pyunw_strerror(result).decode(), wanted)


# ---- Targets and cursors that are none ------------------------------------------------------------------------------


def garbage(kind, seed):
    """A structure full of bytes that nobody wrote on purpose."""
    thing = kind()
    data = random.Random(seed).getrandbits(8 * ctypes.sizeof(kind)).to_bytes(ctypes.sizeof(kind), "little")
    ctypes.memmove(ctypes.addressof(thing), data, len(data))
    return thing


def closed_target():
    target = pyunw.open_self()
    lib.pyunw_close(target)
    return target


def target_calls():
    """{function: call with a target, everything else being good}"""
    raw = pyunw.pyunw_raw_frame(code=id(expect.__code__))
    frames, raws = (pyunw.pyunw_frame * 4)(), (pyunw.pyunw_raw_frame * 4)()
    error = ValueError()
    exception = pyunw.pyunw_exception(object=id(error), type=id(ValueError))
    status, addr, room = pyunw.pyunw_status(), pyunw.pyunw_addr(), ctypes.create_string_buffer(64)
    return {
        "pyunw_target_describe": lambda t: lib.pyunw_target_describe(t, pyunw.pyunw_target_info()),
        "pyunw_is_finalizing": lambda t: is_finalizing(t),
        "pyunw_threads_begin": lambda t: lib.pyunw_threads_begin(t, pyunw.pyunw_thread_cursor()),
        "pyunw_current_thread": lambda t: lib.pyunw_current_thread(t, addr),
        "pyunw_thread_find": lambda t: lib.pyunw_thread_find(t, 4096, None),
        "pyunw_walk": lambda t: lib.pyunw_walk(t, 0, raws, 4, status),
        "pyunw_frames_begin": lambda t: lib.pyunw_frames_begin(t, 0, pyunw.pyunw_frame_cursor()),
        "pyunw_describe": lambda t: lib.pyunw_describe(t, raw, frames[0]),
        "pyunw_describe_into": lambda t: lib.pyunw_describe_into(t, raw, pyunw.pyunw_description()),
        "pyunw_find_position": lambda t: lib.pyunw_find_position(t, raw, pyunw.pyunw_position()),
        "pyunw_identify_code": lambda t: lib.pyunw_identify_code(t, raw.code, pyunw.pyunw_code_identity()),
        "pyunw_locals_begin": lambda t: lib.pyunw_locals_begin(t, raw, pyunw.pyunw_local_cursor()),
        "pyunw_namespace_begin": lambda t: lib.pyunw_namespace_begin(t, id(vars(os)), pyunw.pyunw_local_cursor()),
        "pyunw_describe_value": lambda t: lib.pyunw_describe_value(t, id(raw), None, room, 64, None),
        "pyunw_exception_find": lambda t: lib.pyunw_exception_find(t, 0, pyunw.pyunw_exception()),
        "pyunw_describe_exception": lambda t: lib.pyunw_describe_exception(t, exception, pyunw.pyunw_exception_text()),
        "pyunw_capture": lambda t: lib.pyunw_capture(t, 0, frames, 4, status),
        "pyunw_capture_current": lambda t: lib.pyunw_capture_current(t, frames, 4, status),
        "pyunw_write_text": lambda t: lib.pyunw_write_text(t, 1, 0),
        "pyunw_write_text_threads": lambda t: lib.pyunw_write_text_threads(t, 1, 0, 0, 0),
        "pyunw_write_text_with": lambda t: lib.pyunw_write_text_with(t, 1, 0, None),
        "pyunw_write_text_threads_with": lambda t: lib.pyunw_write_text_threads_with(t, 1, None),
        "pyunw_write_json": lambda t: lib.pyunw_write_json(t, 1, 0),
        "pyunw_write_json_threads": lambda t: lib.pyunw_write_json_threads(t, 1),
    }


# Those that take no open target: checked one by one below.
OTHERS = {"pyunw_strerror", "pyunw_open_self", "pyunw_open_image", "pyunw_close", "pyunw_trap_install",
          "pyunw_trap_remove", "pyunw_threads_next", "pyunw_end_name", "pyunw_frames_next", "pyunw_frames_end",
          "pyunw_locals_next", "pyunw_locals_end"}


def check_targets():
    calls = target_calls()
    with open(HEADER, encoding="utf-8") as file:
        declared = set(re.findall(r"^PYUNW_API [^;]*?(pyunw_\w+)\(", file.read(), flags=re.M))
    assert declared == set(calls) | OTHERS, "not called by this test: %s" % (declared ^ (set(calls) | OTHERS))
    for name, call in calls.items():
        expect(call(None), ARGUMENT, name + "(NULL)")
        expect(call(pyunw.pyunw_target()), NOT_OPEN, name + "(zeroed target)")
        expect(call(closed_target()), NOT_OPEN, name + "(closed target)")
        for seed in range(10):
            expect(call(garbage(pyunw.pyunw_target, seed)), NOT_OPEN, name + "(meaningless target)")
    lib.pyunw_close(None)
    lib.pyunw_close(pyunw.pyunw_target())
    lib.pyunw_close(garbage(pyunw.pyunw_target, 0))
    target = closed_target()
    lib.pyunw_close(target)
    expect(lib.pyunw_open_self(target, None), 0, "a closed target opened again")
    expect(lib.pyunw_open_self(target, None), 0, "an open target opened again")
    target = garbage(pyunw.pyunw_target, 1)
    expect(lib.pyunw_open_self(target, None), 0, "a meaningless target opened")
    expect(lib.pyunw_open_self(None, None), ARGUMENT, "pyunw_open_self(NULL)")


def check_cursors():
    thread, raw, status = pyunw.pyunw_thread(), pyunw.pyunw_raw_frame(), pyunw.pyunw_status()
    target = pyunw.open_self()
    for kind, calls in ((pyunw.pyunw_thread_cursor, [lambda c: lib.pyunw_threads_next(c, thread)]),
                        (pyunw.pyunw_frame_cursor, [lambda c: lib.pyunw_frames_next(c, raw),
                                                    lambda c: lib.pyunw_frames_end(c, status)]),
                        (pyunw.pyunw_local_cursor, [lambda c: lib.pyunw_locals_next(c, pyunw.pyunw_local()),
                                                    lambda c: lib.pyunw_locals_end(c)])):
        for call in calls:
            expect(call(None), ARGUMENT, "a NULL cursor")
            expect(call(kind()), NOT_OPEN, "a zeroed cursor")
            for seed in range(10):
                expect(call(garbage(kind, seed)), NOT_OPEN, "a meaningless cursor")
    # Of the other kind: a cursor of threads is none of frames.
    threads = pyunw.pyunw_thread_cursor()
    expect(lib.pyunw_threads_begin(target, threads), 0, "pyunw_threads_begin")
    as_frames = ctypes.cast(ctypes.pointer(threads), ctypes.POINTER(pyunw.pyunw_frame_cursor))
    expect(lib.pyunw_frames_next(as_frames, raw), NOT_OPEN, "a cursor of the other kind")
    expect(lib.pyunw_threads_next(threads, None), ARGUMENT, "pyunw_threads_next(cursor, NULL)")
    while lib.pyunw_threads_next(threads, thread) == 1:
        pass
    expect(lib.pyunw_threads_next(threads, thread), 0, "pyunw_threads_next() after the end")
    expect(lib.pyunw_threads_begin(target, None), ARGUMENT, "pyunw_threads_begin(target, NULL)")
    frames = pyunw.pyunw_frame_cursor()
    expect(lib.pyunw_frames_begin(target, 0, frames), 0, "pyunw_frames_begin")
    expect(lib.pyunw_frames_next(frames, None), ARGUMENT, "pyunw_frames_next(cursor, NULL)")
    expect(lib.pyunw_frames_end(frames, None), ARGUMENT, "pyunw_frames_end(cursor, NULL)")
    while lib.pyunw_frames_next(frames, raw) == 1:
        pass
    expect(lib.pyunw_frames_next(frames, raw), 0, "pyunw_frames_next() after the end")
    expect(lib.pyunw_frames_begin(target, 0, None), ARGUMENT, "pyunw_frames_begin(target, 0, NULL)")
    frames = pyunw.pyunw_frame_cursor()
    expect(lib.pyunw_frames_begin(target, 1 << 46, frames), FAULT, "pyunw_frames_begin(target, unmapped)")
    expect(lib.pyunw_frames_next(frames, raw), NOT_OPEN, "a cursor whose beginning failed")
    expect(lib.pyunw_frames_end(frames, status), NOT_OPEN, "a cursor whose beginning failed")


def end_of_caller(target, cursor, offset=0):
    raw = pyunw.walk(target)[0][2]
    raw.offset += offset
    pyunw.check(lib.pyunw_locals_begin(target, raw, cursor))
    return lib.pyunw_locals_end(cursor)


def check_local_cursors():
    target, local, cursor = pyunw.open_self(), pyunw.pyunw_local(), pyunw.pyunw_local_cursor()
    raw = pyunw.walk(target)[0][1]  # this function
    expect(lib.pyunw_locals_begin(target, None, cursor), ARGUMENT, "pyunw_locals_begin(target, NULL, cursor)")
    expect(lib.pyunw_locals_begin(target, raw, None), ARGUMENT, "pyunw_locals_begin(target, raw, NULL)")
    expect(lib.pyunw_locals_begin(target, raw, cursor), 0, "pyunw_locals_begin")
    expect(lib.pyunw_locals_next(cursor, None), ARGUMENT, "pyunw_locals_next(cursor, NULL)")
    names = []
    while lib.pyunw_locals_next(cursor, local) == 1:
        names.append(local.text())
    assert tuple(names) == check_local_cursors.__code__.co_varnames, names
    expect(lib.pyunw_locals_next(cursor, local), 0, "pyunw_locals_next() after the end")
    expect(lib.pyunw_locals_end(cursor), pyunw.PYUNW_ERR_TORN, "pyunw_locals_end() of a frame that has moved on")
    expect(end_of_caller(target, cursor), 0, "pyunw_locals_end() of a frame that stands still")
    expect(end_of_caller(target, cursor, 2), pyunw.PYUNW_ERR_TORN, "of one that moved on before")
    other = pyunw.pyunw_raw_frame(code=id(expect.__code__), frame=raw.frame)
    expect(lib.pyunw_locals_begin(target, other, cursor), pyunw.PYUNW_ERR_TORN, "a frame of another code object")
    expect(lib.pyunw_locals_next(cursor, local), NOT_OPEN, "a cursor whose beginning failed")
    for address in BAD_ADDRESSES:
        for bad in (pyunw.pyunw_raw_frame(code=raw.code, frame=address), pyunw.pyunw_raw_frame(code=address, frame=raw.frame)):
            result = lib.pyunw_locals_begin(target, bad, cursor)
            assert result in (CORRUPT, FAULT), "pyunw_locals_begin, %#x: %d" % (address, result)


# ---- The other arguments --------------------------------------------------------------------------------------------


def check_outputs(target):
    raw = pyunw.pyunw_raw_frame(code=id(expect.__code__))
    frames, raws = (pyunw.pyunw_frame * 4)(), (pyunw.pyunw_raw_frame * 4)()
    status = pyunw.pyunw_status()
    expect(lib.pyunw_target_describe(target, None), ARGUMENT, "pyunw_target_describe(target, NULL)")
    expect(lib.pyunw_current_thread(target, None), ARGUMENT, "pyunw_current_thread(target, NULL)")
    expect(lib.pyunw_thread_find(target, pyunw.current_thread(target), None), 0, "pyunw_thread_find(target, own, NULL)")
    for name, call in (("describe", lib.pyunw_describe), ("describe_into", lib.pyunw_describe_into),
                       ("find_position", lib.pyunw_find_position)):
        expect(call(target, raw, None), ARGUMENT, "pyunw_%s(target, raw, NULL)" % name)
    expect(lib.pyunw_describe(target, None, frames[0]), ARGUMENT, "pyunw_describe(target, NULL, frame)")
    expect(lib.pyunw_describe_into(target, None, pyunw.pyunw_description()), ARGUMENT, "pyunw_describe_into(.. NULL)")
    expect(lib.pyunw_find_position(target, None, pyunw.pyunw_position()), ARGUMENT, "pyunw_find_position(.. NULL)")
    expect(lib.pyunw_identify_code(target, raw.code, None), ARGUMENT, "pyunw_identify_code(target, code, NULL)")
    for name, call, array in (("pyunw_walk", lambda *a: lib.pyunw_walk(target, 0, *a), raws),
                              ("pyunw_capture", lambda *a: lib.pyunw_capture(target, 0, *a), frames),
                              ("pyunw_capture_current", lambda *a: lib.pyunw_capture_current(target, *a), frames)):
        for maximum in (-1, -4, INT_MIN):
            expect(call(array, maximum, status), ARGUMENT, "%s, max %d" % (name, maximum))
        expect(call(None, 1, status), ARGUMENT, name + " without an array")
        expect(call(None, 0, None), 0, name + " without anything")
        status.end = 99
        expect(call(None, 0, status), 0, name + " without an array")
        assert status.end == pyunw.PYUNW_TRUNCATED, (name, status.end)
        expect(call(array, 1, None), 1, name + " without a status")


def check_description_sizes(target):
    raw = pyunw.pyunw_raw_frame(code=id(expect.__code__))
    for field in ("filename", "name", "qualname"):
        description = pyunw.pyunw_description()
        getattr(description, field).size = 1
        expect(lib.pyunw_describe_into(target, raw, description), ARGUMENT, field + " of size 1 at NULL")
    description = pyunw.pyunw_description()
    expect(lib.pyunw_describe_into(target, raw, description), 0, "pyunw_describe_into() without room")
    assert description.name.whole == len("expect") and description.name.length == 0
    buffer = ctypes.create_string_buffer(b"\xee\xee")
    description.name.data, description.name.size = ctypes.addressof(buffer), 0
    expect(lib.pyunw_describe_into(target, raw, description), 0, "pyunw_describe_into() with room for nothing")
    assert buffer.raw == b"\xee\xee\0"
    description.name.size = 1
    expect(lib.pyunw_describe_into(target, raw, description), 0, "pyunw_describe_into() with room for a NUL")
    assert buffer.raw == b"\0\xee\0" and description.name.whole == len("expect") and description.name.length == 0


def unmapped_address():
    """An address that was mapped a moment ago; nothing is mapped meanwhile."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory.close()
    return address


BAD_ADDRESSES = [1, 7, 8, 4095, 4096, 1 << 46, (1 << 46) + 1, 1 << 47, 1 << 56, 1 << 63, 2**64 - 8, 2**64 - 1,
                 0xdddddddddddddddd, 0xcdcdcdcdcdcdcdcd]


def check_addresses(target):
    frames, raws = (pyunw.pyunw_frame * 4)(), (pyunw.pyunw_raw_frame * 4)()
    status, thread = pyunw.pyunw_status(), pyunw.pyunw_thread()
    for address in BAD_ADDRESSES:
        what = "%#x" % address
        expect(lib.pyunw_thread_find(target, address, thread), NO_THREAD, "pyunw_thread_find, " + what)
        expect(lib.pyunw_capture(target, address, frames, 4, status), FAULT, "pyunw_capture, " + what)
        expect(lib.pyunw_walk(target, address, raws, 4, status), FAULT, "pyunw_walk, " + what)
        expect(lib.pyunw_frames_begin(target, address, pyunw.pyunw_frame_cursor()), FAULT, "frames_begin, " + what)
        expect(lib.pyunw_exception_find(target, address, pyunw.pyunw_exception()), FAULT, "exception_find, " + what)
        expect(lib.pyunw_write_text(target, 1, address), FAULT, "pyunw_write_text, " + what)
        expect(lib.pyunw_write_json(target, 1, address), FAULT, "pyunw_write_json, " + what)
        expect(lib.pyunw_write_text_threads(target, 1, address, 0, 0), NO_THREAD, "write_text_threads, " + what)
    expect(lib.pyunw_thread_find(target, 0, thread), NO_THREAD, "pyunw_thread_find, 0")
    expect(lib.pyunw_thread_find(target, pyunw.current_thread(target) + 8, thread), NO_THREAD, "inside a thread state")


def check_exceptions(target):
    """Types that are none of exceptions; objects that are not exceptions are told as such."""
    error, text = pyunw.pyunw_exception(object=id(1), type=id(ValueError)), pyunw.pyunw_exception_text()
    expect(lib.pyunw_exception_find(target, 0, None), ARGUMENT, "pyunw_exception_find(target, 0, NULL)")
    expect(lib.pyunw_describe_exception(target, None, text), ARGUMENT, "pyunw_describe_exception(target, NULL)")
    expect(lib.pyunw_describe_exception(target, error, None), ARGUMENT, "pyunw_describe_exception(target, e, NULL)")
    for address in [0] + BAD_ADDRESSES + [id(1), id(int), id(expect)]:
        result = lib.pyunw_describe_exception(target, pyunw.pyunw_exception(object=id(1), type=address), text)
        expect(result, CORRUPT if result == CORRUPT else FAULT, "pyunw_describe_exception, type %#x" % address)
        assert text.text("type") == text.text("message") == ""
    for address in [0] + BAD_ADDRESSES:
        error.object = address
        expect(lib.pyunw_describe_exception(target, error, text), 0, "pyunw_describe_exception, %#x" % address)
        assert text.text("type") == "ValueError" and text.text("message") == "<unreadable>", text.text("message")
        assert text.flags == pyunw.PYUNW_EXCEPTION_MESSAGE_UNREADABLE


def check_code_addresses(target, direct):
    """Code objects that are none. Plain loads read what they are given, but refuse what no object's address can be."""
    frame, position = pyunw.pyunw_frame(), pyunw.pyunw_position()
    text = ctypes.create_string_buffer(4096)
    readable = (ctypes.addressof(text) + 7) & ~7
    for address in [0] + BAD_ADDRESSES + [readable, id("no code object"), id(pyunw), id(object)]:
        implausible = address % 8 != 0 or address < 4096 or address >= 1 << 56
        if direct and address in BAD_ADDRESSES and not implausible:
            continue
        raw = pyunw.pyunw_raw_frame(code=address)
        calls = {"pyunw_describe": lambda: lib.pyunw_describe(target, raw, frame),
                 "pyunw_describe_into": lambda: lib.pyunw_describe_into(target, raw, pyunw.pyunw_description()),
                 "pyunw_find_position": lambda: lib.pyunw_find_position(target, raw, position),
                 "pyunw_identify_code": lambda: lib.pyunw_identify_code(target, address, pyunw.pyunw_code_identity())}
        for name, call in calls.items():
            ctypes.memset(ctypes.addressof(frame), 0xee, ctypes.sizeof(frame))
            result = call()
            wanted = (CORRUPT, FAULT) if address in BAD_ADDRESSES else (CORRUPT,)
            assert result in wanted, "%s, code %#x: %d" % (name, address, result)
            assert bytes(frame) == b"\xee" * ctypes.sizeof(frame), "%s wrote a frame and failed" % name
            global checked
            checked += 1


def check_offsets(target):
    """Instruction offsets that the code object does not have: no line but -1 or the first."""
    code = expect.__code__
    for offset in (INT_MIN, INT_MIN + 1, -3, -2, -1, 1, len(code.co_code), len(code.co_code) + 2, INT_MAX - 1, INT_MAX):
        raw = pyunw.pyunw_raw_frame(code=id(code), offset=offset)
        position = pyunw.pyunw_position()
        expect(lib.pyunw_find_position(target, raw, position), 0, "pyunw_find_position, offset %d" % offset)
        if offset < 0:
            assert position.lineno == code.co_firstlineno, (offset, position.lineno)
        frame = pyunw.pyunw_frame()
        expect(lib.pyunw_describe(target, raw, frame), 0, "pyunw_describe, offset %d" % offset)
        assert frame.position.lineno == position.lineno and frame.text("name") == "expect", offset


def check_thread_states_of_nonsense(target, direct):
    """Readable memory that is no thread state: an error or an end that is one, and no more frames than asked for."""
    frames = (pyunw.pyunw_frame * 4)()
    status = pyunw.pyunw_status()
    size = 4096
    memory = ctypes.create_string_buffer(size + 16)
    base = (ctypes.addressof(memory) + 15) & ~15
    source = random.Random(3)
    own = pyunw.bytes_at(pyunw.current_thread(target), 200)
    for turn in range(200):
        if turn % 4 == 0:
            words = source.getrandbits(8 * size).to_bytes(size, "little")
        elif turn % 4 == 1:  # pointers into itself
            words = b"".join((base + 8 * source.randrange(size // 8)).to_bytes(8, "little") for _ in range(size // 8))
        elif turn % 4 == 2:  # pointers to objects, and small numbers
            some = [id(expect), id(expect.__code__), id(pyunw), 0, 1, 2, base]
            words = b"".join(source.choice(some).to_bytes(8, "little") for _ in range(size // 8))
        elif direct:  # which trusts what says that it is the calling thread's own
            continue
        else:  # the own thread state, with some words of it changed
            changed = bytearray(own.ljust(size, b"\0"))
            for _ in range(source.randrange(1, 6)):
                at = 8 * source.randrange(len(own) // 8)
                changed[at:at + 8] = source.choice([base, id(expect), 1 << 46, 0, 8]).to_bytes(8, "little")
            words = bytes(changed)
        ctypes.memmove(base, words, size)
        for call in (lib.pyunw_capture, pyunw.lib_holding_gil.pyunw_capture):
            result = call(target, base, frames, 4, status)
            assert -14 <= result <= 4, result
            assert result < 0 or pyunw.PYUNW_COMPLETE <= status.end <= pyunw.PYUNW_NO_FRAME, status.end
        assert -14 <= lib.pyunw_exception_find(target, base, pyunw.pyunw_exception()) <= 1
        global checked
        checked += 2


def check_writers(target):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    writers = {
        "pyunw_write_text": lambda fd: lib.pyunw_write_text(target, fd, 0),
        "pyunw_write_text_threads": lambda fd: lib.pyunw_write_text_threads(target, fd, 0, 0, 0),
        "pyunw_write_json": lambda fd: lib.pyunw_write_json(target, fd, 0),
        "pyunw_write_json_threads": lambda fd: lib.pyunw_write_json_threads(target, fd),
    }
    for name, write in writers.items():
        expect(write(writer), 0, name)
        assert os.read(reader, 1 << 16)
        for fd in (-1, INT_MIN, INT_MAX, reader):
            expect(write(fd), WRITE, "%s to descriptor %d" % (name, fd))
    for maximum in (-1, INT_MIN):
        expect(lib.pyunw_write_text_threads(target, writer, 0, 0, maximum), ARGUMENT, "max_threads %d" % maximum)
    for current in BAD_ADDRESSES:  # marks nothing
        expect(lib.pyunw_write_text_threads(target, writer, 0, current, 0), 0, "current %#x" % current)
        assert b"Current" not in os.read(reader, 1 << 16)
    try:
        while True:
            os.write(writer, b"\n" * 4096)
    except BlockingIOError:
        pass
    for name, write in writers.items():
        expect(write(writer), WRITE, name + " to a full pipe")
    os.close(reader)
    for name, write in writers.items():  # Python ignores SIGPIPE
        expect(write(writer), WRITE, name + " to a pipe without a reader")
    os.close(writer)


# ---- Options and images ---------------------------------------------------------------------------------------------


def options(**fields):
    return pyunw.pyunw_options(**dict({"size": ctypes.sizeof(pyunw.pyunw_options)}, **fields))


def open_with(**fields):
    """(code, message) of pyunw_open_self() with these options."""
    message = ctypes.create_string_buffer(b"\xee" * 200, 200)
    target = pyunw.pyunw_target()
    chosen = options(message=ctypes.addressof(message), message_size=len(message), **fields)
    result = lib.pyunw_open_self(target, chosen)
    if result < 0:
        assert bytes(target) == bytes(ctypes.sizeof(target)), "the target is left open"
    return result, message.raw.split(b"\0")[0].decode(errors="replace")


def check_options():
    size = ctypes.sizeof(pyunw.pyunw_options)
    first = pyunw.pyunw_options.room.offset  # the first release's structure ended there
    for wrong in (0, 1, 8, first - 8, first - 1):
        result, _ = open_with(size=wrong)
        expect(result, ARGUMENT, "options of size %d" % wrong)
    for right in (first, first + 8, size):
        result, _ = open_with(size=right)
        expect(result, 0, "options of size %d" % right)
    result, _ = open_with(size=size + 64)
    expect(result, 0, "options of a later version, longer")
    for memory in (-1, INT_MIN, pyunw.PYUNW_MEMORY_IMAGE, pyunw.PYUNW_MEMORY_IMAGE + 1, INT_MAX):
        result, message = open_with(memory=memory)
        expect(result, ARGUMENT, "memory %d" % memory)
        assert "memory %d" % memory in message, message
    for guard in (-1, INT_MIN, pyunw.PYUNW_GUARD_PIPE + 1, INT_MAX):
        result, message = open_with(guard=guard)
        expect(result, ARGUMENT, "guard %d" % guard)
        assert "guard %d" % guard in message, message
    runtime = pyunw.describe_target(pyunw.open_self()).runtime
    for offset in (1, 2, 4, 7):
        result, message = open_with(runtime=runtime + offset)
        expect(result, ARGUMENT, "runtime misaligned by %d" % offset)
        assert "%#x" % (runtime + offset) in message, message
    for room in (1, 2, 10, 200):  # what does not fit is cut, and ends with a NUL
        message = ctypes.create_string_buffer(b"\xee" * 200, 200)
        chosen = options(memory=99, message=ctypes.addressof(message), message_size=room)
        expect(lib.pyunw_open_self(pyunw.pyunw_target(), chosen), ARGUMENT, "memory 99")
        text, rest = message.raw[:room], message.raw[room:]
        assert text.count(b"\0") >= 1 and rest == b"\xee" * (200 - room), message.raw
    message = ctypes.create_string_buffer(b"\xee" * 8, 8)
    chosen = options(memory=99, message=ctypes.addressof(message), message_size=0)
    expect(lib.pyunw_open_self(pyunw.pyunw_target(), chosen), ARGUMENT, "memory 99, no room for a message")
    assert message.raw == b"\xee" * 8
    expect(lib.pyunw_open_self(pyunw.pyunw_target(), options(memory=99, message_size=100)), ARGUMENT, "NULL message")


def check_runtimes_that_are_none():
    nothing = ctypes.create_string_buffer(1 << 20)
    zeroed = (ctypes.addressof(nothing) + 7) & ~7
    addresses = [8, 4096, unmapped_address(), 1 << 46, 1 << 63]
    # Before 3.13 nothing tells a runtime that was not initialized yet from zeroes, nor every other from nonsense.
    if sys.version_info >= (3, 13):
        addresses += [zeroed, id(pyunw), id(expect.__code__)]
    for address in addresses:
        result, message = open_with(runtime=address)
        wanted = (pyunw.PYUNW_ERR_NO_PYTHON,)
        assert result in wanted and message, "runtime %#x: %d, %r" % (address, result, message)


def check_options_at_the_end_of_memory():
    """An options structure of an older and shorter kind is read no further than its own size."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(base + page), ctypes.c_size_t(page), 0) == 0
    try:
        for size in (8, 16, 24, 32):
            place = base + page - size
            ctypes.c_size_t.from_address(place).value = size
            shorter = ctypes.cast(place, ctypes.POINTER(pyunw.pyunw_options))
            pid = os.fork()
            if pid == 0:
                code = lib.pyunw_open_self(pyunw.pyunw_target(), shorter)
                if code == ARGUMENT:
                    code = lib.pyunw_open_image(pyunw.pyunw_target(), pyunw.pyunw_image(), shorter)
                os._exit(0 if code == ARGUMENT else 1)
            status = os.waitpid(pid, 0)[1]
            expect(status, 0, "wait status of options of %d bytes before unreadable memory" % size)
    finally:
        libc.mprotect(ctypes.c_void_p(base + page), ctypes.c_size_t(page), 3)


def check_images():
    target = pyunw.pyunw_target()
    size = ctypes.sizeof(pyunw.pyunw_image)
    runtime = pyunw.describe_target(pyunw.open_self()).runtime

    def open_image(**fields):
        image = pyunw.pyunw_image(**dict({"size": size, "runtime": runtime}, **fields))
        result = lib.pyunw_open_image(target, image, None)
        if result < 0:
            expect(lib.pyunw_threads_begin(target, pyunw.pyunw_thread_cursor()), NOT_OPEN, "an image not opened")
        return result

    def refuse(context, address, buffer, count):
        return code

    good = pyunw.pyunw_image(size=size, runtime=runtime)
    expect(lib.pyunw_open_image(None, good, None), ARGUMENT, "pyunw_open_image(NULL)")
    expect(lib.pyunw_open_image(target, None, None), ARGUMENT, "pyunw_open_image(target, NULL)")
    first = pyunw.pyunw_image.renew.offset  # the first release's structure ended there
    for wrong in (0, 8, first - 1):
        expect(open_image(size=wrong), ARGUMENT, "image of size %d" % wrong)
    expect(open_image(size=first), FAULT, "an image of the first release's size")
    for wrong in (0, 1, 8, runtime + 4, 1 << 63, 2**64 - 8):
        expect(open_image(runtime=wrong), ARGUMENT, "image with runtime %#x" % wrong)
    expect(open_image(segment_count=1), ARGUMENT, "segments at NULL")
    expect(open_image(), FAULT, "an image of nothing")
    for code in (FAULT, pyunw.PYUNW_ERR_PERMISSION, -1000, INT_MIN):
        expect(open_image(read=pyunw.pyunw_read_function(refuse)), FAULT, "an image whose reader says %d" % code)
    segment = (pyunw.pyunw_segment * 1)(pyunw.pyunw_segment(address=runtime, size=0, bytes=None))
    expect(open_image(segments=segment, segment_count=1), FAULT, "an image of an empty segment")
    short = options(size=8)
    expect(lib.pyunw_open_image(target, good, short), ARGUMENT, "pyunw_open_image() with options of size 8")


# ---- Words ----------------------------------------------------------------------------------------------------------


def check_words():
    with open(HEADER, encoding="utf-8") as file:
        header = file.read()
    errors = {int(value): name for name, value in re.findall(r"^    (PYUNW_ERR_\w+) = (-\d+),", header, flags=re.M)}
    assert sorted(errors) == list(range(-len(errors), 0)) and len(errors) >= 14, errors
    words = {code: lib.pyunw_strerror(code).decode() for code in errors}
    assert len(set(words.values())) == len(words), "two codes have the same words"
    assert all(len(word) > 5 and word != "unknown error" and word != "success" for word in words.values()), words
    for code in (0, 1, 2, 100, INT_MAX):
        assert lib.pyunw_strerror(code) == b"success", code
    for code in (-len(errors) - 1, -100, -1000, INT_MIN, INT_MIN + 1):
        assert lib.pyunw_strerror(code) == b"unknown error", code
    ends = [lib.pyunw_end_name(end).decode() for end in range(5)]
    assert ends == ["complete", "truncated", "torn", "corrupt", "no frame"], ends
    for end in (-1, 5, 255, INT_MIN, INT_MAX):
        assert lib.pyunw_end_name(end) == b"unknown", (end, lib.pyunw_end_name(end))


MEMORIES = {
    "default": (pyunw.PYUNW_MEMORY_DEFAULT, 0),
    "direct": (pyunw.PYUNW_MEMORY_DIRECT, 0),
    "trapped": (pyunw.PYUNW_MEMORY_TRAPPED, 0),
    "process_vm_readv": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_READV),
    "/proc/self/mem": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_PROC_MEM),
    "pipe": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_PIPE),
}


def main():
    check_words()
    check_targets()
    check_cursors()
    check_local_cursors()
    check_options()
    check_runtimes_that_are_none()
    check_images()
    for with_handler in (False, True):
        if with_handler:
            pyunw.check(lib.pyunw_trap_install())
        for name, (memory, guard) in MEMORIES.items():
            target = pyunw.open_self(memory, guard)
            check_outputs(target)
            check_description_sizes(target)
            check_addresses(target)
            check_exceptions(target)
            check_code_addresses(target, direct=name == "direct")
            check_offsets(target)
            check_thread_states_of_nonsense(target, direct=name == "direct")
            check_writers(target)
    pyunw.check(lib.pyunw_trap_remove())
    check_options_at_the_end_of_memory()
    print("%d calls with bad arguments, each answered as documented" % checked)


if __name__ == "__main__":
    main()
