# interpreters: host
"""
Readers that keep what they have read (pyunw_image.renew), as one that reads pages does, and worse: this one keeps every
structure from its first read until it is told to read anew. The memory changes meanwhile, at moments that are written
here; what was kept from before must not confirm itself, nor describe what came later.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from maker import VERSIONS, Memory

MODERN = ("3.8", "3.9", "3.10", "3.11", "3.12")
CAPTURE = [pyunw.PYUNW_FOR_FRAMES, pyunw.PYUNW_FOR_TEXTS, pyunw.PYUNW_FOR_FRAMES]
STANDING = [pyunw.PYUNW_FOR_FRAMES, pyunw.PYUNW_FOR_FRAMES]
CONFIRMED_TWICE = ("3.8", "3.9", "3.10")  # a frame is used again at once for the next call of its function


class Keeping:
    """
    An open image whose structures are kept from their first read on. asked(structure, offset): called before each
    read is served, from what was kept or not; may change the memory. renewed(count): called after each renewal.
    """

    def __init__(self, memory, asked=None, may_change=1, size=None):
        self.memory, self.asked, self.renewed = memory, None, None
        self.kept, self.purposes, self.expected = {}, [], 0
        self.callbacks = (pyunw.pyunw_read_function(self.read), pyunw.pyunw_renew_function(self.renew),
                          pyunw.pyunw_expect_function(self.expect))
        image = pyunw.pyunw_image(
            size=size or ctypes.sizeof(pyunw.pyunw_image), may_change=may_change, runtime=memory.runtime.address,
            version=VERSIONS[memory.version], code_type=memory.code_type.address, read=self.callbacks[0],
            renew=self.callbacks[1], expect=self.callbacks[2])
        self.target = pyunw.pyunw_target()
        pyunw.check(pyunw.lib.pyunw_open_image(self.target, image, None))
        self.purposes = []
        self.asked = asked

    def read(self, _context, address, buffer, size):
        for one in self.memory.structures:
            offset = address - one.address
            if 0 <= offset and offset + size <= len(one.data):
                break
        else:
            return pyunw.PYUNW_ERR_FAULT
        if self.asked:
            self.asked(one, offset)
        whole = self.kept.setdefault(one.address, bytes(one.data))
        ctypes.memmove(buffer, whole[offset : offset + size], size)
        return 0

    def renew(self, _context, purpose):
        self.purposes.append(purpose)
        self.kept.clear()
        if self.renewed:
            self.renewed(len(self.purposes))

    def expect(self, _context, _address, _size):
        self.expected += 1

    def capture(self):
        frames, status = (pyunw.pyunw_frame * 16)(), pyunw.pyunw_status()
        count = pyunw.lib.pyunw_capture(self.target, self.memory.tstate.address, frames, 16, status)
        return [frame.text("name") for frame in frames[: max(count, 0)]], count, status

    def threads(self):
        cursor, thread, ids = pyunw.pyunw_thread_cursor(), pyunw.pyunw_thread(), []
        result = pyunw.lib.pyunw_threads_begin(self.target, cursor)
        while result >= 0:
            result = pyunw.lib.pyunw_threads_next(cursor, thread)
            if result != 1:
                break
            ids.append(thread.thread_id)
        return ids, result


def made(version, *names):
    memory = Memory(version)
    codes = [memory.code(name) for name in names]
    return memory, codes, memory.stack(*codes)


def begin_of_stack(memory):
    """(structure, field) of the word that names the innermost frame."""
    if hasattr(memory, "cframe") and memory.cframe is not None:
        return memory.cframe, "cframe.current_frame"
    return memory.tstate, "thread.frame"


# ---- Captures ----


def popped_before_the_second_walk(version):
    """What the first walk kept would confirm a frame that is gone."""
    memory, _, frames = made(version, "inner", "middle", "outer")
    holder, field = begin_of_stack(memory)

    def asked(structure, offset):
        # The second walk asks.
        if structure is holder and offset == memory.at(field) and keeping.purposes.count(pyunw.PYUNW_FOR_TEXTS) == 1:
            holder.write(memory.at(field), frames[1].address)
            if memory.at("thread.datastack_top") is not None:
                memory.tstate.set(thread__datastack_top=frames[0].address)

    keeping = Keeping(memory, asked)
    found, _, status = keeping.capture()
    if found != ["middle", "outer"]:
        return "%s: %s with %d unconfirmed, of a stack whose innermost frame was gone" % (version, found,
                                                                                          status.unconfirmed)
    if not keeping.expected:
        return "%s: nothing was foretold" % version
    return None


def text_of_another_time(version):
    """A name was kept before the code object of that name was there."""
    memory, codes, _ = made(version, "inner", "outer")
    name = next(one for one in memory.structures if one.data.endswith(b"inner\0"))
    stale = bytes(name.data).replace(b"inner", b"stale")
    first, _ = begin_of_stack(memory)

    def asked(structure, offset):
        if structure is first and not keeping.purposes.count(pyunw.PYUNW_FOR_TEXTS):
            keeping.kept[name.address] = stale

    keeping = Keeping(memory, asked)
    found, _, _ = keeping.capture()
    return None if found == ["inner", "outer"] else "%s: %s, with a name of another time" % (version, found)


def taken_over_while_described(version):
    """The innermost frame moved on; then another call took its place, while its new position was looked up."""
    memory, codes, frames = made(version, "inner", "outer")
    other = memory.code("other")
    holder, field = begin_of_stack(memory)
    table = next(one for one in memory.structures if one.address == word(codes[0], memory.at("code.table")))
    whole = frames[0] if hasattr(frames[0], "data") else frames[0].holder
    begin = frames[0].address - whole.address

    def asked(structure, offset):
        confirming = keeping.purposes.count(pyunw.PYUNW_FOR_TEXTS) == 1
        if structure is holder and offset == memory.at(field) and confirming:
            memory.set_instruction(frames[0], codes[0], 2)
        if structure is table and confirming and keeping.purposes[-1] == pyunw.PYUNW_FOR_FRAMES:
            whole.write(begin + memory.at("frame.executable"), other.address)

    memory.set_instruction(frames[0], codes[0], 1)
    keeping = Keeping(memory, asked)
    found, _, _ = keeping.capture()
    if pyunw.PYUNW_FOR_CHECK not in keeping.purposes:
        return "%s: a frame that moved was not looked at again: %s" % (version, keeping.purposes)
    return None if found == ["outer"] else "%s: %s, but the innermost frame is another call's" % (version, found)


# ---- A thread without the GIL (3.8-3.10) ----


def without_gil(version, *names):
    """A memory in which another thread took the GIL last."""
    memory, codes, frames = made(version, *names)
    other = memory.thread(9)
    memory.runtime.set(runtime__tstate_current=other.address, runtime__gil_last_holder=other.address,
                       runtime__gil_switches=5)
    return memory, codes, frames, other


def stands_without_gil(version):
    """Nothing of it can change: its texts are those of the first walk's moment, and one walk confirms it."""
    memory, _, _, _ = without_gil(version, "inner", "outer")
    keeping = Keeping(memory)
    found, _, _ = keeping.capture()
    if (found, keeping.purposes) != (["inner", "outer"], STANDING):
        return "%s: %s, told %s" % (version, found, keeping.purposes)
    return None


def may_run(version, **fields):
    """It has the GIL, or may have it without taking it: all is read anew, and confirmed twice."""
    memory, _, _, _ = without_gil(version, "inner", "outer")
    words = {name: memory.tstate.address if value == "own" else value for name, value in fields.items()}
    memory.runtime.set(**words)
    keeping = Keeping(memory)
    found, _, _ = keeping.capture()
    if (found, keeping.purposes) != (["inner", "outer"], CAPTURE + CAPTURE[-1:]):
        return "%s, %s: %s, told %s" % (version, fields, found, keeping.purposes)
    return None


def took_gil_meanwhile(version, gave_it_back):
    """It took the GIL after its names were read, and had another function run in the same frame."""
    memory, codes, _, other = without_gil(version, "inner", "outer")
    name = next(one for one in memory.structures if one.data.endswith(b"inner\0"))
    stale = bytes(name.data).replace(b"inner", b"stale")
    keeping = Keeping(memory)
    switches = 7 if gave_it_back else 6
    holder = other.address if gave_it_back else memory.tstate.address

    def renewed(count):
        if count == 1:
            keeping.kept[name.address] = stale
        if count == 2:
            memory.runtime.set(runtime__tstate_current=holder, runtime__gil_last_holder=holder,
                               runtime__gil_switches=switches)

    keeping.renewed = renewed
    found, _, _ = keeping.capture()
    wanted = STANDING + CAPTURE + CAPTURE[-1:]
    # The second try begins after the GIL was given back, and it stands from then on.
    wanted = wanted[:-1] if gave_it_back else wanted
    if (found, keeping.purposes) != (["inner", "outer"], wanted):
        return "%s, %s: %s, told %s" % (version, gave_it_back, found, keeping.purposes)
    return None


def word(structure, offset):
    return int.from_bytes(structure.data[offset : offset + 8], "little")


# ---- Lists, cursors, descriptions ----


def list_cut_while_it_was_read(version):
    """A link that did not fit when it was kept fits when it is read anew."""
    memory = Memory(version)
    memory.thread(8)
    newest = memory.thread(9)
    middle = memory.threads[-2]
    middle.set(thread__prev=0x7F0000000008)

    stale = bytes(middle.data)
    middle.set(thread__prev=newest.address)
    keeping = Keeping(memory)
    keeping.renewed = lambda count: keeping.kept.update({middle.address: stale} if count == 1 else {})
    ids, result = keeping.threads()
    return None if (ids, result) == ([9, 8, 7], 0) else "%s: threads %s, then %d" % (version, ids, result)


def each_call_reads_anew(version):
    """What a call told is not told again by the next one, once it has changed."""
    memory, codes, frames = made(version, "first", "outer")
    keeping = Keeping(memory)
    raw, frame = pyunw.pyunw_raw_frame(), pyunw.pyunw_frame()
    cursor, identities = pyunw.pyunw_frame_cursor(), [pyunw.pyunw_code_identity(), pyunw.pyunw_code_identity()]
    lib, target = pyunw.lib, keeping.target
    pyunw.check(lib.pyunw_frames_begin(target, memory.tstate.address, cursor))
    pyunw.check(lib.pyunw_frames_next(cursor, raw))
    pyunw.check(lib.pyunw_describe(target, raw, frame))
    pyunw.check(lib.pyunw_identify_code(target, raw.code, identities[0]))
    other = memory.text("second")
    codes[0].set(code__name=other.address)
    pyunw.check(lib.pyunw_identify_code(target, raw.code, identities[1]))
    if identities[1].name != other.address:
        return "%s: the identity of another time" % version
    pyunw.check(lib.pyunw_describe(target, raw, frame))
    if frame.text("name") != "second":
        return "%s: described as %s" % (version, frame.text("name"))
    holder, field = begin_of_stack(memory)
    pyunw.check(lib.pyunw_frames_begin(target, memory.tstate.address, cursor))
    holder.write(memory.at(field), frames[1].address)
    if memory.at("thread.datastack_top") is not None:
        memory.tstate.set(thread__datastack_top=frames[0].address)
    pyunw.check(lib.pyunw_frames_begin(target, memory.tstate.address, cursor))
    pyunw.check(lib.pyunw_frames_next(cursor, raw))
    if raw.code != codes[1].address:
        return "%s: a cursor of another time" % version
    keeping.threads()
    memory.thread(8)
    ids, _ = keeping.threads()
    return None if ids == [8, 7] else "%s: threads %s" % (version, ids)


# ---- Who is told ----


def told(version, wanted, **how):
    memory, _, _ = made(version, "inner", "outer")
    keeping = Keeping(memory, **how)
    found, _, _ = keeping.capture()
    if found != ["inner", "outer"] or keeping.purposes != wanted:
        return "%s, %s: %s, told %s, not %s" % (version, how, found, keeping.purposes, wanted)
    return None


def main():
    cases = []
    for version in MODERN:
        for case in (popped_before_the_second_walk, text_of_another_time, taken_over_while_described,
                     list_cut_while_it_was_read, each_call_reads_anew):
            cases.append(lambda version=version, case=case: case(version))
        cases.append(lambda version=version: told(version, CAPTURE + CAPTURE[-1:] * (version in CONFIRMED_TWICE)))
        cases.append(lambda version=version: told(version, [], may_change=0))
        # The first release's structure ended before the functions: what stands behind it is not looked at.
        cases.append(lambda version=version: told(version, [], size=pyunw.pyunw_image.renew.offset))
    for version in CONFIRMED_TWICE:
        cases.append(lambda version=version: stands_without_gil(version))
        for fields in ({"runtime__tstate_current": "own"}, {"runtime__gil_last_holder": "own"},
                       {"runtime__gil_last_holder": 0}, {"runtime__interpreters_next_id": 2}):
            cases.append(lambda version=version, fields=fields: may_run(version, **fields))
        for gave_it_back in (False, True):
            cases.append(lambda version=version, back=gave_it_back: took_gil_meanwhile(version, back))
    wrong = [why for why in (case() for case in cases) if why]
    print("\n".join(wrong + ["%d memories that are kept: %d wrong" % (len(cases), len(wrong))]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
