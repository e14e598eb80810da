# interpreters: host
"""
Tiny hand-made memories, one oddity each, and what is to be said of them. Each is made for every layout of 3.8 to 3.12
that knows the oddity; maker.py makes the memories.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from maker import CO_GENERATOR, GENERATOR_SUSPENDED, UNITS, VERSIONS, Memory
from pyunw import (
    PYUNW_COMPLETE, PYUNW_CORRUPT, PYUNW_NO_FRAME, PYUNW_TORN, PYUNW_TRUNCATED,
    PYUNW_ERR_CORRUPT, PYUNW_ERR_FAULT, PYUNW_ERR_FINALIZED, PYUNW_ERR_LAYOUT, PYUNW_ERR_NOT_INITIALIZED,
    PYUNW_ERR_TORN,
    PYUNW_FILENAME_TRUNCATED, PYUNW_FILENAME_UNREADABLE, PYUNW_FRAME_CLASS, PYUNW_FRAME_FUNCTION,
    PYUNW_FRAME_GENERATOR, PYUNW_FRAME_MODULE, PYUNW_NAME_TRUNCATED, PYUNW_NAME_UNREADABLE, PYUNW_POSITION_UNREADABLE,
    PYUNW_QUALNAME_IS_NAME, PYUNW_QUALNAME_UNREADABLE,
)

ALL = ("3.8", "3.9", "3.10", "3.11", "3.12")
WITH_TABLES = ("3.11", "3.12")  # of locations, and interpreter frames
UNREADABLE = (PYUNW_FILENAME_UNREADABLE | PYUNW_NAME_UNREADABLE | PYUNW_QUALNAME_UNREADABLE
              | PYUNW_POSITION_UNREADABLE)
IMAGES = []


def image(*versions):
    """Register a maker of an oddity. It returns what check() is to expect of the memory that it was given."""

    def register(make):
        IMAGES.append((make, versions or ALL))
        return make

    return register


class Expected:
    def __init__(self, frames, end, address=None, max=16, **open_options):
        """frames: names, or (name, {field: value}) of pyunw_frame and its text."""
        self.frames, self.end, self.address, self.max, self.open_options = frames, end, address, max, open_options


class Refused:
    """An error of pyunw_capture, or of opening."""

    def __init__(self, errors, opening=False):
        self.errors, self.opening = errors if isinstance(errors, tuple) else (errors,), opening


class Threads:
    """thread ids as they are told, and the result at the end."""

    def __init__(self, ids, results):
        self.ids, self.results = ids, results


def three(memory, **stack_options):
    """inner, middle and outer, on the stack."""
    codes = [memory.code(name) for name in ("inner", "middle", "outer")]
    return codes, memory.stack(*codes, **stack_options)


NAMES = ["inner", "middle", "outer"]


# ---- What CPython writes ----


@image()
def plain(memory):
    three(memory)
    details = {"filename": "middle.py", "lineno": 11, "offset": 2, "kind": PYUNW_FRAME_FUNCTION}
    return Expected(["inner", ("middle", details), "outer"], PYUNW_COMPLETE, 0)


@image()
def adjoining_segments(memory):
    three(memory)
    return Expected(NAMES, PYUNW_COMPLETE, 0, piece=24)


@image()
def code_type_by_its_name(memory):
    three(memory)
    return Expected(NAMES, PYUNW_COMPLETE, 0, knows_code_type=False)


@image()
def array_filled_exactly(memory):
    three(memory)
    return Expected(NAMES, PYUNW_COMPLETE, 0, max=3)


@image()
def array_too_small(memory):
    three(memory)
    return Expected(NAMES[:2], PYUNW_TRUNCATED, max=2)


@image("3.8", "3.9", "3.10")
def before_the_first_instruction(memory):
    """f_lasti -1: the first line."""
    _, frames = three(memory)
    frames[0].set(4, frame__instruction=-1)
    return Expected([("inner", {"lineno": 10, "offset": -1})] + NAMES[1:], PYUNW_COMPLETE, 0)


@image()
def module_and_class(memory):
    codes = [memory.code("Body", flags=0), memory.code("<module>", flags=0)]
    memory.stack(*codes)
    frames = [("Body", {"kind": PYUNW_FRAME_CLASS}), ("<module>", {"kind": PYUNW_FRAME_MODULE})]
    return Expected(frames, PYUNW_COMPLETE, 0)


@image(*WITH_TABLES)
def generator(memory):
    codes = [memory.code("inner"), memory.code("produce", flags=3 | CO_GENERATOR), memory.code("outer")]
    memory.stack(*codes, generators=[1])
    return Expected(["inner", ("produce", {"kind": PYUNW_FRAME_GENERATOR}), "outer"], PYUNW_COMPLETE, 0)


@image(*WITH_TABLES)
def not_begun(memory):
    """A frame before its first RESUME is hidden, as the interpreter hides it."""
    codes, frames = three(memory)
    codes[1].set(4, code__first_traceable=2)
    return Expected(["inner", "outer"], PYUNW_COMPLETE, 0)


@image()
def no_frame(memory):
    """3.11, 3.12: the thread state's own _PyCFrame, root_cframe, is the current one then."""
    memory.tstate.set(thread__frame=0)
    if memory.minor >= 11:
        root_cframe = memory.tstate.address + {11: 336, 12: 272}[memory.minor]
        memory.stack()
        memory.tstate.set(thread__frame=root_cframe)
    return Expected([], PYUNW_NO_FRAME, 0)


@image(*WITH_TABLES)
def unfilled_frame(memory):
    """The evaluation loop's frame is not told yet, but the data stack is full of frames."""
    three(memory)
    memory.cframe.set(cframe__current_frame=0)
    return Expected([], PYUNW_TORN)


@image("3.12")
def only_an_entry_frame(memory):
    three(memory)
    memory.cframe.set(cframe__current_frame=memory.shim.address)
    return Expected([], PYUNW_NO_FRAME, 0)


# ---- Texts ----


def with_name(memory, **fields):
    codes = [memory.code("inner"), memory.code("middle", **fields), memory.code("outer")]
    memory.stack(*codes)


@image()
def torn_name(memory):
    """A name whose length goes past the end of what is there."""
    name = memory.text("middle")
    name.set(text__length=4000)
    with_name(memory, name=name)
    details = {"flags": PYUNW_NAME_UNREADABLE, "filename": "middle.py"}
    return Expected(["inner", ("", details), "outer"], PYUNW_COMPLETE, 0)


@image()
def negative_length(memory):
    name = memory.text("middle")
    name.set(text__length=-1)
    with_name(memory, name=name)
    return Expected(["inner", ("", {"flags": PYUNW_NAME_UNREADABLE}), "outer"], PYUNW_COMPLETE, 0)


@image()
def name_of_another_type(memory):
    with_name(memory, name=memory.bytes(b"middle"))
    return Expected(["inner", ("", {"flags": PYUNW_NAME_UNREADABLE}), "outer"], PYUNW_COMPLETE, 0)


@image()
def not_ascii_in_ascii(memory):
    name = memory.text("middle")
    name.data[-3] = 0xE9
    with_name(memory, name=name)
    return Expected(["inner", ("", {"flags": PYUNW_NAME_UNREADABLE}), "outer"], PYUNW_COMPLETE, 0)


@image()
def beyond_unicode(memory):
    name = memory.text("\U0001f40d\U0001f40d")
    name.data[-8:-4] = (0x110000).to_bytes(4, "little")
    with_name(memory, name=name)
    return Expected(["inner", ("", {"flags": PYUNW_NAME_UNREADABLE}), "outer"], PYUNW_COMPLETE, 0)


@image()
def scripts(memory):
    with_name(memory, name=memory.text("\xe9t\xe9"), filename=memory.text("\u0436\U0001f40d"))
    return Expected(["inner", ("\xe9t\xe9", {"filename": "\u0436\U0001f40d"}), "outer"], PYUNW_COMPLETE, 0)


@image()
def lone_surrogate(memory):
    with_name(memory, name=memory.text("a\udc80b"))
    return Expected(["inner", ("a\\udc80b", {}), "outer"], PYUNW_COMPLETE, 0)


@image("3.8", "3.9", "3.10", "3.11")
def legacy_name(memory):
    with_name(memory, name=memory.wide_text("mi\u0436dle"))
    return Expected(["inner", ("mi\u0436dle", {}), "outer"], PYUNW_COMPLETE, 0)


@image()
def long_texts(memory):
    """A name keeps its beginning, a filename its end; both are cut between characters."""
    with_name(memory, name=memory.text("\u0436" * 200), filename=memory.text("\u0436" * 300))
    flags = PYUNW_NAME_TRUNCATED | PYUNW_FILENAME_TRUNCATED
    details = {"filename": "\u0436" * 255, "flags": flags}
    return Expected(["inner", ("\u0436" * 127, details), "outer"], PYUNW_COMPLETE, 0)


@image()
def nul_in_name(memory):
    with_name(memory, name=memory.text("mid\0dle"))
    return Expected(["inner", ("mid\0dle", {}), "outer"], PYUNW_COMPLETE, 0)


@image()
def filename_nowhere(memory):
    codes, _ = three(memory)
    codes[1].set(code__filename=0x7E0000000000)
    details = {"filename": "", "flags": PYUNW_FILENAME_UNREADABLE}
    return Expected(["inner", ("middle", details), "outer"], PYUNW_COMPLETE, 0)


# ---- Tables ----


@image()
def torn_table(memory):
    """A table that ends before it tells of the instruction, and claims not to."""
    table = memory.table()
    table.data[-2:] = b""
    with_name(memory, table=table)
    details = {"lineno": -1, "flags": PYUNW_POSITION_UNREADABLE}
    return Expected(["inner", ("middle", details), "outer"], PYUNW_COMPLETE, 0)


@image()
def empty_table(memory):
    """Up to 3.9 the first line goes on to the end; later the table says of no instruction where it stands."""
    with_name(memory, table=memory.bytes(b""))
    lineno = 10 if memory.minor < 10 else -1
    return Expected(["inner", ("middle", {"lineno": lineno}), "outer"], PYUNW_COMPLETE, 0)


@image(*WITH_TABLES)
def no_line(memory):
    """Location code 15: an instruction without a line."""
    with_name(memory, table=memory.bytes(bytes([0x80 | 15 << 3 | UNITS - 1])))
    return Expected(["inner", ("middle", {"lineno": -1}), "outer"], PYUNW_COMPLETE, 0)


@image(*WITH_TABLES)
def endless_number(memory):
    """A line delta that never ends."""
    with_name(memory, table=memory.bytes(bytes([0x80 | 13 << 3 | UNITS - 1] + [0x7F] * 40)))
    details = {"lineno": -1, "flags": PYUNW_POSITION_UNREADABLE}
    return Expected(["inner", ("middle", details), "outer"], PYUNW_COMPLETE, 0)


# ---- Chains ----


@image()
def self_loop(memory):
    _, frames = three(memory)
    frames[1].set(frame__previous=frames[1].address)
    return Expected(["inner", "middle"], PYUNW_CORRUPT, frames[1].address)


@image()
def self_loop_in_a_small_array(memory):
    _, frames = three(memory)
    frames[1].set(frame__previous=frames[1].address)
    return Expected(["inner", "middle"], PYUNW_CORRUPT, frames[1].address, max=4)


@image()
def loop_of_three(memory):
    _, frames = three(memory)
    frames[2].set(frame__previous=frames[0].address)
    return Expected(NAMES, PYUNW_CORRUPT)


@image()
def loop_that_fills_a_small_array(memory):
    """Frames that came before are not given again, although there is room for one."""
    _, frames = three(memory)
    frames[2].set(frame__previous=frames[1].address)
    return Expected(NAMES, PYUNW_CORRUPT, max=4)


@image()
def loop_behind_a_small_array(memory):
    _, frames = three(memory)
    frames[2].set(frame__previous=frames[0].address)
    return Expected(NAMES, PYUNW_CORRUPT, frames[0].address, max=3)


@image()
def link_to_nowhere(memory):
    _, frames = three(memory)
    frames[0].set(frame__previous=0x7E0000000000)
    return Expected(["inner"], PYUNW_CORRUPT, 0x7E0000000000)


@image()
def link_not_canonical(memory):
    _, frames = three(memory)
    frames[0].set(frame__previous=0xC0FFEE0000000000)
    return Expected(["inner"], PYUNW_CORRUPT, 0xC0FFEE0000000000)


@image()
def link_misaligned(memory):
    _, frames = three(memory)
    frames[0].set(frame__previous=frames[1].address + 4)
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address + 4)


@image(*WITH_TABLES)
def owner_unknown(memory):
    _, frames = three(memory)
    frames[1].set(1, frame__owner=9)
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address)


@image()
def instruction_behind_the_code(memory):
    codes, frames = three(memory)
    memory.set_instruction(frames[1], codes[1], UNITS)
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address)


@image()
def code_of_another_type(memory):
    codes, frames = three(memory)
    codes[1].set(object__type=memory.str_type.address)
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address)


@image()
def code_cut_short(memory):
    codes, frames = three(memory)
    del codes[1].data[memory.row["code.name"]:]
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address)


@image(*WITH_TABLES)
def hidden_beyond_its_end(memory):
    """Whatever is hidden has not begun; no code begins so far behind its end."""
    codes, frames = three(memory)
    codes[1].set(4, code__first_traceable=UNITS + 2)
    return Expected(["inner"], PYUNW_CORRUPT, frames[1].address)


@image(*WITH_TABLES)
def hidden_always(memory):
    """_Py_InitCleanup (3.12+) says that it begins one unit behind its end."""
    codes, _ = three(memory)
    codes[1].set(4, code__first_traceable=UNITS + 1)
    return Expected(["inner", "outer"], PYUNW_COMPLETE, 0)


@image(*WITH_TABLES)
def first_frame_missing(memory):
    """It has its place on the data stack, but its bytes are not there: no evaluation loop that was just entered."""
    _, frames = three(memory)
    del memory.chunk.data[frames[0].address - memory.chunk.address:]
    return Expected([], PYUNW_CORRUPT, frames[0].address)


@image(*WITH_TABLES)
def code_of_the_first_frame_missing(memory):
    codes, _ = three(memory)
    memory.structures.remove(codes[0])
    return Expected([], PYUNW_CORRUPT, codes[0].address)


@image("3.12")
def no_entry_frame_at_the_bottom(memory):
    _, frames = three(memory)
    frames[2].set(frame__previous=0)
    return Expected(NAMES, PYUNW_CORRUPT, frames[2].address)


@image("3.12")
def entry_frame_of_no_code(memory):
    """What only its owner makes an entry frame is no bottom."""
    three(memory)
    memory.shim.set(frame__executable=0)
    return Expected(NAMES, PYUNW_CORRUPT, memory.shim.address)


@image("3.12")
def entry_frame_of_another_object(memory):
    three(memory)
    memory.shim.set(frame__executable=memory.text("middle").address)
    return Expected(NAMES, PYUNW_CORRUPT, memory.shim.address)


@image("3.11")
def bottom_that_is_not_the_first(memory):
    _, frames = three(memory)
    frames[1].set(frame__previous=0)
    return Expected(NAMES[:2], PYUNW_CORRUPT, frames[1].address)


@image("3.11")
def suspended_generator_at_the_bottom(memory):
    codes = [memory.code("inner"), memory.code("produce", flags=3 | CO_GENERATOR)]
    frames = memory.stack(*codes, generators=[1])
    frames[1].holder.set(1, generator__frame_state=GENERATOR_SUSPENDED)
    return Expected(["inner", "produce"], PYUNW_CORRUPT, frames[1].address)


@image("3.11", "3.12")
def unfilled_cframe(memory):
    """The evaluation loop was entered, but its _PyCFrame still holds garbage: the loop outside of it is known."""
    three(memory)
    entered = type(memory.cframe)(memory, 24).set(cframe__current_frame=0x1234, cframe__previous=memory.cframe.address)
    memory.tstate.set(thread__frame=entered.address)
    return Expected(NAMES, PYUNW_TORN)


@image("3.11", "3.12")
def unfilled_cframes(memory):
    three(memory)
    entered = type(memory.cframe)(memory, 24).set(cframe__current_frame=0x1234, cframe__previous=0x5678)
    memory.tstate.set(thread__frame=entered.address)
    return Expected([], PYUNW_TORN)


# ---- The runtime and its lists ----


@image()
def two_threads(memory):
    memory.thread(8)
    return Threads([8, 7], (0,))


@image()
def thread_list_loop(memory):
    memory.thread(8)
    memory.threads[0].set(thread__next=memory.threads[1].address)
    return Threads([8, 7], (PYUNW_ERR_CORRUPT, PYUNW_ERR_TORN))


@image()
def thread_of_another_interpreter(memory):
    memory.thread(8)
    memory.threads[0].set(thread__interp=memory.runtime.address)
    return Threads([8], (PYUNW_ERR_CORRUPT, PYUNW_ERR_TORN))


@image()
def thread_nowhere(memory):
    memory.thread(8)
    memory.threads[1].set(thread__next=0x7E0000000000)
    return Threads([8], (PYUNW_ERR_FAULT, PYUNW_ERR_CORRUPT, PYUNW_ERR_TORN))


@image()
def interpreter_list_loop(memory):
    memory.interpreter.write(memory.row["interpreter.next"], memory.interpreter.address)
    return Threads([7], (PYUNW_ERR_CORRUPT, PYUNW_ERR_TORN))


@image()
def not_initialized(memory):
    memory.runtime.set(runtime__interpreters_head=0, runtime__interpreters_main=0, runtime__interpreters_next_id=0)
    return Refused(PYUNW_ERR_NOT_INITIALIZED)


@image()
def finalized(memory):
    memory.runtime.set(runtime__interpreters_head=0, runtime__interpreters_main=0)
    return Refused(PYUNW_ERR_FINALIZED)


@image()
def main_interpreter_with_another_id(memory):
    memory.interpreter.set(interpreter__id=5)
    return Refused(PYUNW_ERR_LAYOUT, opening=True)


@image()
def runtime_cut_short(memory):
    del memory.runtime.data[memory.row["runtime.interpreters_head"]:]
    return Refused((PYUNW_ERR_FAULT, PYUNW_ERR_LAYOUT), opening=True)


# ---- Checking ----


def check_frame(frame, expected, qualname_is_name):
    name, details = (expected, {}) if isinstance(expected, str) else expected
    details = dict(details)
    found = {field: frame.text(field) for field in ("filename", "name", "qualname")}
    found.update(lineno=frame.position.lineno, offset=frame.raw.offset, kind=frame.raw.kind, flags=frame.flags)
    details.setdefault("flags", 0)
    details["name"] = name
    if qualname_is_name:
        details["flags"] |= PYUNW_QUALNAME_IS_NAME
        if details["flags"] & PYUNW_NAME_UNREADABLE:
            details["flags"] |= PYUNW_QUALNAME_UNREADABLE
    return ["%s is %r, not %r" % (field, found[field], value)
            for field, value in details.items() if found[field] != value]


def check_capture(memory, expected):
    target, error = memory.open(**expected.open_options)
    if error:
        return ["opening: %s" % pyunw.lib.pyunw_strerror(error).decode()]
    frames, status = pyunw.capture(target, memory.tstate.address, expected.max)
    wrong = []
    names = [frame.text("name") for frame in frames]
    if len(frames) != len(expected.frames):
        wrong.append("%d frames, %s, not %d" % (len(frames), names, len(expected.frames)))
    else:
        for frame, right in zip(frames, expected.frames):
            wrong += check_frame(frame, right, memory.minor < 11)
    if status.end != expected.end:
        ends = tuple(pyunw.lib.pyunw_end_name(end).decode() for end in (status.end, expected.end))
        wrong.append("the end is %s, not %s" % ends)
    if status.depth != len(expected.frames):
        wrong.append("the depth is %d" % status.depth)
    if expected.address is not None and status.address != expected.address:
        wrong.append("the address is %#x, not %#x" % (status.address, expected.address))
    flagged = sum(1 for frame in frames if frame.flags & UNREADABLE)
    if status.undescribed != flagged:
        wrong.append("%d undescribed, not %d" % (status.undescribed, flagged))
    return wrong + check_raw_walk(target, memory, expected, frames, status)


def check_raw_walk(target, memory, expected, frames, status):
    """pyunw_walk says the same."""
    raw, raw_status = pyunw.walk(target, memory.tstate.address, expected.max)
    wrong = []
    if [bytes(one) for one in raw] != [bytes(frame.raw) for frame in frames]:
        wrong.append("pyunw_walk gives other frames")
    if (raw_status.end, raw_status.depth, raw_status.address) != (status.end, status.depth, status.address):
        wrong.append("pyunw_walk ends otherwise")
    return wrong


def check_refusal(memory, expected):
    target, error = memory.open()
    if not error and not expected.opening:
        status = pyunw.pyunw_status()
        frames = (pyunw.pyunw_frame * 4)()
        error = pyunw.lib.pyunw_capture(target, memory.tstate.address, frames, 4, status)
    return [] if error in expected.errors else ["error %d, not %s" % (error, expected.errors)]


def check_threads(memory, expected):
    target, error = memory.open()
    if error:
        return ["opening: %s" % pyunw.lib.pyunw_strerror(error).decode()]
    cursor, thread, ids = pyunw.pyunw_thread_cursor(), pyunw.pyunw_thread(), []
    result = pyunw.lib.pyunw_threads_begin(target, cursor)
    while result >= 0:
        result = pyunw.lib.pyunw_threads_next(cursor, thread)
        if result != 1 or len(ids) > 10:
            break
        ids.append(thread.thread_id)
    wrong = []
    if ids != expected.ids:
        wrong.append("threads %s, not %s" % (ids, expected.ids))
    if result not in expected.results:
        wrong.append("the result is %d, not %s" % (result, expected.results))
    return wrong


CHECKS = {Expected: check_capture, Refused: check_refusal, Threads: check_threads}


def main():
    checked, failed = 0, 0
    for make, versions in IMAGES:
        for version in versions:
            assert version in VERSIONS
            memory = Memory(version)
            expected = make(memory)
            wrong = CHECKS[type(expected)](memory, expected)
            checked += 1
            failed += bool(wrong)
            for why in wrong:
                print("%s, %s: %s" % (make.__name__, version, why))
    print("%d oddities in %d memories of %d layouts: %d wrong" % (len(IMAGES), checked, len(ALL), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
