"""
Core files that no kernel writes, changed or put together part by part, for the tests of what is damaged or hostile.
"""

import os
import struct

PAGE = 4096
MACHINE = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
PT_LOAD, PT_NOTE = 1, 4
READABLE, WRITABLE, EXECUTABLE = 4, 2, 1
NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE, NT_SIGINFO = 1, 3, 6, 0x46494C45, 0x53494749


def segments_of(data):
    """(place of its header, type, flags, offset, begin, bytes in the core, bytes) of each."""
    first, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    found = []
    for place in range(first, first + 56 * count, 56):
        kind, flags, offset, begin, _, held, size = struct.unpack_from("<IIQQQQQ", data, place)
        found.append((place, kind, flags, offset, begin, held, size))
    return found


def notes_of(data):
    """(place of its head, type, place of its description, bytes of that) of each note."""
    for _, kind, _, at, _, held, _ in segments_of(data):
        end = at + held if kind == PT_NOTE else at
        while at + 12 <= end:
            owner, size, what = struct.unpack_from("<III", data, at)
            note = at + 12 + (owner + 3 & ~3)
            yield at, what, note, size
            at = note + (size + 3 & ~3)


def files_of(data):
    """{begin: (end, path)} of the mapped files; path: as bytes."""
    for _, what, at, size in notes_of(data):
        if what == NT_FILE:
            count = struct.unpack_from("<Q", data, at)[0]
            paths = data[at + 16 + 24 * count:at + size].split(b"\0")
            places = (struct.unpack_from("<QQ", data, at + 16 + 24 * number) for number in range(count))
            return {begin: (end, path) for (begin, end), path in zip(places, paths)}
    return {}


def note(kind, description, owner=b"CORE\0"):
    padding = [bytes(-len(part) % 4) for part in (owner, description)]
    return struct.pack("<III", len(owner), len(description), kind) + owner + padding[0] + description + padding[1]


def names(entries):
    """NT_FILE of (begin, end, offset in the file, path); offsets in bytes."""
    head = struct.pack("<QQ", len(entries), 1)
    places = b"".join(struct.pack("<QQQ", *entry[:3]) for entry in entries)
    return note(NT_FILE, head + places + b"".join(entry[3] + b"\0" for entry in entries))


def make_core(notes, memory, note_segments=1):
    """An ELF core file of these notes (bytes), and of memory: (address, flags, bytes)."""
    count = note_segments + len(memory)
    at = 64 + 56 * count
    heads = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(notes), 0, 4) * note_segments
    body = notes + bytes(-(at + len(notes)) % PAGE)
    for address, flags, data in memory:
        heads += struct.pack("<IIQQQQQQ", PT_LOAD, flags, at + len(body), address, 0, len(data), len(data), PAGE)
        body += data + bytes(-len(data) % PAGE)
    ident = b"\x7fELF\2\1\1" + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 4, MACHINE, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0) + heads + body
