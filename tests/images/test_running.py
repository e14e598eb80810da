# interpreters: host
"""
Hand-made memories of a thread that runs on: they change from one walk to the next, in a way that is written here. What
is given was seen by both walks that agree; what only a walk that was thrown away showed leaves no trace; damage that
stays is told, also while the thread moves on. Frames that no call put where they are, and roots that are none yet, are
waited out.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from maker import (CO_GENERATOR, CO_NEWLOCALS, CO_OPTIMIZED, FRAME_WORDS, OWNER_THREAD, VERSIONS, FrameInChunk, Memory,
                   Structure)

DAMAGED = 0x5000  # an address that no structure has
WORD = 8
PAGE = 4096
MANY_FRAMES = 1 << 16  # of src/core/capture_running.c: no try begins after so many were looked at


class Running:
    """
    An open image whose thread state is read through a function, which counts the walks: each begins by asking where the
    innermost frame is. change(number of the walk) is called first.
    """

    def __init__(self, memory, change=None):
        self.memory, self.change, self.walks = memory, change, 0
        self.kept = {}
        structures = sorted((one for one in memory.structures if one.data and one is not memory.tstate),
                            key=lambda one: one.address)
        segments = (pyunw.pyunw_segment * len(structures))()
        for segment, one in zip(segments, structures):
            self.kept[one.address] = ctypes.create_string_buffer(bytes(one.data), len(one.data))
            segment.address, segment.size = one.address, len(one.data)
            segment.bytes = ctypes.addressof(self.kept[one.address])
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t)
        self.reader = function(self.read)
        self.image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image), segments=segments, segment_count=len(segments), may_change=1,
            runtime=memory.runtime.address, version=VERSIONS[memory.version], code_type=memory.code_type.address)
        self.image.read = ctypes.cast(self.reader, pyunw.pyunw_read_function)
        self.target = pyunw.pyunw_target()
        pyunw.check(pyunw.lib.pyunw_open_image(self.target, self.image, None))

    def read(self, _context, address, buffer, size):
        tstate = self.memory.tstate
        begin = address - tstate.address
        if begin < 0 or begin + size > len(tstate.data):
            return pyunw.PYUNW_ERR_FAULT
        if begin == self.memory.at("thread.frame"):
            self.walks += 1
            if self.change:
                self.change(self.walks)
        ctypes.memmove(buffer, bytes(tstate.data[begin : begin + size]), size)
        return 0

    def put(self, structure, field, value, size=WORD):
        """Write a field of a structure, or of a part of one, as the walks see it."""
        whole = structure if hasattr(structure, "data") else structure.holder
        begin = structure.address - whole.address + self.memory.at(field)
        self.kept[whole.address][begin : begin + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")

    def capture(self, max):
        frames, status = (pyunw.pyunw_frame * max)(), pyunw.pyunw_status()
        count = pyunw.lib.pyunw_capture(self.target, self.memory.tstate.address, frames, max, status)
        return [(frame.text("name"), frame.raw.offset, frame.position.lineno) for frame in frames[: count]], status


def put_offset(running, frame, code, offset):
    """The frame's instruction is at this offset, in bytes (3.8, 3.9: f_lasti; 3.11, 3.12: prev_instr)."""
    if running.memory.version in ("3.8", "3.9"):
        running.put(frame, "frame.instruction", offset, 4)
    else:
        running.put(frame, "frame.instruction", code.address + running.memory.at("code.bytecode") + offset)


def made(version, *names):
    memory = Memory(version)
    codes = [memory.code(name) for name in names]
    return memory, codes, memory.stack(*codes)


# ---- What a walk that was thrown away showed ----


def moved_before_a_walk_that_failed():
    """The innermost frame moved on; the walk that showed it first disagreed beyond the array."""
    memory, codes, frames = made("3.9", "inner", "middle", "outer")

    def change(walk):
        put_offset(running, frames[0], codes[0], 0 if walk == 1 else 2)
        put_offset(running, frames[2], codes[2], 4 if walk == 2 else 2)

    running = Running(memory, change)
    found, _ = running.capture(1)
    still = Running(memory)
    put_offset(still, frames[0], codes[0], found[0][1])
    right, _ = still.capture(1)
    return None if found == right else "%s, but that instruction is %s" % (found, right)


def pair_of_a_walk_that_failed():
    """Only a walk that was thrown away showed the caller at an instruction that the last walk shows with another callee."""
    memory = Memory("3.9")
    codes = [memory.code(name) for name in ("inner", "middle", "outer", "other")]
    frames = memory.stack(*codes[:3])

    def change(walk):
        running.put(frames[0], "frame.executable", codes[3].address if walk == 2 else codes[0].address)
        put_offset(running, frames[1], codes[1], 2 if walk == 1 else 6)
        put_offset(running, frames[2], codes[2], 4 if walk == 2 else 2)

    running = Running(memory, change)
    found, status = running.capture(2)
    pair = [(name, offset) for name, offset, _ in found]
    if pair == [("inner", 2), ("middle", 6)] and status.unconfirmed == 0:
        return "a pair that only one walk showed: %s" % pair
    return None


# ---- Damage below a thread that runs ----


def damaged_root(version, change, names=("inner", "middle", "outer")):
    memory, codes, frames = made(version, *names)
    frames[-1].set(frame__previous=DAMAGED)
    running = Running(memory, lambda walk: change(running, frames, codes, walk))
    found, status = running.capture(16)
    if status.end != pyunw.PYUNW_CORRUPT or status.address != DAMAGED or [name for name, _, _ in found] != list(names):
        return "%s: %s, end %d at %#x after %d walks" % (version, found, status.end, status.address, running.walks)
    return None


def stands(running, frames, codes, walk):
    pass


def innermost_runs(running, frames, codes, walk):
    put_offset(running, frames[0], codes[0], 2 * (walk % 5))


def moved_once(running, frames, codes, walk):
    put_offset(running, frames[0], codes[0], 2 if walk == 2 else 4)


def damaged_later(running, frames, codes, walk):
    whole = running.memory.shim.address if running.memory.version == "3.12" else 0
    running.put(frames[-1], "frame.previous", whole if walk == 1 else DAMAGED)


# ---- Chains that close on themselves, of a thread that may run ----


def cycle(total, max):
    memory, _, frames = made("3.9", *("f%d" % number for number in range(total)))
    frames[-1].set(frame__previous=frames[0].address)
    found, status = Running(memory).capture(max)
    if len(found) != len({name for name, _, _ in found}):
        return "a cycle of %d, room for %d: %d frames, not all of them different" % (total, max, len(found))
    wanted = (min(total, max), pyunw.PYUNW_TRUNCATED if max < total else pyunw.PYUNW_CORRUPT)
    if (len(found), status.end) != wanted:
        return "a cycle of %d, room for %d: %d frames, end %d, not %s" % (total, max, len(found), status.end, wanted)
    return None


def cost_of_a_restless_tail():
    """What is beyond the array never comes to rest: the tries end after a bounded number of frames."""
    depth = 1000
    memory, codes, frames = made("3.9", *("f%d" % number for number in range(depth)))
    running = Running(memory, lambda walk: [put_offset(running, frames[5 + n], codes[5 + n], 2 * (walk // 7**n % 7))
                                            for n in range(4)])
    found, status = running.capture(1)
    if running.walks * depth > MANY_FRAMES + 2 * depth:
        return "%d walks of %d frames" % (running.walks, depth)
    return None if status.end == pyunw.PYUNW_TORN and not found else "end %d, %s" % (status.end, found)


# ---- Frames that calls did not put where they are (3.11+) ----


def put_current(running, frame, end):
    """The thread executes this frame, with which its data stack ends."""
    running.put(running.memory.cframe, "cframe.current_frame", frame.address)
    running.memory.tstate.set(thread__datastack_top=end)


def end_of(frame):
    return frame.address + WORD * FRAME_WORDS


def apart(version, gap, change):
    """
    A frame that links to the outermost, though it stands so many bytes behind that one's end: (memory, the answer, its
    status). change(running, the frame, its code, the frames of the true stack, number of the walk)
    """
    memory, codes, frames = made(version, "inner", "middle", "outer")
    code = memory.code("apart")
    frame = FrameInChunk(memory, memory.chunk, end_of(frames[2]) + gap)
    frame.set(frame__executable=code.address, frame__previous=frames[2].address)
    frame.set(1, frame__owner=OWNER_THREAD, frame__is_entry=1)
    memory.set_instruction(frame, code, 1)
    memory.chunk.data.extend(bytes(WORD * FRAME_WORDS))
    running = Running(memory, lambda walk: change(running, frame, code, frames, walk))
    put_current(running, frame, end_of(frame))
    found, status = running.capture(16)
    return [name for name, _, _ in found], status, running.walks


def goes_on(running, frame, code, frames, walk):
    put_offset(running, frame, code, 2 * (walk % 5))


def returned_later(running, frame, code, frames, walk):
    goes_on(running, frame, code, frames, walk)
    if walk > 20:
        put_current(running, frames[0], end_of(frames[0]))


LEFT_BEHIND = 2 * WORD * FRAME_WORDS  # where the innermost of two frames more would end


def left_behind(version):
    """A frame that an earlier call left there links to a live one: never given as called by that."""
    found, status, walks = apart(version, LEFT_BEHIND, returned_later)
    if (found, status.end) != (["inner", "middle", "outer"], pyunw.PYUNW_COMPLETE):
        return "%s, a frame left behind: %s, end %d after %d walks" % (version, found, status.end, walks)
    return None


def left_behind_for_good(version):
    """The same, and the thread never shows another: not believed as long as anything moves, and then it is."""
    found, status, walks = apart(version, LEFT_BEHIND, goes_on)
    if found or status.end != pyunw.PYUNW_TORN:
        return "%s, a frame left behind that moves: %s, end %d after %d walks" % (version, found, status.end, walks)
    found, status, walks = apart(version, LEFT_BEHIND, lambda *_: None)
    if (found, status.end) != (["apart", "outer"], pyunw.PYUNW_COMPLETE):
        return "%s, a stack that stands: %s, end %d after %d walks" % (version, found, status.end, walks)
    return None


def close_enough(version, gap):
    """What calls do put between a frame and its caller's end."""
    found, status, walks = apart(version, gap, goes_on)
    if (found, status.end) != (["apart", "outer"], pyunw.PYUNW_COMPLETE) or walks > 4:
        return "%s, %d bytes between frames: %s, end %d after %d walks" % (version, gap, found, status.end, walks)
    return None


def next_chunk(version):
    """A call for which there was no room begins a chunk of its own."""
    memory, codes, frames = made(version, "middle", "outer")
    code = memory.code("inner")
    chunk = Structure(memory, memory.at("chunk.data"))
    chunk.set(chunk__size=2 * PAGE, chunk__previous=memory.chunk.address)
    frame = FrameInChunk(memory, chunk, chunk.address + memory.at("chunk.data"))
    frame.set(frame__executable=code.address, frame__previous=frames[0].address)
    memory.set_instruction(frame, code, 1)
    chunk.data.extend(bytes(WORD * FRAME_WORDS))
    memory.tstate.set(thread__datastack_chunk=chunk.address, thread__datastack_limit=chunk.address + 2 * PAGE)
    running = Running(memory, lambda walk: goes_on(running, frame, code, frames, walk))
    put_current(running, frame, end_of(frame))
    found, status = running.capture(16)
    names = [name for name, _, _ in found]
    if (names, status.end) != (["inner", "middle", "outer"], pyunw.PYUNW_COMPLETE) or running.walks > 4:
        return "%s, a second chunk: %s, end %d after %d walks" % (version, names, status.end, running.walks)
    return None


# ---- Roots that are none yet (3.11, 3.12) ----


def generator_of(names, generator, linked_from):
    """3.11: what is told of a stack whose generator links to its caller from that walk on: (names, end)"""
    memory = Memory("3.11")
    codes = [memory.code(name, flags=CO_GENERATOR | CO_OPTIMIZED | CO_NEWLOCALS if number == generator else
                         CO_OPTIMIZED | CO_NEWLOCALS) for number, name in enumerate(names)]
    frames = memory.stack(*codes, generators={generator})
    caller = frames[generator + 1].address if generator + 1 < len(frames) else 0
    running = Running(memory, lambda walk: running.put(frames[generator], "frame.previous",
                                                       caller if walk >= linked_from else 0))
    found, status = running.capture(16)
    return [name for name, _, _ in found], status.end


NEVER = 10**6


def generators():
    """A generator that is just being linked to its caller is no root; one that C runs without a Python frame is."""
    told = [
        (generator_of(["it", "caller", "outer"], 0, 5), (["it", "caller", "outer"], pyunw.PYUNW_COMPLETE)),
        (generator_of(["called", "it", "caller", "outer"], 1, 5),
         (["called", "it", "caller", "outer"], pyunw.PYUNW_COMPLETE)),
        (generator_of(["it", "caller"], 0, NEVER)[1], pyunw.PYUNW_CORRUPT),
        (generator_of(["it"], 0, NEVER), (["it"], pyunw.PYUNW_COMPLETE)),
        (generator_of(["called", "it"], 1, NEVER), (["called", "it"], pyunw.PYUNW_COMPLETE)),
    ]
    return "; ".join("a generator: %s, not %s" % pair for pair in told if pair[0] != pair[1])


def thread_being_made(version, made_by):
    """A thread state is in the list before it has a _PyCFrame: it has no frame yet, and is not damaged."""
    memory, _, _ = made(version, "inner", "outer")
    memory.tstate.set(thread__frame=0)

    def change(walk):
        memory.tstate.set(thread__frame=memory.cframe.address if walk >= made_by else 0)

    running = Running(memory, change)
    found, status = running.capture(16)
    names = [name for name, _, _ in found]
    right = ([], pyunw.PYUNW_NO_FRAME) if made_by == NEVER else (["inner", "outer"], pyunw.PYUNW_COMPLETE)
    if (names, status.end) != right:
        return "%s, a thread state that is being made: %s, end %d" % (version, names, status.end)
    return None


def main():
    cases = [generators, moved_before_a_walk_that_failed, pair_of_a_walk_that_failed, cost_of_a_restless_tail]
    for version in ("3.9", "3.11", "3.12"):
        for change in (stands, innermost_runs, moved_once, damaged_later):
            cases.append(lambda version=version, change=change: damaged_root(version, change))
    for version in ("3.11", "3.12"):
        cases += [lambda version=version, case=case: case(version)
                  for case in (left_behind, left_behind_for_good, next_chunk)]
        cases += [lambda version=version, by=by: thread_being_made(version, by) for by in (NEVER, 2)]
    cases += [lambda: close_enough("3.11", 0)]
    cases += [lambda gap=gap: close_enough("3.12", gap) for gap in (0, 80, 128)]  # _Py_InitCleanup's frame, hidden
    for total, max in ((41, 60), (41, 62), (41, 41), (31, 60), (40, 127), (100, 60), (1, 8), (2, 9)):
        cases.append(lambda total=total, max=max: cycle(total, max))
    wrong = [why for why in (case() for case in cases) if why]
    print("\n".join(wrong + ["%d threads that run on: %d wrong" % (len(cases), len(wrong))]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
