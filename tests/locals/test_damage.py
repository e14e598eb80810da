# interpreters: each
"""
Values and variables of frames whose memory is damaged at random while it is read, and of which reads are refused: no
crash, valid UTF-8 within the room, and a bounded count of reads whatever the damage; and the worst of that count.
"""

import ctypes
import mmap
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
import subject
from compile import compile_shared

SIZE = 4096
ROUNDS = 1200
# A value: each slot that is looked at may cost two reads, each byte that is written some.
MOST_READS_OF_SLOTS = 2 * 65536
MOST_READS_OF_VALUE = MOST_READS_OF_SLOTS + 16 * SIZE
MOST_READS_OF_LOCAL = 50
MOST_LOCALS = 3 * 65536

HELPER = ctypes.CDLL(compile_shared("damage_of_locals", "damage.c", pyunwind=True))


class Damage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("state", "word_odds", "refuse_odds", "reads", "damaged", "last_address")]


class Image:
    """The own process, read through the damage."""

    def __init__(self):
        info = pyunw.describe_target(pyunw.open_self())
        self.damage = Damage(state=1)
        self.image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image),
            read=ctypes.cast(HELPER.read_damaged, pyunw.pyunw_read_function),
            context=ctypes.addressof(self.damage), may_change=1, runtime=info.runtime, version=info.version,
            free_threaded=info.free_threaded, code_type=info.code_type)
        self.target = pyunw.pyunw_target()
        pyunw.check(pyunw.lib.pyunw_open_image(self.target, self.image, None))
        self.most = 0

    def begin(self, seed, word_odds, refuse_odds):
        self.damage.state = seed * 0x9E3779B97F4A7C15 % 2**64 or 1
        self.damage.word_odds, self.damage.refuse_odds, self.damage.reads = word_odds, refuse_odds, 0


class Plain:
    def __init__(self):
        self.b, self.a = 1, 2


def values():
    emptied = {n: n for n in range(300)}
    for n in range(290):
        del emptied[n]
    return [
        0, 10**300, -(2**5000), 1.5, True, None, "plain", "größe'\n" * 50, "日本\ud800", "😀" * 300, b"data\xff" * 100, (), [],
        (1, "two", [3.0, {4: (5,)}]), list(range(100)), {}, {"a": 1, "b": [2]}, {1: {2: {3: 4}}}, emptied, {1, "a", 2.5},
        frozenset(range(50)), Plain().__dict__, Plain(), Plain, type("Größe" * 50, (str,), {})("x"), sys, len,
    ]


def describe(image, value, seed, *odds):
    image.begin(seed, *odds)
    text, flags = pyunw.describe_value(image.target, id(value), None, SIZE)
    assert flags & ~3 == 0, flags
    assert image.damage.reads <= MOST_READS_OF_VALUE, (image.damage.reads, seed, text)
    image.most = max(image.most, image.damage.reads)
    return text


def damaged_values(image):
    whole = values()
    undamaged = [describe(image, value, 1, 0, 0) for value in whole]
    changed = 0
    for seed in range(1, ROUNDS + 1):
        for value, text in zip(whole, undamaged):
            changed += describe(image, value, seed, seed % 40 + 2, 0 if seed % 3 else seed % 20 + 2) != text
    assert undamaged == [describe(image, value, 1, 0, 0) for value in whole]
    return changed


def take_locals(image, raw):
    """Walk over the variables of a frame: how many there are, -1 where the walk could not begin."""
    cursor, local = pyunw.pyunw_local_cursor(), pyunw.pyunw_local()
    result = pyunw.lib.pyunw_locals_begin(image.target, raw, cursor)
    assert result <= 0, result
    if result < 0:
        assert pyunw.lib.pyunw_locals_next(cursor, local) == pyunw.PYUNW_ERR_NOT_OPEN
        return -1
    count = 0
    while True:
        result = pyunw.lib.pyunw_locals_next(cursor, local)
        if result != 1:
            break
        local.text()
        assert not local.flags & ~63 and (local.object == 0 or not local.flags & pyunw.PYUNW_LOCAL_UNREADABLE)
        count += 1
        assert count <= MOST_LOCALS
    assert image.damage.reads <= MOST_READS_OF_SLOTS + MOST_READS_OF_LOCAL * (count + 1), (image.damage.reads, count)
    assert pyunw.lib.pyunw_locals_end(cursor) in (0, pyunw.PYUNW_ERR_TORN)
    return count


def damaged_frames(image, raws):
    counts = []
    for raw in raws:
        image.begin(1, 0, 0)
        counts.append(take_locals(image, raw))
    assert min(counts) >= 0 and max(counts) >= 600, counts
    changed = 0
    for seed in range(1, ROUNDS // 4):
        for raw, count in zip(raws, counts):
            image.begin(seed, seed % 100 + 2, 0 if seed % 3 else seed % 50 + 2)
            # A wide frame is much of the same.
            changed += count < 300 and take_locals(image, raw) != count
    return changed


def check_empty_slots(image):
    """A set whose table is a gigabyte of nothing."""
    room = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
    table = ctypes.addressof(ctypes.c_char.from_buffer(room))
    value = {1, 2}
    copy = ctypes.create_string_buffer(ctypes.string_at(id(value), value.__sizeof__() + 64), 4096)
    address = ctypes.addressof(copy)
    head = object.__basicsize__
    fields = (ctypes.c_uint64 * 4).from_address(address + head)  # fill, used, mask, table
    fields[2], fields[3] = (1 << 26) - 1, table
    image.begin(1, 0, 0)
    text, flags = pyunw.describe_value(image.target, address, None, SIZE)
    assert text == "{...}" and flags == pyunw.PYUNW_VALUE_TRUNCATED, text
    assert 1000 < image.damage.reads <= 65536, image.damage.reads


def fuzz():
    image = Image()
    # The innermost frames are this function's own.
    raws = [raw for raw in pyunw.walk(pyunw.open_self())[0]][3:]
    changed = damaged_values(image)
    frames = damaged_frames(image, raws)
    check_empty_slots(image)
    assert changed > 10000 and frames > 500 and image.damage.damaged > 10000, (changed, frames, image.damage.damaged)
    print("%d damaged values and %d damaged frames read, at most %d reads a value" % (changed, frames, image.most))
    sys.stdout.flush()


def main():
    subject.stand = fuzz
    subject.numbers(0, extra=[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
