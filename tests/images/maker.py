"""
Makes tiny memories: an interpreter of a few structures, each in a segment of its own, so that a read past the end of
one finds nothing. Offsets come from src/core/layout_tables.h; contents are what CPython writes, until a test says
otherwise.
"""

import ctypes
import os
import platform
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import pyunw

VERSIONS = {"3.8": 0x030812F0, "3.9": 0x030912F0, "3.10": 0x030A0DF0, "3.11": 0x030B07F0, "3.12": 0x030C01F0}
EXECUTING = {"3.8": (1, 0), "3.9": (1, 0), "3.10": (0, -1)}  # what frame.executing holds of a frame that runs, or not
OWNER_THREAD, OWNER_GENERATOR, OWNER_CSTACK = 0, 1, 3
GENERATOR_EXECUTING, GENERATOR_SUSPENDED = 0, -1
CO_OPTIMIZED, CO_NEWLOCALS, CO_GENERATOR = 1, 2, 0x20
UNICODE_SUBCLASS, BYTES_SUBCLASS = 1 << 28, 1 << 27
UNITS = 8  # code units of every code object, of which the second begins line firstlineno + 1
FRAME_WORDS = 16  # of the data stack, every frame


def layout_rows():
    """{"3.12": {"frame.size": 72, ...}} from layout_tables.h, for this machine."""
    with open(os.path.join(SOURCE, "src", "core", "layout_tables.h"), encoding="utf-8") as file:
        text = file.read()
    behind_gil = 16 if platform.machine() == "aarch64" else 0
    text = re.sub(r"BEHIND_GIL\((\d+)\)", lambda match: str(int(match[1]) + behind_gil), text)
    rows = {}
    for name, body in re.findall(r"\{ /\* (3\.\d+t?):.*?\*/(.*?)\n    \},", text, flags=re.S):
        rows[name] = {}
        for group, fields in re.findall(r"\.(\w+) = \{(.*?)\}", body, flags=re.S):
            for field, value in re.findall(r"\.(\w+) = (\d+)", fields):
                rows[name]["%s.%s" % (group, field)] = int(value)
    return rows


ROWS = layout_rows()


class Structure:
    """Bytes at an address; fields are set by their names in layout_tables.h."""

    def __init__(self, memory, size):
        self.memory, self.data = memory, bytearray(size)
        self.address = memory.take_address(size)
        memory.structures.append(self)

    def write(self, offset, value, size=8):
        if offset + size > len(self.data):
            self.data.extend(bytes(offset + size - len(self.data)))
        self.data[offset : offset + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")

    def set(self, size=8, **fields):
        """set(frame__previous=...): two underscores for the dot; a field that the version has not is left out."""
        for name, value in fields.items():
            offset = self.memory.at(name.replace("__", "."))
            if offset is not None:
                self.write(offset, value, size)
        return self


class Memory:
    def __init__(self, version):
        self.version, self.row, self.structures = version, ROWS[version], []
        self.minor = int(version.split(".")[1])
        self.next_address = 0x7F0000001000
        self.code_type = self.type("code", 0)
        self.str_type = self.type("str", UNICODE_SUBCLASS)
        self.bytes_type = self.type("bytes", BYTES_SUBCLASS)
        self.runtime = Structure(self, self.row["runtime.size"] if self.minor < 11 else 4096)
        self.interpreter = Structure(self, 1024)
        self.runtime.set(runtime__interpreters_head=self.interpreter.address, runtime__main_thread=77,
                         runtime__interpreters_main=self.interpreter.address, runtime__interpreters_next_id=1)
        self.threads = []  # oldest first
        self.tstate = self.thread(7)

    def at(self, name):
        """Offset of a field; None where the version has none."""
        return self.row.get(name)

    def take_address(self, size):
        address = self.next_address
        self.next_address += (size + 4096 + 4095) // 4096 * 4096
        return address

    # ---- Objects ----

    def type(self, name, flags):
        text = Structure(self, 0)
        text.data.extend(name.encode() + b"\0")
        return Structure(self, 256).set(object__tp_name=text.address, object__tp_flags=flags)

    def text(self, text):
        """A compact str."""
        highest = ord(max(text)) if text else 0
        width, codec = (1, "latin-1") if highest < 256 else (2, "utf-16-le") if highest < 65536 else (4, "utf-32-le")
        ascii = highest < 128
        state = width << 2 | 1 << 5 | ascii << 6 | (1 << 7 if self.minor < 12 else 0)
        made = Structure(self, self.row["text.ascii_data" if ascii else "text.compact_data"])
        made.set(object__type=self.str_type.address, text__length=len(text)).set(4, text__state=state)
        made.data.extend(text.encode(codec, "surrogatepass") + bytes(width))
        return made

    def wide_text(self, text):
        """A legacy str that was never made ready: only its wchar_t are there (3.8 to 3.11)."""
        characters = Structure(self, 0)
        characters.data.extend(text.encode("utf-32-le", "surrogatepass"))
        made = Structure(self, self.row["text.any_data"] + 8)
        return made.set(object__type=self.str_type.address, text__wide=characters.address, text__wide_length=len(text))

    def bytes(self, data):
        made = Structure(self, self.row["bytes.data"])
        made.set(object__type=self.bytes_type.address, bytes__size=len(data)).data.extend(data)
        return made

    def table(self):
        """The second code unit begins the line after the first."""
        if self.minor < 10:
            return self.bytes(bytes([2, 1]))
        if self.minor == 10:
            return self.bytes(bytes([2, 0, 2 * UNITS - 2, 1]))
        # Location codes 13: no columns, a signed line delta; 1 unit, then all others.
        return self.bytes(bytes([0x80 | 13 << 3, 0, 0x80 | 13 << 3 | UNITS - 2, 1 << 1]))

    def code(self, called, flags=CO_OPTIMIZED | CO_NEWLOCALS, **fields):
        """A code object; fields replace what it has: name, filename, qualname, table as structures."""
        made = Structure(self, self.row["code.size"])
        texts = {"name": self.text(called), "filename": self.text(called + ".py"), "qualname": self.text("q." + called),
                 "table": self.table()}
        texts.update(fields)
        made.set(object__type=self.code_type.address, code__units=UNITS, code__version=1, object__var_size=UNITS)
        made.set(**{"code__" + field: structure.address for field, structure in texts.items()})
        made.set(4, code__flags=flags, code__firstlineno=10, code__framesize=FRAME_WORDS, code__nlocalsplus=2,
                 code__stacksize=FRAME_WORDS - 2 - 9)
        if self.minor < 11:
            bytecode = self.bytes(bytes(2 * UNITS))
            made.set(code__bytecode_object=bytecode.address)
        else:
            made.write(self.row["code.bytecode"], 0, 2 * UNITS)
        return made

    # ---- Threads and frames ----

    def thread(self, thread_id):
        """A thread state at the head of the interpreter's list."""
        made = Structure(self, self.row["thread.size"])
        made.set(thread__interp=self.interpreter.address, thread__thread_id=thread_id, thread__id=len(self.threads) + 1,
                 thread__native_thread_id=100 + thread_id)
        if self.threads:
            made.set(thread__next=self.threads[-1].address)
            self.threads[-1].set(thread__prev=made.address)
        self.threads.append(made)
        self.interpreter.set(interpreter__threads_head=made.address)
        return made

    def set_instruction(self, frame, code, unit):
        """unit: index of the code unit at work."""
        if self.minor >= 11:
            frame.set(frame__instruction=code.address + self.row["code.bytecode"] + 2 * unit)
        else:
            frame.set(4, frame__instruction=unit if self.minor == 10 else 2 * unit)

    def stack(self, *codes, generators=()):
        """
        Let self.tstate execute these code objects, innermost first, each at its second code unit. generators: indexes
        of frames inside generator objects. Returns the frames, innermost first.
        """
        chunk = Structure(self, 0)
        if self.minor >= 11:
            chunk = Structure(self, self.row["chunk.data"] + 8 + 8 * FRAME_WORDS * len(codes))
            chunk.set(chunk__size=len(chunk.data) + 4096)
        top = chunk.address + self.row.get("chunk.data", 0) + 8
        frames = []
        for index in reversed(range(len(codes))):
            if self.minor < 11 or index in generators:
                frame = self.frame_in_object()
            else:
                frame = FrameInChunk(self, chunk, top)
                top += 8 * FRAME_WORDS
            frames.insert(0, frame.set(frame__executable=codes[index].address))
            owner = OWNER_GENERATOR if index in generators else OWNER_THREAD
            frame.set(1, frame__owner=owner, frame__is_entry=index == 0)
            self.set_instruction(frame, codes[index], 1)
        for inner, outer in zip(frames, frames[1:]):
            inner.set(frame__previous=outer.address)
        self.chunk = chunk
        if self.minor >= 12 and frames:
            self.shim = self.entry_frame()
            frames[-1].set(frame__previous=self.shim.address)
        if self.minor >= 11:
            self.cframe = Structure(self, 24).set(cframe__current_frame=frames[0].address if frames else 0)
            self.tstate.set(thread__frame=self.cframe.address, thread__datastack_chunk=chunk.address,
                            thread__datastack_top=top, thread__datastack_limit=chunk.address + len(chunk.data))
        else:
            self.tstate.set(thread__frame=frames[0].address)
        return frames

    def entry_frame(self):
        """What the evaluation loop puts below the frames it runs (3.12+), with a code object of the interpreter's."""
        made = Structure(self, self.row["frame.size"]).set(1, frame__owner=OWNER_CSTACK)
        return made.set(frame__executable=self.code("<interpreter trampoline>").address)

    def frame_in_object(self):
        """A frame object (3.8 to 3.10), or a frame inside a generator object that is being run."""
        if self.minor < 11:
            return Structure(self, self.row["frame.size"]).set(1, frame__executing=EXECUTING[self.version][0])
        generator = Structure(self, self.row["generator.frame"] + self.row["frame.size"])
        generator.set(1, generator__frame_state=GENERATOR_EXECUTING)
        return FrameInChunk(self, generator, generator.address + self.row["generator.frame"])

    # ---- The image ----

    def segments(self, piece=None):
        """[(address, bytes)]; piece: cut into segments of so many bytes that adjoin."""
        found = [(structure.address, bytes(structure.data)) for structure in self.structures if structure.data]
        if piece:
            found = [(address + at, data[at : at + piece])
                     for address, data in found for at in range(0, len(data), piece)]
        return sorted(found)

    def open(self, piece=None, knows_code_type=True):
        """(target, error)"""
        segments = self.segments(piece)
        array = (pyunw.pyunw_segment * len(segments))()
        kept = []
        for entry, (address, data) in zip(array, segments):
            kept.append(ctypes.create_string_buffer(data, len(data)))
            entry.address, entry.size, entry.bytes = address, len(data), ctypes.addressof(kept[-1])
        image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image), segments=array, segment_count=len(array),
            runtime=self.runtime.address, version=VERSIONS[self.version],
            code_type=self.code_type.address if knows_code_type else 0)
        target = pyunw.pyunw_target()
        target.kept = kept, array, image
        return target, pyunw.lib.pyunw_open_image(target, image, None)


class FrameInChunk:
    """A frame inside another structure."""

    def __init__(self, memory, holder, address):
        self.memory, self.holder, self.address = memory, holder, address

    def set(self, size=8, **fields):
        for name, value in fields.items():
            offset = self.memory.at(name.replace("__", "."))
            if offset is not None:
                self.holder.write(self.address - self.holder.address + offset, value, size)
        return self
