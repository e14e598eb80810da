# interpreters: each
# weight: heavy
"""
pyunw_find_position() for every code unit of every code object of this interpreter's standard library, against
  - code.co_positions() (3.11+): line, end line, column, end column;
  - code.co_lines() (3.10+), dis.findlinestarts() (3.8, 3.9): the line;
  - PyCode_Addr2Line(): the line, also before the first instruction and past the last.
Then the same for tables that no compiler writes: random ones, well formed, with every kind of entry.
Plain loads are compared for everything, trapped loads and guarded reads for a part.
"""

import array
import ctypes
import dis
import itertools
import os
import random
import sys
import sysconfig
import types
import warnings

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_shared

TRAPPED_EVERY = 4  # code objects
GUARDED_EVERY = 100  # a guarded read is a system call
RANDOM_TABLES = 300
SHOWN = 5  # mismatches
UNIT = 2  # bytes
NOTHING = -1

HAS_COLUMNS = sys.version_info >= (3, 11)
HAS_LINETABLE = sys.version_info >= (3, 10)

helper = ctypes.PyDLL(compile_shared("positions", "positions.c", pyunwind=True))
helper.find_positions.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
helper.find_lines.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
helper.find_lines.restype = None
ADDR2LINE = ctypes.cast(ctypes.pythonapi.PyCode_Addr2Line, ctypes.c_void_p)


# ---- The oracles ----------------------------------------------------------------------------------------------------


def expected_positions(code):
    """Four numbers a unit, as co_positions() has them."""
    try:
        return array.array("i", itertools.chain.from_iterable(code.co_positions()))
    except TypeError:  # some are None
        flat = itertools.chain.from_iterable(code.co_positions())
        return array.array("i", [NOTHING if number is None else number for number in flat])


def expected_lines(code, units):
    """One line a unit, as co_lines() or findlinestarts() has them."""
    lines = array.array("i")
    if HAS_LINETABLE:
        for start, end, line in code.co_lines():
            assert start == UNIT * len(lines), "co_lines() of %r leaves a gap at %d" % (code, start)
            lines.extend([NOTHING if line is None else line] * ((end - start) // UNIT))
        return lines
    line = code.co_firstlineno
    for start, next_line in itertools.chain(dis.findlinestarts(code), [(UNIT * units, None)]):
        lines.extend([line] * ((start + UNIT - 1) // UNIT - len(lines)))  # a random table may have odd addresses
        line = next_line
    return lines


def interpreter_lines(code, first, count):
    lines = array.array("i", bytes(4 * count))
    helper.find_lines(ADDR2LINE, id(code), first, count, lines.buffer_info()[0])
    return lines


# ---- What is compared -----------------------------------------------------------------------------------------------


class Comparison:
    def __init__(self):
        assert pyunw.lib.pyunw_trap_install() == pyunw.PYUNW_OK
        self.plain = pyunw.open_self(memory=pyunw.PYUNW_MEMORY_DIRECT)
        self.trapped = pyunw.open_self(memory=pyunw.PYUNW_MEMORY_TRAPPED)
        self.guarded = pyunw.open_self(memory=pyunw.PYUNW_MEMORY_GUARDED)
        self.codes = self.units = self.outside = self.mismatches = 0
        self.units_by = {"plain": 0, "trapped": 0, "guarded": 0}

    def find(self, target, code, first, count):
        positions = array.array("i", bytes(16 * count))
        found = helper.find_positions(
            ctypes.addressof(target), id(code), first, count, positions.buffer_info()[0]
        )
        if found != count:
            self.mismatch(code, "%d of %d positions from offset %d on were refused" % (count - found, count, first))
        return positions

    def mismatch(self, code, text):
        self.mismatches += 1
        if self.mismatches <= SHOWN:
            print("%r: %s" % (code, text))

    def equal(self, code, what, got, expected, width=1, first=0):
        """Two arrays with width numbers a unit; tells of the first units that differ."""
        if got == expected:
            return
        if len(got) != len(expected):
            self.mismatch(code, "%s: %d numbers, expected %d" % (what, len(got), len(expected)))
            return
        for at in range(0, len(got), width):
            if got[at : at + width] != expected[at : at + width]:
                offset = first + UNIT * (at // width)
                pair = list(got[at : at + width]), list(expected[at : at + width])
                self.mismatch(code, "%s at offset %d: %s, expected %s" % ((what, offset) + pair))

    def targets(self, all_memories):
        yield "plain", self.plain
        if all_memories or self.codes % TRAPPED_EVERY == 0:
            yield "trapped", self.trapped
        if all_memories or self.codes % GUARDED_EVERY == 0:
            yield "guarded", self.guarded

    def code(self, code, all_memories=False):
        """Every unit of one code object."""
        expected = None
        if HAS_COLUMNS:
            expected = expected_positions(code)
            units = len(expected) // 4
        else:
            units = len(code.co_code) // UNIT
        lines = expected_lines(code, units)
        self.equal(code, "the oracles", lines, interpreter_lines(code, 0, units))
        for kind, target in self.targets(all_memories):
            got = self.find(target, code, 0, units)
            if expected is not None:
                self.equal(code, "position, " + kind, got, expected, width=4)
            else:
                only_line = array.array("i", [NOTHING]) * len(got)
                only_line[::4] = lines
                self.equal(code, "line, " + kind, got, only_line, width=4)
            self.equal(code, "line, " + kind, got[::4], lines)
            self.units_by[kind] += units
        self.outside_of(code, units)
        self.codes += 1
        self.units += units

    def outside_of(self, code, units):
        """Before the first instruction, and past the last."""
        before, past = -UNIT, UNIT * units
        got = self.find(self.plain, code, before, 1)
        self.equal(code, "before the first", got[:1], interpreter_lines(code, before, 1), first=before)
        self.equal(code, "before the first", got[1:], array.array("i", [NOTHING] * 3))
        self.outside += 1
        if not HAS_COLUMNS and HAS_LINETABLE and code.co_linetable[-2:-1] in (b"", b"\0"):
            return  # 3.10's own PyCode_Addr2Line reads beyond a table that ends so
        got = self.find(self.plain, code, past, 3)
        self.equal(code, "past the last", got[::4], interpreter_lines(code, past, 3), first=past)
        self.outside += 3


# ---- The standard library -------------------------------------------------------------------------------------------


def source_paths():
    for folder, folders, files in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def code_objects(code):
    waiting = [code]
    while waiting:
        code = waiting.pop()
        yield code
        waiting.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def compare_standard_library(comparison):
    """(files, files that do not compile)"""
    files = refused = 0
    for path in source_paths():
        with open(path, "rb") as file:
            source = file.read()
        try:
            module = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            refused += 1  # the tests of the compiler hold such files
            continue
        files += 1
        for code in code_objects(module):
            comparison.code(code)
    return files, refused


# ---- Random tables --------------------------------------------------------------------------------------------------


def varint(value):
    data = bytearray()
    while value > 63:
        data.append(0x40 | value & 63)
        value >>= 6
    data.append(value)
    return bytes(data)


def signed_varint(value):
    return varint(-value << 1 | 1 if value < 0 else value << 1)


class RandomTable:
    """Entries for a code object of that many units; the line stays above 0."""

    def __init__(self, randomness, first_line, units):
        self.randomness = randomness
        self.line = first_line
        self.units = units
        self.kinds = set()

    def number(self):
        """Of any size, small ones as likely as large ones."""
        return self.randomness.randrange(1 << self.randomness.randrange(1, 22))

    def delta(self, low=-(1 << 30), high=1 << 30):
        delta = self.number() * self.randomness.choice((1, -1))
        delta = max(low, min(high, delta))
        if self.line + delta < 1:
            delta = 0
        self.line += delta
        return delta

    def locations(self):
        """3.11+"""
        table = bytearray()
        left = self.units
        while left:
            length = min(left, self.randomness.randrange(1, 9))
            kind = self.randomness.randrange(16)
            table.append(0x80 | kind << 3 | length - 1)
            table += self.location(kind)
            self.kinds.add(kind)
            left -= length
        return bytes(table)

    def location(self, kind):
        pick = self.randomness.randrange
        if kind < 10:
            return bytes([pick(128)])
        if kind < 13:
            self.line += kind - 10
            return bytes([pick(128), pick(128)])
        if kind == 13:
            return signed_varint(self.delta())
        if kind == 14:
            return signed_varint(self.delta()) + b"".join(
                varint(self.randomness.choice((0, self.number()))) for _ in range(3)
            )
        return b""

    def linetable(self):
        """3.10; the last pair covers units, since CPython reads beyond a table that ends otherwise."""
        table = bytearray()
        left = self.units
        while left:
            length = min(left, self.randomness.choice((0, 1, 2, 3, 127)), 127)
            delta = self.delta(-127, 127)
            kind = "covers" if length else "moves the line"
            if length and self.randomness.randrange(4) == 0:
                self.line -= delta
                delta, kind = -128, "no line"
            table += bytes([UNIT * length, delta & 0xFF])
            self.kinds.add(kind)
            left -= length
        return bytes(table)

    def lnotab(self):
        """3.8, 3.9; may end before the code or go beyond it."""
        table = bytearray()
        address = 0
        end = self.randomness.randrange(2 * UNIT * self.units + 2)
        while address < end:
            length = self.randomness.choice((0, 0, 2, 4, 6, 255, self.randomness.randrange(256)))
            delta = self.delta(-128, 127)
            table += bytes([length, delta & 0xFF])
            self.kinds.add(("jump" if length == 255 else "step" if length else "line only", delta < 0))
            address += length
        return bytes(table)


def with_random_table(randomness):
    statements = randomness.choice((1, 2, 10, 100, 300))
    code = compile("x = y(1)\n" * statements, "random", "exec", dont_inherit=True)
    first_line = randomness.choice((1, 2, 1000, 100000))
    table = RandomTable(randomness, first_line, len(code.co_code) // UNIT)
    if HAS_COLUMNS:
        fields = {"co_linetable": table.locations()}
    elif HAS_LINETABLE:
        fields = {"co_linetable": table.linetable()}
    else:
        fields = {"co_lnotab": table.lnotab()}
    return code.replace(co_firstlineno=first_line, **fields), table.kinds


def compare_random_tables(comparison):
    """All kinds of entries that occurred."""
    randomness = random.Random(20240517)
    kinds = set()
    for _ in range(RANDOM_TABLES):
        code, occurred = with_random_table(randomness)
        comparison.code(code, all_memories=True)
        kinds |= occurred
    return kinds


# ---------------------------------------------------------------------------------------------------------------------


def main():
    os.nice(5)
    warnings.simplefilter("ignore")  # of the compiled sources
    random_tables = Comparison()
    kinds = compare_random_tables(random_tables)
    assert len(kinds) == (16 if HAS_COLUMNS else 3 if HAS_LINETABLE else 6), "kinds of entries: %s" % sorted(kinds)
    library = Comparison()
    files, refused = compare_standard_library(library)
    assert library.units > 1000 * 1000, "only %d units in %d files" % (library.units, files)
    mismatches = random_tables.mismatches + library.mismatches
    print(
        "random tables: %d, %d units; of the standard library trapped: %d units, guarded: %d units"
        % (random_tables.codes, random_tables.units, library.units_by["trapped"], library.units_by["guarded"])
    )
    print(
        "%d mismatches; %d code objects, %d units, %d offsets outside; %d random tables; %d files, %d more do not compile"
        % (mismatches, library.codes, library.units, library.outside, random_tables.codes, files, refused)
    )
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
