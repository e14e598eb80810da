# interpreters: host
"""
The decoder of _Py_DebugOffsets (3.13+), against
  - the tables of the live interpreters found, and those that the headers of 3.14+ make, with and without the GIL:
    what is decoded equals the row of layout_tables.h;
  - the headers' own struct _Py_DebugOffsets: every entry stands where the decoder looks for it;
  - damaged tables: each is refused with the right code and the name of the entry, and leaves the layout as it was.
"""

import ctypes
import importlib.machinery
import importlib.util
import json
import mmap
import os
import pathlib
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["PYUNWIND_SOURCE"])
ERRORS = {name: int(value) for name, value in
          re.findall(r"PYUNW_(\w+) = (-?\d+),", (SOURCE / "include" / "pyunwind.h").read_text())}
OK, LAYOUT, UNSUPPORTED = ERRORS["OK"], ERRORS["ERR_LAYOUT"], ERRORS["ERR_UNSUPPORTED"]
SCHEMAS = {13: 0, 14: 1, 15: 2}
LONGEST = 888
OBJECTS = [name + "_object.size" for name in ("bytes", "unicode", "tuple", "list", "dict", "float", "long")]
OBJECTS.append("pyobject.size")
GROWING = ("runtime.size", "thread.size")  # they grow within a minor version

# In a live process: the first bytes of _PyRuntime.
DUMP = """
import ctypes
print(bytes((ctypes.c_char * %d).in_dll(ctypes.pythonapi, "_PyRuntime")).hex())
""" % LONGEST

TABLE_FROM_HEADERS = """
#include <Python.h>
#include <internal/pycore_runtime.h>
#include <internal/pycore_debug_offsets.h>
__attribute__((visibility("default"))) _Py_DebugOffsets debug_offsets = _Py_DebugOffsets_INIT("xdebugpy");
"""


def load_layouts_tool():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("layouts", str(SOURCE / "tools" / "layouts"))
    tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("layouts", loader))
    loader.exec_module(tool)
    return tool


def structures(tool):
    """struct layout_offsets for ctypes, from layout.h."""
    groups = {}
    for name in tool.contract_fields():
        group, field = name.split(".")
        groups.setdefault(group, []).append((field, ctypes.c_uint32))
    members = [(group, type(group, (ctypes.Structure,), {"_fields_": fields})) for group, fields in groups.items()]
    header = [("minor", ctypes.c_uint8), ("free_threaded", ctypes.c_uint8)]
    return type("layout_offsets", (ctypes.Structure,), {"_fields_": header + members})


def field(offsets, name):
    group, member = name.split(".")
    return getattr(getattr(offsets, group), member)


class Decoder:
    """The C functions, compiled so that undefined behaviour traps, reading memory that ends where the bytes end."""

    def __init__(self, offsets_type, folder):
        library = os.path.join(folder, "debug_offsets_access.so")
        sources = [SOURCE / "tests" / "layouts" / "debug_offsets_access.c", SOURCE / "src" / "core" / "layout.c"]
        command = shlex.split(os.environ.get("CC", "cc")) + ["-std=gnu11", "-g", "-O1", "-fPIC", "-shared"]
        command += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-o", library]
        command += ["-I", str(SOURCE / "include"), "-I", str(SOURCE / "src" / "core")]
        subprocess.run(command + [str(source) for source in sources], check=True)
        self.c = ctypes.CDLL(library)
        self.c.access_table_size.restype = ctypes.c_size_t
        self.offsets_type = offsets_type
        self.room = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self.start + mmap.PAGESIZE), mmap.PAGESIZE, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, table):
        """Put the bytes before a page that cannot be read."""
        self.room[mmap.PAGESIZE - len(table):mmap.PAGESIZE] = bytes(table)
        return ctypes.c_void_p(self.start + mmap.PAGESIZE - len(table))

    def decode(self, table):
        """(error, name of the entry, struct layout_offsets)."""
        offsets, what = self.offsets_type(minor=99, free_threaded=7), ctypes.c_char_p()
        untouched = bytes(offsets)
        error = self.c.access_decode(self.place(table), ctypes.c_size_t(len(table)), ctypes.byref(offsets),
                                     ctypes.byref(what))
        assert (what.value is None) == (error == OK), (error, what.value)
        assert error == OK or bytes(offsets) == untouched, "refused, but the layout was changed"
        return error, (what.value or b"").decode(), offsets

    def probe(self, table):
        version, free_threaded = ctypes.c_uint32(), ctypes.c_int()
        error = self.c.access_probe(self.place(table), ctypes.c_size_t(len(table)), ctypes.byref(version),
                                    ctypes.byref(free_threaded))
        return error, version.value, bool(free_threaded.value)

    def row(self, version, free_threaded):
        offsets = self.offsets_type()
        assert self.c.access_row(ctypes.c_uint32(version), int(free_threaded), ctypes.byref(offsets)) == OK
        return offsets

    def entries(self, minor):
        """[(name, position, width)] of a version; width 0: a size."""
        found = []
        for index in range(self.c.access_count()):
            name, width = ctypes.c_char_p(), ctypes.c_int()
            position = self.c.access_entry(index, SCHEMAS[minor], ctypes.byref(name), ctypes.byref(width))
            if position:
                found.append((name.value.decode(), position, width.value))
        return found

    def table_size(self, minor):
        return self.c.access_table_size(SCHEMAS[minor])


class Table:
    """One _Py_DebugOffsets and where it comes from."""

    def __init__(self, label, minor, free_threaded, data):
        self.label, self.minor, self.free_threaded, self.data = label, minor, free_threaded, data

    def word(self, position):
        return struct.unpack_from("<Q", self.data, position)[0]

    def with_word(self, position, value):
        changed = bytearray(self.data)
        struct.pack_into("<Q", changed, position, value % 2**64)
        return changed


def interpreters():
    if "PYUNWIND_PYTHONS" in os.environ:
        found = json.loads(pathlib.Path(os.environ["PYUNWIND_PYTHONS"]).read_text())
    else:
        listing = [sys.executable, str(SOURCE / "tools" / "pythons"), "list", "--json"]
        found = json.loads(subprocess.check_output(listing))
    return [python for python in found if 13 <= python["version_info"][1] <= 15]


def live_tables(decoder):
    for python in interpreters():
        minor = python["version_info"][1]
        data = bytes.fromhex(subprocess.check_output([python["executable"], "-c", DUMP], universal_newlines=True))
        yield Table(python["label"], minor, python["free_threaded"], data[:decoder.table_size(minor)])


def header_tables(decoder, tool, folder):
    """3.14+ initialise the table by a macro of its own, so that a compiler can make it."""
    for flavour, directories in tool.interpreters():
        if flavour.minor < 14:
            continue
        for free_threaded in ([True] if flavour.free_threaded else [False, True]):
            library = os.path.join(folder, "table-%d-%d.so" % (flavour.minor, free_threaded))
            borrowed = free_threaded and not flavour.free_threaded
            command = tool.compile_command(directories, borrowed) + ["-fPIC", "-shared", "-x", "c", "-", "-o", library]
            subprocess.run(command, input=TABLE_FROM_HEADERS, universal_newlines=True, check=True)
            size = decoder.table_size(flavour.minor)
            data = bytes((ctypes.c_char * size).in_dll(ctypes.CDLL(library), "debug_offsets"))
            label = "3.%d%s, by its headers" % (flavour.minor, "t" if free_threaded else "")
            yield Table(label, flavour.minor, free_threaded, data)


def check_equals_row(decoder, tool, table):
    error, what, decoded = decoder.decode(table.data)
    assert error == OK, "%s: refused with %d: %s" % (table.label, error, what)
    assert decoder.probe(table.data) == (OK, table.word(8), table.free_threaded), table.label
    row = decoder.row(table.word(8), table.free_threaded)
    assert (decoded.minor, decoded.free_threaded) == (table.minor, table.free_threaded), table.label
    names = [name for name in tool.contract_fields() if name not in GROWING]
    for name in names:
        assert field(decoded, name) == field(row, name), "%s: %s is %d, in layout_tables.h %d" % (
            table.label, name, field(decoded, name), field(row, name))
    for name, entry in (("runtime.size", "runtime_state.size"), ("thread.size", "thread_state.size")):
        position = {entry: position for entry, position, _ in decoder.entries(table.minor)}[entry]
        assert field(decoded, name) == table.word(position), "%s: %s" % (table.label, name)
    return len(names) + len(GROWING)


def check_positions(decoder, tool):
    """Every entry stands where the headers' struct _Py_DebugOffsets has it."""
    compared = 0
    for flavour, directories in tool.interpreters():
        if flavour.minor not in SCHEMAS:
            continue
        entries = decoder.entries(flavour.minor)
        expressions = {name: "AT(_Py_DebugOffsets, %s)" % name for name, _, _ in entries}
        expressions["sizeof"] = "sizeof(_Py_DebugOffsets)"
        answer = tool.ask_headers(directories, False, expressions)
        assert isinstance(answer, dict), answer
        assert answer["sizeof"] == decoder.table_size(flavour.minor), flavour
        for name, position, _ in entries:
            assert answer[name] == position, "3.%d: %s at %d, in the headers %d" % (
                flavour.minor, name, position, answer[name])
        compared += len(entries)
    return compared


def applies(decoder, table, name):
    """Entries of free-threaded builds mean nothing in others."""
    return table.free_threaded or name.split(".")[1] not in ("gil_runtime_state_enabled", "tlbc_index", "co_tlbc")


def check_every_entry_counts(decoder, table):
    """A plausible change of an entry changes the layout; a change between the entries does not."""
    _, _, baseline = decoder.decode(table.data)
    entries = decoder.entries(table.minor)
    for name, position, width in entries:
        if not applies(decoder, table, name):
            assert bytes(decoder.decode(table.with_word(position, 8))[2]) == bytes(baseline), name
        elif width == 0:
            error, what, _ = decoder.decode(table.with_word(position, 0))
            assert (error, what) == (LAYOUT, name), (table.label, name, error, what)
        else:
            results = [decoder.decode(table.with_word(position, table.word(position) + step * width))
                       for step in (-1, 1, 2, 8, 16)]
            accepted = [bytes(offsets) for error, _, offsets in results if error == OK]
            assert all(error in (OK, LAYOUT) for error, _, _ in results), (table.label, name)
            assert bytes(baseline) not in accepted, "%s: %s is not used" % (table.label, name)
    # ob_size of bytes stands for that of all objects of variable size.
    where = {name: position for name, position, _ in entries}
    ob_size = table.word(where["bytes_object.ob_size"]) + 8
    error, _, moved = decoder.decode(table.with_word(where["bytes_object.ob_size"], ob_size))
    assert error == OK and (moved.bytes.size, moved.object.var_size, moved.code.units) == (ob_size,) * 3, table.label
    used = set(where.values())
    for position in range(24, len(table.data), 8):
        if position not in used:
            error, _, offsets = decoder.decode(table.with_word(position, 2**64 - 1))
            assert error == OK and bytes(offsets) == bytes(baseline), (table.label, position)


def refused(decoder, table, data, code, what):
    error, named, _ = decoder.decode(data)
    assert (error, named) == (code, what), "%s: %d (%s), expected %d (%s)" % (table.label, error, named, code, what)
    return 1


def damaged_heads(decoder, table):
    count = 0
    head = "cookie, version or free_threaded"
    for index in range(8):
        data = bytearray(table.data)
        data[index] ^= 0x20
        count += refused(decoder, table, data, LAYOUT, head)
        assert decoder.probe(data)[0] == LAYOUT
    for version in (0x020712f0, 0x030712f0, 0x030c01f0, 0x031000f0, 0x040000f0, 0, table.word(8) & ~0xff | 0xa3):
        data = table.with_word(8, version)
        count += refused(decoder, table, data, UNSUPPORTED, "version")
        assert decoder.probe(data) == (UNSUPPORTED, version, table.free_threaded), hex(version)
    count += refused(decoder, table, table.with_word(8, table.word(8) | 1 << 32), LAYOUT, head)
    for flag in (2, 256, 2**63):
        count += refused(decoder, table, table.with_word(16, flag), LAYOUT, head)
    for size in range(len(table.data)):
        count += refused(decoder, table, table.data[:size], LAYOUT, head if size < 24 else "size of _Py_DebugOffsets")
    assert decoder.decode(table.data + b"\xff" * 64)[0] == OK, "what follows the table matters"
    zeroed = table.data[:24] + bytes(len(table.data) - 24)
    return count + refused(decoder, table, zeroed, LAYOUT, "runtime_state.size")


def damaged_entries(decoder, table):
    count = 0
    size = 0
    for name, position, width in decoder.entries(table.minor):
        if not applies(decoder, table, name):
            continue
        if width == 0:
            size = table.word(position)
            limit = 2**24 if name.startswith(("runtime", "interpreter_state")) else 2**12
            limit = 96 if name in OBJECTS else limit
            bad = [0, 1, size + 1, size - 4, limit + 8, 2**32 + size, 2**63, 2**64 - 8]
        else:
            in_gil = name.endswith("gil_runtime_state_enabled")
            bad = [2**32 + table.word(position), 2**63, 2**64 - 1, 2**64 - width, 1 << 24]
            bad += [size, size - width + 1] if not in_gil else [1 << 10]
            bad += [table.word(position) + 1] if width > 1 else []
        for value in bad:
            count += refused(decoder, table, table.with_word(position, value), LAYOUT, name)
    return count


def damaged_structures(decoder, table):
    """Each entry for itself fits, but two fields of one structure lie in one place."""
    count = 0
    where = {name: position for name, position, _ in decoder.entries(table.minor)}
    for first, second in (("thread_state.prev", "thread_state.next"),
                          ("thread_state.interp", "thread_state.current_frame"),
                          ("interpreter_frame.previous", "interpreter_frame.executable"),
                          ("code_object.filename", "code_object.name"),
                          ("unicode_object.state", "unicode_object.length"),
                          ("interpreter_state.gil_runtime_state_locked", "interpreter_state.gil_runtime_state_holder")):
        data = table.with_word(where[second], table.word(where[first]) // 8 * 8)
        count += refused(decoder, table, data, LAYOUT, second)
    # The own GIL behind its fields, and the fields of a GIL in another place.
    count += refused(decoder, table, table.with_word(where["interpreter_state.gil_runtime_state"],
                                                     table.word(where["interpreter_state.gil_runtime_state"]) + 4096),
                     LAYOUT, "interpreter_state.gil_runtime_state_locked")
    count += refused(decoder, table, table.with_word(where["interpreter_state.gil_runtime_state_holder"],
                                                     table.word(where["interpreter_state.gil_runtime_state"]) + 4096),
                     LAYOUT, "interpreter_state.gil_runtime_state_holder")
    interpreter_size = table.word(where["interpreter_state.size"])
    count += refused(decoder, table, table.with_word(where["interpreter_state.gc"], interpreter_size - 8), LAYOUT,
                     "gc.collecting")
    # Readers take their fields from the header that they fetch: data cannot begin before one of them.
    ob_size = table.word(where["bytes_object.ob_size"])
    larger_head = Table(table.label, table.minor, table.free_threaded, table.with_word(where["pyobject.size"], 96))
    count += refused(decoder, table, larger_head.with_word(where["pyobject.ob_type"], ob_size), LAYOUT,
                     "pyobject.ob_type")
    count += refused(decoder, table, table.with_word(where["bytes_object.ob_sval"], 8), LAYOUT, "bytes_object.ob_sval")
    count += refused(decoder, table, table.with_word(where["unicode_object.asciiobject_size"], 8), LAYOUT,
                     "unicode_object.asciiobject_size")
    # Bytecode before a field of the code object, that is not published but needed.
    count += refused(decoder, table, table.with_word(where["code_object.co_code_adaptive"],
                                                     table.word(where["code_object.linetable"]) + 8),
                     LAYOUT, "code_object.co_code_adaptive")
    # A thread state that ends before a field of its own.
    count += refused(decoder, table, table.with_word(where["thread_state.size"],
                                                     table.word(where["thread_state.native_thread_id"]) + 8),
                     LAYOUT, "thread_state.datastack_chunk")
    return count


def random_damage(decoder, table):
    """Whatever the table says, readers with the accepted layout stay within what they fetched."""
    random_source = random.Random(table.minor)
    accepted = 0
    for _ in range(5000):
        data = bytearray(table.data)
        for _ in range(random_source.choice((1, 2, 5))):
            position = random_source.randrange(3, len(data) // 8) * 8
            value = random_source.choice((0, 8, 24, 64, 200, 2**12, 2**31, 2**32, 2**63, random_source.getrandbits(64)))
            struct.pack_into("<Q", data, position, value)
        error, _, offsets = decoder.decode(data)
        assert error in (OK, LAYOUT), error
        if error == OK:
            accepted += 1
            frame, code, text = offsets.frame, offsets.code, offsets.text
            assert max(frame.executable, frame.previous, frame.instruction) + 8 <= frame.size <= 128
            assert max(frame.owner + 1, frame.tlbc_index + 4) <= frame.size
            assert max(code.units, code.filename, code.name, code.qualname, code.table, code.tlbc) + 8 <= code.size
            assert max(code.firstlineno, code.first_traceable, code.version, code.framesize) + 4 <= code.size <= 256
            assert offsets.bytes.size + 8 <= offsets.bytes.data <= 96
            assert max(offsets.object.type, text.length, text.hash, text.state) + 8 <= text.ascii_data
            assert text.ascii_data <= text.compact_data <= text.any_data <= 96
            assert max(offsets.gil.locked, offsets.gil.last_holder, offsets.gil.enabled) < 1024
    return accepted


def main():
    tool = load_layouts_tool()
    with tempfile.TemporaryDirectory() as folder:
        decoder = Decoder(structures(tool), folder)
        tables = list(live_tables(decoder)) + list(header_tables(decoder, tool, folder))
        if not tables:
            print("skipped: no interpreter here publishes debug offsets (3.13+)")
            return 77
        fields = damaged = accepted = 0
        for table in tables:
            fields += check_equals_row(decoder, tool, table)
            check_every_entry_counts(decoder, table)
            damaged += damaged_heads(decoder, table) + damaged_entries(decoder, table)
            damaged += damaged_structures(decoder, table)
            accepted += random_damage(decoder, table)
        assert accepted > 0, "no random change was harmless: the readers' bounds were not checked"
        positions = check_positions(decoder, tool)
    print("%s: %d fields equal to layout_tables.h, %d positions equal to the headers, %d damaged tables refused"
          % ("; ".join(table.label for table in tables), fields, positions, damaged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
