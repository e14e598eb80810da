# interpreters: each
"""
pyunw_describe_value() of the interpreter's own objects against repr(), cut alike: every kind of value that it writes,
thousands of random ones of each, limits of every size, and room of every size.
"""

import collections
import ctypes
import enum
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from limited import Limits

TARGET = pyunw.open_self()
RANDOM = random.Random(4)
ADDRESSES = []  # of segments, to keep what is described alive
compared = 0


def described(value, limits=None):
    raw = limits and pyunw.pyunw_value_limits(ctypes.sizeof(pyunw.pyunw_value_limits), limits.depth, limits.items,
                                              limits.characters)
    return pyunw.describe_value(TARGET, id(value), raw)


def compare(value, limits=None):
    global compared
    text, flags = described(value, limits)  # before __dict__ is asked for, which makes a dictionary
    wanted = (limits or Limits()).of(value)
    assert text == wanted, "%s\nis not\n%s" % (text, wanted)
    assert not flags & pyunw.PYUNW_VALUE_UNREADABLE, text
    assert "..." in text or not flags & pyunw.PYUNW_VALUE_TRUNCATED, text
    text, _ = described(value, limits)
    assert text == wanted, "%s\nis not, with its dictionaries made,\n%s" % (text, wanted)
    compared += 1


# ---- Numbers --------------------------------------------------------------------------------------------------------


def integers():
    for bits in list(range(0, 132)) + [150, 1000, 1139, 1140, 1141, 1142, 1143, 1144, 1170, 2000, 50000]:
        for value in (2**bits - 1, 2**bits, 2**bits + 1, RANDOM.getrandbits(bits + 1)):
            yield value
            yield -value
    for exponent in range(0, 343):
        yield 10**exponent
        yield 10**exponent - 1
    for _ in range(2000):
        yield RANDOM.getrandbits(RANDOM.randrange(1, 400)) - RANDOM.getrandbits(100)


def floats():
    yield from (0.0, -0.0, 1e300, 1e16, 1e15, 9999999999999998.0, 123456.0, 1e-4, 1e-5, 0.1, 1 / 3, 5e-324, 2.5e-323)
    yield from (float("inf"), float("-inf"), float("nan"), sys.float_info.max, sys.float_info.min, 9007199254740993.0)
    for exponent in range(-1074, 1024):
        value = 2.0**exponent
        yield from (value, value * (1 + 2**-52), value * (1 - 2**-53))
    for exponent in range(-323, 309):
        yield float("1e%d" % exponent)
        yield float("%de%d" % (RANDOM.randrange(1, 10**RANDOM.randrange(1, 18)), exponent - 17))
    for _ in range(10000):
        yield struct.unpack("d", struct.pack("Q", RANDOM.getrandbits(64)))[0]
    for _ in range(2000):
        yield RANDOM.randrange(10**7) / 10**RANDOM.randrange(8)


# ---- Texts ----------------------------------------------------------------------------------------------------------

LATIN, WIDE, ASTRAL = "a'\"\\\n\t\r\0\x7f\x80\x9f\xa0\xad\xe9\xff", "\u0100жя日\u2028\u202e\ud800\udfff\ufeff", "\U00010000😀\U0001d11e\U000e0001"


def texts():
    yield from ("", "it's", 'say "no"', "both ' and \"", "\\", "a" * 199, "a" * 200, "a" * 201, "é" * 300, "日" * 300, "😀" * 300)
    yield "x" * 200 + "'"
    for alphabet in ("ab'\"", LATIN, LATIN + WIDE, LATIN + WIDE + ASTRAL):
        for _ in range(300):
            yield "".join(RANDOM.choice(alphabet) for _ in range(RANDOM.randrange(260)))
    yield from (chr(code) for code in range(0x180) if chr(code).isprintable() or code < 0x100)


def byte_strings():
    yield from (b"", bytes(range(256))[:200], bytes(range(56, 256)), b"it's", b"a" * 201, b"'\"")
    for _ in range(300):
        yield bytes(RANDOM.getrandbits(8) for _ in range(RANDOM.randrange(220)))


# ---- Containers -----------------------------------------------------------------------------------------------------


class Plain:
    pass


class Error(Exception):
    pass


class Slots:
    __slots__ = ("a", "b")


class Both(Slots):
    pass


class Color(enum.IntEnum):
    RED = 2


class Text(str):
    pass


class Data(bytes):
    pass


class Mine(dict):
    pass


class Row(list):
    pass


Point = collections.namedtuple("Point", "x y")


def instance_dict(names):
    made = Plain()
    for name in names:
        setattr(made, name, name.upper())
    return made.__dict__


def with_deletions(count, keep):
    made = {n: str(n) for n in range(count)}
    for n in range(count):
        if n % keep:
            del made[n]
    return made


def shrunk(first):
    made = set(range(100))
    for n in range(first):
        made.discard(n)
    return made


def sets():
    yield from (set(), frozenset(), {1}, {"a"}, set(range(5)), frozenset(range(30)), {(), (1,)}, set(range(1000)))
    yield shrunk(95)
    for _ in range(200):
        made = {RANDOM.choice((RANDOM.getrandbits(20), str(RANDOM.random()))) for _ in range(RANDOM.randrange(40))}
        for _ in range(RANDOM.randrange(20)):
            if made:
                made.pop()
        yield made


def dicts():
    yield from ({}, {1: 2}, {"a": "b"}, {None: ()}, {"a": 1, 2: "mixed"}, {(): {}}, dict.fromkeys(range(1000)))
    yield from (with_deletions(100, 7), with_deletions(300, 50), with_deletions(60000, 10000))
    yield {str(n): n for n in range(300)}
    yield instance_dict("")
    yield instance_dict("a")
    yield instance_dict("abc")
    yield instance_dict("bca")  # another order than the keys that it shares
    yield instance_dict(["x%d" % n for n in range(10)])
    made = instance_dict("abc")
    del made["a"]
    yield made
    made["a"] = 1
    yield made
    yield Plain().__dict__
    yield {b: {b: {b: b}} for b in "ab"}
    if sys.version_info >= (3, 15):
        yield from (frozendict(), frozendict(a=1), frozendict({2: 3}))  # noqa: F821
    for _ in range(200):
        yield {RANDOM.choice((RANDOM.getrandbits(20), str(RANDOM.random()))): [n] for n in range(RANDOM.randrange(40))}


def sequences():
    yield from ((), [], (1,), [1], (1, 2), [[]], ((),), [None] * 19, [None] * 20, [None] * 21, tuple(range(100)))
    yield [[[[[]]]]]
    yield [[[[[1]]]]]
    yield ((((1,),),),)
    yield [1, [2, [3, [4, [5]]]], (), {}, {1: {2: {3: {4: 5}}}}]
    cycle = [1]
    cycle.append(cycle)
    yield cycle
    loop = {}
    loop["self"] = loop
    yield (loop, loop)
    yield [{1, 2}, frozenset("a"), {(1, 2): [3]}, "text", b"data", 1.5, True, False, None, ..., NotImplemented]


def instance(names, kind=Plain):
    made = kind()
    for name in names:
        setattr(made, name, name.upper())
    return made


def instances():
    yield instance("")
    for kind in (Plain, Both, Error):
        for names in ("a", "ab", "ba", "bca", ["x%d" % n for n in range(15)], ["größe", "日本"]):
            yield instance(names, kind)
    few = instance("abcd")
    del few.b
    yield few
    few.b = [few, instance("a")]
    yield few
    yield [instance("a"), {instance("b"): instance("c")}]
    yield [[[instance("a")]]]
    yield instance(["y%d" % n for n in range(40)])
    replaced = instance("ab")
    replaced.__dict__ = {"other": 1, "a": [instance("c")]}
    yield replaced
    slots = Slots()
    slots.a = 1
    yield slots
    for _ in range(100):
        names = ["f%d" % n for n in range(RANDOM.randrange(12))]
        RANDOM.shuffle(names)
        made = instance(names)
        for name in names[:RANDOM.randrange(3)]:
            delattr(made, name)
        yield made


def others():
    yield from (Plain(), Slots(), object(), len, others, sys, compare.__code__, iter([]), 1j, bytearray(b"x"), range(3))
    yield from (int, type, Plain, Slots, collections.OrderedDict, enum.Enum, ValueError, ValueError("x"))
    yield from (Color.RED, Text("it's"), Text("é" * 300), Data(b"x"), Row([1, [2]]), Row(), Point(1, [2]))
    yield from (Mine(), Mine(a=1, b=[2]), collections.defaultdict(list, a=[1]), collections.Counter("abca"))
    yield [Mine({1: Mine()}), Color.RED, Point(Text(""), Data())]

    class Größe:
        class Inner:
            pass

    yield from (Größe(), Größe.Inner())


def compare_limits():
    values = [list(sequences()), {1: "a" * 50, "b": (2, 3), 3: {4: {5: 6}}}, "abc" * 30, b"abc" * 30, 2**5000]
    for depth in range(pyunw.PYUNW_VALUE_DEPTH_MAX + 1):
        for items in (1, 2, 7, 100):
            for characters in (1, 2, 50, 1000):
                for value in values:
                    compare(value, Limits(depth, items, characters))


def check_room():
    """Whatever the room, the text is a prefix of the whole, and dots."""
    value = ["größe 日本 😀", {"key": (1.5, None)}, b"\xff", 2**70, Plain()]
    whole, _ = described(value)
    size_of_whole = len(whole.encode())
    for size in range(8, size_of_whole + 8):
        text, flags = pyunw.describe_value(TARGET, id(value), None, size)
        if text != whole:
            assert text.endswith("...") and whole.startswith(text[:-3]), (size, text)
            assert flags == pyunw.PYUNW_VALUE_TRUNCATED and size < size_of_whole + 8, (size, flags)
        else:
            assert flags == 0 and size > size_of_whole, (size, flags)


def check_impossible():
    """Numbers and lengths that CPython never writes."""
    word = object.__basicsize__
    for value, at, size, bad in ((2**40, word + 8, 4, 2**30), (2**40, word, 8, 2**60), (True, word, 8, 99 << 3),
                                 (b"data", word, 8, 2**57), ([1], word, 8, 2**41), ((1,), word, 8, 2**63),
                                 ("text", word, 8, 2**40), ({1}, word + 16, 8, 6), ({1: 2}, word + 16, 8, 4096 + 1)):
        copy = ctypes.create_string_buffer(ctypes.string_at(id(value), sys.getsizeof(value)) + bytes(64))
        described_by = pyunw.describe_value(TARGET, ctypes.addressof(copy))
        assert described_by == (Limits().of(value), 0), (value, described_by)
        ctypes.memmove(ctypes.addressof(copy) + at, bad.to_bytes(size, "little"), size)
        described_by = pyunw.describe_value(TARGET, ctypes.addressof(copy))
        assert described_by == ("<unreadable>", pyunw.PYUNW_VALUE_UNREADABLE), (value, described_by)


def check_slots():
    """What is mostly empty is looked at as far as 65,536 slots."""
    text, flags = described(with_deletions(70000, 30000))
    assert text == "{0: '0', 30000: '30000', 60000: '60000', ...}" and flags == pyunw.PYUNW_VALUE_TRUNCATED, text
    text, _ = described([with_deletions(65500, 65500), shrunk(50)])
    assert text == "[{0: '0'}, {...}]", text
    text, _ = described([with_deletions(40000, 40000)] * 3)
    assert text == "[{0: '0'}, {0: '0', ...}, ...]", text


def check_refusals():
    room, flags = ctypes.create_string_buffer(64), ctypes.c_uint32()
    call, value = pyunw.lib.pyunw_describe_value, id(None)

    def limits(depth, items, characters, size=ctypes.sizeof(pyunw.pyunw_value_limits)):
        return pyunw.pyunw_value_limits(size, depth, items, characters)

    good = limits(0, 1, 1)
    assert call(TARGET, value, good, room, 64, flags) == 4 and room.value == b"None" and flags.value == 0
    assert call(TARGET, value, good, room, 64, None) == 4
    for bad in (limits(-1, 1, 1), limits(7, 1, 1), limits(0, 0, 1), limits(0, 1, 0), limits(0, 1, 1, 4)):
        assert call(TARGET, value, bad, room, 64, flags) == pyunw.PYUNW_ERR_ARGUMENT
    assert call(TARGET, value, good, None, 64, flags) == pyunw.PYUNW_ERR_ARGUMENT
    assert call(TARGET, value, good, room, 7, flags) == pyunw.PYUNW_ERR_ARGUMENT
    assert call(None, value, good, room, 64, flags) == pyunw.PYUNW_ERR_ARGUMENT
    assert call(pyunw.pyunw_target(), value, good, room, 64, flags) == pyunw.PYUNW_ERR_NOT_OPEN
    for address in (1, 8, 4096, 1 << 40, id(None) + 1, 2**64 - 8):
        assert call(TARGET, address, good, room, 64, flags) > 0 and room.value == b"<unreadable>", room.value
        assert flags.value == pyunw.PYUNW_VALUE_UNREADABLE
    assert call(TARGET, 0, good, room, 64, flags) > 0 and room.value == b"<NULL>"


def main():
    for kind in (integers, floats, texts, byte_strings, sets, dicts, sequences, instances, others):
        for value in kind():
            compare(value)
    compare_limits()
    check_room()
    check_slots()
    check_impossible()
    check_refusals()
    print("%d values are as repr() has them" % compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
