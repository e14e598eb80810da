# interpreters: each
# weight: heavy
"""
Structures of a live process overwritten on purpose: the frame chain, frames, code objects, line tables, strings,
thread states, the lists of threads and interpreters, the runtime. With cycles, NULL, wild, unmapped, misaligned and
non-canonical pointers, ends of mappings, objects of other types, huge and negative lengths. Of another thread and of
the own one; read direct (what is not the own stack), trapped, in the three guarded ways, and as an image: through a
reader, from segments alone, as one that may change. A status, never a fault; a bounded number of reads; and the
frames given before the damage are right.
"""

import ctypes
import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "promise"))

import calls
import pyunw
import snapshots
from compile import compile_shared
from damages import Damage, Maker
from programs import BlockedThread, descend, frames_from
from structures import layout_offsets_type

DEPTH = 12
ROOM, FEW, THREADS = 96, 9, 16
WRITES_JSON = ("trapped", "image that may change")
DEAR, DEAR_EVERY = 2, 7  # memories at the end of the list that take several system calls for each read
# Of one capture of 28 frames, which takes some hundreds, or eight times that of a thread that may run on; of a thread list with two entries.
MOST_READS = 6000
MOST_THREAD_READS = 2000


class Patch(ctypes.Structure):
    _fields_ = [("address", ctypes.c_uint64), ("value", ctypes.c_uint64), ("size", ctypes.c_uint64)]


class Probe(ctypes.Structure):
    """struct probe of damage.c"""

    _fields_ = [
        ("target", ctypes.c_void_p),
        ("reads", ctypes.c_void_p),
        ("knows_own", ctypes.c_int32),
        ("json", ctypes.c_int32),
        ("done", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("few_count", ctypes.c_int32),
        ("thread_count", ctypes.c_int32),
        ("threads_result", ctypes.c_int32),
        ("current_result", ctypes.c_int32),
        ("json_result", ctypes.c_int32),
        ("json_threads_result", ctypes.c_int32),
        ("current", pyunw.pyunw_addr),
        ("status", pyunw.pyunw_status),
        ("few_status", pyunw.pyunw_status),
        ("most_reads", ctypes.c_uint64),
        ("thread_reads", ctypes.c_uint64),
        ("frames", pyunw.pyunw_frame * ROOM),
        ("few", pyunw.pyunw_raw_frame * FEW),
        ("threads", pyunw.pyunw_thread * THREADS),
    ]


class Memory:
    def __init__(self, label, target, reads=None, segments=None):
        self.label, self.target, self.reads, self.segments = label, target, reads, segments
        self.knows_own = not label.startswith("image")
        self.json = tempfile.TemporaryFile() if label in WRITES_JSON else None

    def holds(self, address, size):
        """Of a memory made of segments: are these bytes in one of them?"""
        return self.segments is None or any(
            one.address <= address and address + size <= one.address + one.size for one in self.segments)

    def take_json(self):
        """What was written since the last time."""
        if self.json is None:
            return b""
        self.json.seek(0)
        data = self.json.read()
        self.json.seek(0)
        self.json.truncate()
        return data


def load_helper():
    helper = ctypes.PyDLL(compile_shared("damage", "damage.c", flags=calls.core_flags(), pyunwind=True))
    helper.offsets_of.argtypes, helper.offsets_of.restype = [ctypes.POINTER(pyunw.pyunw_target)], ctypes.c_void_p
    helper.make_probes.restype = ctypes.POINTER(Probe)
    helper.end_of_mapping.argtypes, helper.end_of_mapping.restype = [ctypes.c_size_t], ctypes.c_uint64
    helper.ask_damaged.argtypes = [
        ctypes.POINTER(Probe), ctypes.c_int, ctypes.c_int, pyunw.pyunw_addr, ctypes.POINTER(Patch), ctypes.c_int,
        ctypes.c_void_p, ctypes.c_size_t,
    ]
    return helper


class Asker:
    """Asks every memory for a thread of the damaged process."""

    def __init__(self, helper, memories, segments, at):
        self.helper, self.memories, self.at = helper, memories, at
        self.segments = (pyunw.pyunw_segment * len(segments))(*segments)
        self.probes = helper.make_probes(len(memories))
        for number, memory in enumerate(memories):
            probe = self.probes[number]
            probe.target, probe.knows_own = ctypes.addressof(memory.target), memory.knows_own
            probe.json = memory.json.fileno() if memory.json else -1
            if memory.reads is not None:
                probe.reads = ctypes.addressof(memory.reads)

    def ask(self, first, last, tstate, damage):
        """Wait status of the process that was damaged."""
        patches = damage.patches
        damage.follow_link(self.at.frame)
        array = (Patch * len(patches))(*[Patch(*patch) for patch in patches])
        values = self.probes, first, last, tstate, array, len(patches), self.segments, len(self.segments)
        self.own, status = frames_from(sys._getframe()), self.helper.ask_damaged(*values)
        return status

    def ask_all(self, tstate, damage, count=None):
        """[(memory, probe, wait status)] of the first count memories, or of all."""
        count = len(self.memories) if count is None else count
        answers = []
        ranges = [(0, count)]
        for first, last in ranges:  # one call of ask() for all, so that the own stack is the same each time
            status = self.ask(first, last, tstate, damage)
            if status != 0 and last - first > 1:  # which of them ended the process?
                ranges.extend((number, number + 1) for number in range(first, last))
            else:
                answers.extend((self.memories[number], self.probes[number], status) for number in range(first, last))
        return answers


def bytes_of(array, count):
    return ctypes.string_at(ctypes.addressof(array), max(count, 0) * ctypes.sizeof(array._type_))


class Truth:
    """What is so while nothing is damaged."""

    def __init__(self, probe, said, threads, current):
        assert probe.count == len(said) and probe.status.end == pyunw.PYUNW_COMPLETE, (probe.count, len(said))
        self.frames = [snapshots.Frame(frame) for frame in probe.frames[: probe.count]]
        assert [(frame.raw[0], frame.position[0]) for frame in self.frames] == said, "the stack is not what it is"
        self.raw = [frame.raw for frame in self.frames]
        self.frame_bytes = bytes_of(probe.frames, probe.count)
        self.threads, self.current = threads, current


# ---- The judgement ----

FLAGS = snapshots.RAW_FIELDS.index("flags")
ERRORS = {value for name, value in vars(pyunw).items() if name.startswith("PYUNW_ERR_")}


def frames_wrong(damage, truth, seen, count, status, raws):
    """What is wrong with the raw frames of an answer, or None. seen: the true ones as the damage lets them be seen."""
    end = status.end
    if count < 0:
        if count not in ERRORS:
            return "error %d" % count
        if damage.kind in ("start", "list", "stack"):
            return None
        return "no frames: %s" % pyunw.lib.pyunw_strerror(count).decode()
    if damage.kind in ("text", "same"):
        return whole_wrong(truth, end, raws)
    if damage.kind == "kind":
        return whole_wrong(truth, end, [with_true_kind(damage, truth, number, raw) for number, raw in enumerate(raws)])
    if damage.kind == "either" and end == pyunw.PYUNW_COMPLETE:
        return whole_wrong(truth, end, raws)
    if damage.kind == "either" and len(raws) == len(truth.raw) == damage.good + 1:
        return prefix_wrong(seen, raws, len(raws))  # the bottom of the stack, which is not believed to be one
    if damage.kind == "frame" and damage.good == 0 and end in snapshots.PARTIAL and status.unconfirmed > 0:
        return run_wrong(truth, raws)  # 3.11, 3.12: the evaluation loop outside of the damaged one
    if damage.kind in ("link", "frame", "cut", "either"):
        if end == pyunw.PYUNW_COMPLETE and damage.kind != "cut":
            return "called complete"
        if end == pyunw.PYUNW_TORN and damage.kind != "either":
            return "called torn, but it stays so"
        return prefix_wrong(seen, raws, damage.good)
    if end == pyunw.PYUNW_COMPLETE and damage.kind != "start":
        return whole_wrong(truth, end, raws)
    if end in snapshots.PARTIAL and status.unconfirmed > 0:
        return run_wrong(truth, raws)
    if damage.kind == "start":
        return "%d frames, %s" % (count, pyunw.lib.pyunw_end_name(end).decode()) if count else None
    return prefix_wrong(seen, raws, len(raws))


def with_link(damage, truth, memory):
    """The true frames as a damaged link lets them be seen."""
    true = list(truth.raw)
    if damage.entry is not None:
        raw, entry = true[damage.good - 1], damage.entry and memory.holds(damage.link, damage.frame_size)
        true[damage.good - 1] = raw[:FLAGS] + (pyunw.PYUNW_FRAME_ENTRY if entry else 0,) + raw[FLAGS + 1:]
    return true


def with_true_kind(damage, truth, number, raw):
    if number not in damage.frames or number >= len(truth.raw):
        return raw
    return raw[:3] + truth.raw[number][3:4] + raw[4:]


def whole_wrong(truth, end, raws):
    if end != pyunw.PYUNW_COMPLETE:
        return "all frames are there, but %d are given, %s" % (len(raws), pyunw.lib.pyunw_end_name(end).decode())
    if len(raws) != len(truth.raw):
        return "%d of %d frames, but called complete" % (len(raws), len(truth.raw))
    return prefix_wrong(truth.raw, raws, len(truth.raw))


def prefix_wrong(true_raws, raws, good):
    """The frames before the damage, all of them and no other."""
    for number, (raw, true) in enumerate(zip(raws, true_raws)):
        why = snapshots.differs_raw(raw, true, False)
        if why and number < good:
            return "frame %d: %s" % (number, why)
    if len(raws) != good:
        return "%d frames are given, %d stand before the damage" % (len(raws), good)
    return None


def run_wrong(truth, raws):
    """A run of frames that ends with the stack."""
    true = truth.raw[len(truth.raw) - len(raws):]
    for number, (raw, right) in enumerate(zip(raws, true)):
        why = snapshots.differs_raw(raw, right, False)
        if why:
            return "frame %d of a run: %s" % (number, why)
    return None


def texts_wrong(damage, truth, frames):
    """Descriptions of frames that the damage does not concern."""
    for number, frame in enumerate(frames):
        try:
            found = snapshots.Frame(frame)
        except ValueError as error:  # not UTF-8, or without an end
            return "frame %d: %s" % (number, error)
        right = next((true for true in truth.frames if true.raw[1] == found.raw[1]), None)
        if right is None or number in damage.frames or damage.kind == "kind":
            continue
        found.raw = right.raw
        why = found.differs(right)
        if why or found.flags & snapshots.Frame.UNREADABLE:
            return "frame %d: %s" % (number, why or "flagged as unreadable")
    return None


def few_wrong(damage, seen, count, raws):
    """An array that is too small: never a frame twice, never one that is not there."""
    if count <= 0:
        return None
    addresses = [raw[1] for raw in raws]
    if len(set(addresses)) != len(addresses):
        return "a frame is given twice in a small array"
    if damage.kind in ("link", "frame", "cut") and damage.good > 0:
        return prefix_wrong(seen, raws, min(damage.good, FEW))
    return None


def threads_wrong(damage, truth, probe):
    told = [thread.tstate for thread in probe.threads[: min(probe.thread_count, THREADS)]]
    if probe.threads_result not in ERRORS | {0}:
        return "result %d" % probe.threads_result
    if probe.thread_count > len(truth.threads) or len(set(told)) != len(told):
        return "%d threads are told, there are %d" % (probe.thread_count, len(truth.threads))
    if any(tstate not in truth.threads for tstate in told):
        return "a thread that is none is told"
    if damage.kind != "list" and (probe.threads_result != 0 or told != truth.threads):
        return "%d of %d threads are told" % (len(told), len(truth.threads))
    if probe.knows_own:
        found = probe.current_result == 0
        if found and probe.current != truth.current:
            return "the calling thread is taken for another"
        if not found and damage.kind not in ("list", "start"):
            return "the calling thread is not found: %d" % probe.current_result
    return None


def json_wrong(memory, probe):
    """Whatever is damaged: lines of valid JSON, none cut short."""
    data = memory.take_json()
    if memory.json is None:
        return None
    if probe.json_result not in ERRORS | {0} or probe.json_threads_result not in ERRORS | {0}:
        return "results %d and %d" % (probe.json_result, probe.json_threads_result)
    try:
        lines = data.decode("utf-8").split("\n")
        for line in lines[:-1]:
            json.loads(line)
    except ValueError as error:
        return "%s: %r" % (error, data[:200])
    return "the last line has no end" if lines[-1] else None


def reads_wrong(probe):
    if probe.most_reads > MOST_READS:
        return "%d reads for one capture" % probe.most_reads
    if probe.thread_reads > MOST_THREAD_READS:
        return "%d reads for the list of threads" % probe.thread_reads
    return None


def is_right(truth, memory, probe):
    """Is every byte of it what it is without damage? Then nothing need be looked at."""
    return (
        bytes_of(probe.frames, probe.count) == truth.frame_bytes
        and probe.status.end == pyunw.PYUNW_COMPLETE
        and probe.threads_result == 0
        and [thread.tstate for thread in probe.threads[: probe.thread_count]] == truth.threads
        and (not memory.knows_own or (probe.current_result, probe.current) == (0, truth.current))
        and reads_wrong(probe) is None
    )


def wrong_with(damage, truth, memory, probe, status):
    """[what is wrong]"""
    if os.WIFSIGNALED(status):
        return ["the process was ended by signal %d" % os.WTERMSIG(status)]
    if status != 0 or not probe.done:
        return ["the process ended with status %#x" % status]
    bad_json = json_wrong(memory, probe)
    if not bad_json and damage.kind not in ("link", "frame", "start") and is_right(truth, memory, probe):
        return []
    few = [snapshots.raw_values(raw) for raw in probe.few[: max(probe.few_count, 0)]]
    frames = probe.frames[: max(probe.count, 0)]
    seen = with_link(damage, truth, memory)
    raw = [snapshots.raw_values(frame.raw) for frame in frames]
    found = [
        ("capture", frames_wrong(damage, truth, seen, probe.count, probe.status, raw)),
        ("walk", few_wrong(damage, seen, probe.few_count, few)),
        ("capture", texts_wrong(damage, truth, frames)),
        ("threads", threads_wrong(damage, truth, probe)),
        ("reads", reads_wrong(probe)),
        ("JSON", bad_json),
    ]
    return ["%s: %s" % (what, why) for what, why in found if why]


# ---- The memories ----


def make_memories(info, tstate, read_by_loads):
    """The memories, the dear ones last; and the segments that one of them is made of."""
    memories = [
        Memory("direct", pyunw.open_self(pyunw.PYUNW_MEMORY_DIRECT)),
        Memory("trapped", pyunw.open_self(pyunw.PYUNW_MEMORY_TRAPPED)),
    ]
    guarded = []
    for name in ("READV", "PROC_MEM", "PIPE"):
        guard = getattr(pyunw, "PYUNW_GUARD_" + name)
        guarded.append(Memory("guarded " + name.lower(), pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, guard)))
    memories.append(guarded[0])
    images = (("image", 0, 1), ("image that may change", 1, 1), ("image without PyCode_Type", 0, 0))
    for label, may_change, named in images:
        reads = ctypes.c_uint64()
        target, error = snapshots.open_image(snapshots.image_of(
            info, reads, may_change=may_change, code_type=info.code_type if named else 0, read=read_by_loads))
        pyunw.check(error)
        memories.append(Memory(label, target, reads))
    recorder = snapshots.Reader()
    recorder.record()
    recorded, error = snapshots.open_image(snapshots.image_of(info, recorder))
    pyunw.check(error)
    snapshots.capture(recorded, tstate)
    pyunw.threads(recorded)
    segments = snapshots.segments_of(recorder.recorded())
    target, error = snapshots.open_image(snapshots.image_of(info, segments=segments))
    pyunw.check(error)
    return memories + [Memory("image of segments", target, segments=segments)] + guarded[1:], segments


def run(helper, failures, blocked, only=None):
    """
    Every damage to a thread, the calling one where blocked is None: (damages, most reads of a capture, memories).
    only: the kinds of damage, read guarded alone.
    """
    opened = pyunw.open_self()
    info = pyunw.describe_target(opened)
    threads, current = [thread.tstate for thread in pyunw.threads(opened)], pyunw.current_thread(opened)
    tstate = current if blocked is None else blocked.tstate
    memories, segments = make_memories(info, tstate, helper["read_by_loads"])
    if blocked is None:
        # `direct` trusts the own stack; a snapshot of it is of another moment.
        memories = [memory for memory in memories if memory.label not in ("direct", "image of segments")]
    if only:
        memories = [memory for memory in memories if memory.label.startswith("guarded")]
    at = layout_offsets_type().from_address(helper.offsets_of(opened))
    asker = Asker(helper, memories, segments, at)
    truth, most_reads = None, 0
    plan = [Damage("same", "nothing", [])]
    for number, damage in enumerate(plan):
        # The dear memories are asked of some of each kind: their reads fail as those of the others.
        answers = asker.ask_all(tstate, damage, None if number % DEAR_EVERY == 0 else len(memories) - DEAR)
        if number == 0:
            said = asker.own if blocked is None else blocked.frames()
            truth = Truth(asker.probes[0], [(code, line) for code, _, _, _, line in said], threads, current)
            maker = Maker(at, truth.frames, tstate, info.runtime, helper.end_of_mapping, blocked is None)
            plan += [damage for damage in maker.make() if not only or damage.kind in only]
        for memory, probe, status in answers:
            for why in wrong_with(damage, truth, memory, probe, status):
                label = memory.label + (" without the trap" if only else "")
                failures.add(damage.name, why, label, "own" if blocked is None else "other")
            most_reads = max(most_reads, probe.most_reads)
    return len(plan) - 1, most_reads, len(memories)


class Failures:
    """Counts wrong answers, and keeps for each kind of damage and of answer the first, and the memories."""

    def __init__(self):
        self.count, self.kinds = 0, {}

    def add(self, damage, why, memory, thread):
        self.count += 1
        key = tuple(re.sub(r"0x[0-9a-f]+|-?\d+", "N", text) for text in (damage.partition(": ")[0], why)) + (thread,)
        kind = self.kinds.setdefault(key, [0, damage, why, thread, []])
        kind[0] += 1
        if memory not in kind[4]:
            kind[4].append(memory)

    def report(self):
        for count, damage, why, thread, memories in sorted(self.kinds.values(), key=lambda kind: kind[1]):
            print("%s, %s thread: %s [%d like it; %s]" % (damage, thread, why, count, ", ".join(memories)))


def main():
    helper, failures = load_helper(), Failures()
    assert helper.catch_faults() == 0
    pyunw.check(pyunw.lib.pyunw_trap_install())
    with BlockedThread(DEPTH) as blocked:
        blocked.find(pyunw.threads(pyunw.open_self()))
        other, other_reads, memories = run(helper, failures, blocked)
        results = []
        descend(DEPTH, lambda: results.append(run(helper, failures, None)))
        # Nothing comes back from a fault of the library's then.
        pyunw.check(pyunw.lib.pyunw_trap_remove())
        untrapped, _, _ = run(helper, failures, blocked, only=("start", "list"))
    own, own_reads, _ = results[0]
    failures.report()
    print("%d damages of another thread, %d of the own one, in up to %d memories, %d without the trap: "
          "%d wrong answers; at most %d reads for one capture"
          % (other, own, memories, untrapped, failures.count, max(other_reads, own_reads)))
    return 1 if failures.count else 0


if __name__ == "__main__":
    sys.exit(main())
