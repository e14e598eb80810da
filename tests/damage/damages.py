"""
The damages: which words of a live process are overwritten with what, and what may then still be said of the stack.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import sys

from structures import readable, word, word32

UNMAPPED = 1 << 40  # Linux maps nothing here of itself
NOT_CANONICAL = 0x00C0FFEE_00000000 << 8 & 2**64 - 1
HUGE = 2**64 - 8
GENERATORS = (1, 2, 3)  # enum pyunw_frame_kind
OWNERS_OF_ENTRY_FRAMES = {(3, 12): (3,), (3, 13): (3,), (3, 14): (3, 4), (3, 15): (3, 4)}  # enum _frameowner
OWNERS_UNKNOWN = (2, 5, 31, 32, 127, 255)  # 2: a frame object, which stands in no chain

# What is to be expected of a damage, by its kind:
#   link   frames up to and with number `good - 1`, then corrupt
#   frame  likewise: the damaged frame itself is not given
#   cut    likewise, but it may be called complete: a NULL link ends a stack up to 3.10
#   either as `frame`, or all frames: a length that is too large harms nobody
#   start  the innermost frame cannot be found
#   text   all frames; the descriptions of the frames `frames` may be flagged or differ
#   kind   all frames; the kinds of the frames `frames` may differ
#   list   the lists of threads, interpreters or the runtime: an error, or what is right
#   same   what nobody reads: all is right


class Damage:
    """link: what the last good frame links to now, where that is the damage."""

    def __init__(self, kind, name, patches, good=0, frames=(), link=None):
        self.kind, self.name, self.patches, self.good, self.frames = kind, name, patches, good, frozenset(frames)
        self.link, self.frame_size, self.entry = link, 0, None

    def follow_link(self, at):
        """
        3.12+: C called a frame if that links to an entry frame, which is known by its owner; what a damaged link leads to
        may have one, too. Asked while all is as it will be read.
        """
        if self.link is None or sys.version_info < (3, 12):
            return
        self.frame_size = at.size
        found = readable(self.link, at.size) if self.link % 8 == 0 else None
        self.entry = found is not None and found[at.owner] in OWNERS_OF_ENTRY_FRAMES[sys.version_info[:2]]


class Maker:
    """All damages of one thread's structures. true: its frames as snapshots.Frame, innermost first."""

    def __init__(self, at, true, tstate, runtime, end_of_mapping, is_own):
        self.at, self.true, self.tstate, self.runtime = at, true, tstate, runtime
        self.end_of_mapping, self.is_own = end_of_mapping, is_own
        self.version = sys.version_info[:2]
        self.frame_addresses = [frame.raw[1] for frame in true]
        self.codes = [frame.raw[0] for frame in true]
        self.damages = []
        self.like_entries = {
            "like an entry frame": self.make_like_entry(),
            "like an entry frame at the bottom": self.make_like_entry(previous=0),
            "like an entry frame at the bottom, of another object": self.make_like_entry(id(self), previous=0),
        }

    def make_like_entry(self, executable=0, previous=UNMAPPED):
        """Bytes that pass for an entry frame by their owner (3.12+)."""
        made = ctypes.create_string_buffer(self.at.frame.size + 8)
        made.address = ctypes.addressof(made) + 7 & ~7
        ctypes.c_uint64.from_address(made.address + self.at.frame.executable).value = executable
        ctypes.c_uint64.from_address(made.address + self.at.frame.previous).value = previous
        for owner in OWNERS_OF_ENTRY_FRAMES.get(self.version, ())[:1]:
            ctypes.c_uint8.from_address(made.address + self.at.frame.owner).value = owner
        return made

    def add(self, kind, name, address, value, size=8, **expected):
        value %= 2 ** (8 * size)
        if value != word(address) % 2 ** (8 * size):  # else it is no damage
            self.damages.append(Damage(kind, name, [(address, value, size)], **expected))

    def bad_pointers(self, here):
        """[(name, value)]: what can stand in the place of a pointer. here: where that pointer stands."""
        return [
            ("NULL", 0),
            ("a small number", 8),
            ("unmapped", UNMAPPED),
            ("not canonical", NOT_CANONICAL),
            ("the end of the address space", HUGE),
            ("misaligned", word(here) + 4 if word(here) else 12),
            ("odd", word(here) + 1 if word(here) else 13),
            ("the end of a mapping", self.end_of_mapping(8)),
            ("across the end of a mapping", self.end_of_mapping(40)),
            ("a type", id(type)),
            ("a str", id("a str")),
            ("the thread state", self.tstate),
            ("itself", here & ~7),
        ]

    def users_of_code(self, code):
        return [number for number, other in enumerate(self.codes) if other == code]

    def make(self):
        depth = len(self.true)
        for number in sorted({0, 1, self.generator(), depth // 2, depth - 1}):
            self.damage_link(number)
            self.damage_frame(number)
        for number in sorted({0, depth // 2}):
            self.damage_code(self.codes[number])
        self.damage_start()
        self.damage_data_stack()
        self.damage_thread()
        self.damage_interpreter()
        self.damage_runtime()
        if not self.is_own:  # descriptions are the same
            for width in (1, 2, 4):
                self.damage_description(self.codes[self.frame_of_width(width)])
        return self.damages

    def generator(self):
        return next(number for number, frame in enumerate(self.true) if frame.raw[3] in GENERATORS)

    def frame_of_width(self, width):
        """A frame whose name CPython keeps with so many bytes a character."""
        highest = {1: 0x80, 2: 0x10000, 4: 0x110000}
        wanted = [number for number, frame in enumerate(self.true)
                  if highest.get(width // 2, 0) <= ord(max(frame.texts[1])) < highest[width]]
        return wanted[0]

    # ---- The frame chain ----

    def damage_link(self, number):
        frame = self.frame_addresses[number]
        here = frame + self.at.frame.previous
        name = "the link of frame %d" % number
        for what, value in self.bad_pointers(here):
            # Up to 3.10 a stack ends where a frame links to NULL, and no other way; in 3.11, at a generator's frame.
            generator = self.true[number].raw[3] in GENERATORS
            ends = what == "NULL" and (self.version < (3, 11) or (self.version == (3, 11) and generator))
            self.add_link("cut" if ends else "link", "%s: %s" % (name, what), here, value, number)
        for what, made in self.like_entries.items():
            self.add_link("link", "%s: %s" % (name, what), here, made.address, number)
        self.add_link("link", name + ": a cycle of one", here, frame, number)
        if number >= 2:
            self.add_link("link", name + ": a cycle of three", here, self.frame_addresses[number - 2], number)
            self.add_link("link", name + ": a cycle of all", here, self.frame_addresses[0], number)

    def add_link(self, kind, name, here, value, number):
        self.add(kind, name, here, value, good=number + 1, link=value)

    def damage_frame(self, number):
        frame, at = self.frame_addresses[number], self.at.frame
        name = "frame %d" % number
        here = frame + at.executable
        for what, value in self.bad_pointers(here):
            if what != "odd" or self.version < (3, 14):  # from 3.14 on, the low bits are tags
                self.add("frame", "%s, its code: %s" % (name, what), here, value, good=number)
        self.add("frame", name + ", its code: a code object's insides", here, self.codes[number] + 16, good=number)
        here = frame + at.instruction
        if self.version < (3, 11):
            for value in (-2, 2**30, -(2**31)):
                self.add("frame", "%s, f_lasti %d" % (name, value), here, value, 4, good=number)
            # Of a thread that stands still, a frame in its chain need not say that it is executing.
            for value in (2, 77, -1):
                self.add("either", "%s, not executing: %d" % (name, value), frame + at.executing, value, 1, good=number)
            return
        code_end = self.codes[number] + self.at.code.bytecode + 2 * word32(self.codes[number] + self.at.code.units)
        outside = [("behind the code", code_end), ("before the code", self.codes[number])]
        for what, value in self.bad_pointers(here) + outside:
            if what != "misaligned":  # four bytes on is another instruction
                self.add("frame", "%s, its instruction: %s" % (name, what), here, value, good=number)
        for owner in OWNERS_UNKNOWN:
            self.add("frame", "%s, owner %d" % (name, owner), frame + at.owner, owner, 1, good=number)
        if at.tlbc_index:
            for value in (-1, 2**20, 2**31 - 1):
                self.add("frame", "%s, tlbc_index %d" % (name, value), frame + at.tlbc_index, value, 4, good=number)

    # ---- Code objects ----

    def damage_code(self, code):
        at, users = self.at.code, self.users_of_code(code)
        name = "code of frame %d" % users[0]
        first = users[0]
        here = code + self.at.object.type
        for what, value in self.bad_pointers(here):
            self.add("frame", "%s, its type: %s" % (name, what), here, value, good=first)
        for value in (0, 0xFFFFFFFF, word32(code + at.flags) ^ 0x2A0):
            self.add("kind", "%s, co_flags %#x" % (name, value), code + at.flags, value, 4, frames=users)
        for value in (0, -1, 2**31 - 1, -(2**31)):
            self.add("text", "%s, co_firstlineno %d" % (name, value), code + at.firstlineno, value, 4, frames=users)
        if self.version < (3, 11):
            here = code + at.bytecode_object
            for what, value in self.bad_pointers(here):
                # A type or a str holds a plausible length where bytes do: the offset may lie inside it.
                if what not in ("a type", "a str", "the thread state", "itself", "misaligned", "odd"):
                    self.add("frame", "%s, co_code: %s" % (name, what), here, value, good=first)
            size_at = word(here) + self.at.object.var_size
            for value in (0, -1, 2**62, -(2**63)):
                kind = "either" if value else "frame"
                self.add(kind, "%s, length of co_code %d" % (name, value), size_at, value, good=first)
            return
        for value in (0, -1, -(2**63)):
            self.add("frame", "%s, code units %d" % (name, value), code + at.units, value, good=first)
        for value in (2**62, 2**40):
            self.add("either", "%s, code units %d" % (name, value), code + at.units, value, good=first)
        units = word32(code + at.units)
        for value in (units + 2, 2**29, 2**31 - 1):
            here = code + at.first_traceable
            # A generator's frame is never hidden, so it is not asked. As an offset, the last one is negative.
            kind = "frame" if value < 2**30 else "either"
            if self.true[first].raw[3] in GENERATORS:
                kind = "same"
            self.add(kind, "%s, _co_firsttraceable: %d of %d" % (name, value, units), here, value, 4, good=first)

    def damage_description(self, code):
        at, users = self.at.code, self.users_of_code(code)
        name = "code of frame %d" % users[0]
        for field in ("filename", "name", "table", "qualname"):
            if not getattr(at, field):
                continue
            here = code + getattr(at, field)
            for what, value in self.bad_pointers(here):
                self.add("text", "%s, co_%s: %s" % (name, field, what), here, value, frames=users)
        for field in ("filename", "name"):
            self.damage_text("%s, co_%s" % (name, field), word(code + getattr(at, field)))
        # Names, filenames and tables may be shared by code objects.
        table, to, everyone = word(code + at.table), self.at.bytes, range(len(self.true))
        for value in (-1, 2**62, 2**40, 2**31, 2**27, 2**20, 1, 0):
            self.add("text", "%s, length of its table %d" % (name, value), table + to.size, value, frames=everyone)
        for value in (0, 2**64 - 1, 0x7F7F7F7F7F7F7F7F, 0x8080808080808080, 0xF0F0F0F0F0F0F0F0, 0x4040404040404040):
            self.add("text", "%s, its table begins %#x" % (name, value), table + to.data, value, frames=everyone)

    def damage_text(self, name, text):
        to, everyone = self.at.text, range(len(self.true))
        for what, value in self.bad_pointers(text + self.at.object.type)[:8:2]:
            self.add("text", "%s, its type: %s" % (name, what), text + self.at.object.type, value, frames=everyone)
        for value in (-1, 2**62, 2**40, 2**31, 2**16, 0):
            self.add("text", "%s, its length %d" % (name, value), text + to.length, value, frames=everyone)
        for value in (0, 0xFFFFFFFF, 0x55555555, 0xAAAAAAAA):
            self.add("text", "%s, its state %#x" % (name, value), text + to.state, value, 4, frames=everyone)
        for value in (2**64 - 1, 0xD800D800D800D800, 0x0011000000110000, 0):
            for here in (text + to.ascii_data, text + to.compact_data):
                self.add("text", "%s, its characters %#x" % (name, value), here, value, frames=everyone)
        if to.wide:
            self.add("text", name + ", its wchar_t", text + to.wide, UNMAPPED, frames=everyone)

    # ---- Where the stack begins ----

    def damage_start(self):
        here = self.tstate + self.at.thread.frame
        for what, value in self.bad_pointers(here):
            self.add("start", "the thread state's frame: " + what, here, value)
        if (3, 11) <= self.version < (3, 13):
            here = word(here) + self.at.cframe.current_frame
            for what, value in self.bad_pointers(here):
                self.add("start", "the _PyCFrame's frame: " + what, here, value)
            outer = word(self.tstate + self.at.thread.frame) + self.at.cframe.previous
            for what, value in self.bad_pointers(outer):
                self.damages.append(Damage("start", "the _PyCFrame's frame and its outer one: " + what,
                                           [(here, UNMAPPED, 8), (outer, value % 2**64, 8)]))
        if self.at.thread.base_frame:
            here = self.tstate + self.at.thread.base_frame
            for what, value in self.bad_pointers(here):
                if value:
                    kind = "base" if not self.is_own else "any"
                    self.add(kind, "the thread state's bottom frame: " + what, here, value)

    def damage_data_stack(self):
        at = self.at.thread
        if not at.datastack_chunk:
            return
        kind = "stack" if self.version < (3, 13) else "same"
        for field in ("datastack_chunk", "datastack_top"):
            here = self.tstate + getattr(at, field)
            for what, value in self.bad_pointers(here):
                self.add(kind, "the thread state's %s: %s" % (field, what), here, value)
        chunk = word(self.tstate + at.datastack_chunk)
        for field in ("previous", "size"):
            here = chunk + getattr(self.at.chunk, field)
            for what, value in self.bad_pointers(here):
                self.add(kind, "a chunk's %s: %s" % (field, what), here, value)
            self.add(kind, "a chunk's %s: the chunk" % field, here, chunk)

    # ---- The lists ----

    def damage_thread(self):
        at = self.at.thread
        for field in ("prev", "next", "interp"):
            here = self.tstate + getattr(at, field)
            for what, value in self.bad_pointers(here):
                self.add("list", "the thread state's %s: %s" % (field, what), here, value)
            self.add("list", "the thread state's %s: the thread state" % field, here, self.tstate)
        for field in ("thread_id", "native_thread_id", "id"):
            if getattr(at, field):
                here = self.tstate + getattr(at, field)
                for value in (0, -1, 2**62, UNMAPPED, NOT_CANONICAL):
                    self.add("list", "the thread state's %s %#x" % (field, value % 2**64), here, value)

    def damage_interpreter(self):
        at = self.at.interpreter
        interpreter = word(self.tstate + self.at.thread.interp)
        for field in ("next", "threads_head") + (("gil",) if at.gil else ()):
            here = interpreter + getattr(at, field)
            for what, value in self.bad_pointers(here) + [("the interpreter", interpreter)]:
                if not self.looks_alike(field, what):
                    self.add("list", "the interpreter's %s: %s" % (field, what), here, value)
        for value in (1, -1, 2**62):
            self.add("list", "the interpreter's id %d" % value, interpreter + at.id, value)
        if at.gil:
            gil = word(interpreter + at.gil)
            for what, value in self.bad_pointers(gil + self.at.gil.last_holder):
                self.add("list", "the GIL's holder: " + what, gil + self.at.gil.last_holder, value)
            for value in (0, -1, 77, 2**31 - 1):
                self.add("list", "the GIL is locked: %d" % value, gil + self.at.gil.locked, value, 4)

    def looks_alike(self, field, what):
        """Where an interpreter's threads and a thread's interpreter stand at one offset, each passes for the other."""
        alike = self.at.interpreter.threads_head == self.at.thread.interp
        return alike and field != "gil" and what in ("the thread state", "the interpreter")

    def damage_runtime(self):
        at, runtime = self.at.runtime, self.runtime
        pointers = ["finalizing", "interpreters_head", "interpreters_main"]
        pointers += [field for field in ("main_tstate", "tstate_current") if getattr(at, field)]
        for field in pointers:
            here = runtime + getattr(at, field)
            for what, value in self.bad_pointers(here):
                if not self.looks_alike(field, what):
                    self.add("list", "the runtime's %s: %s" % (field, what), here, value)
        for field in ("main_thread", "interpreters_next_id"):
            for value in (0, -1, UNMAPPED):
                self.add("list", "the runtime's %s %d" % (field, value), runtime + getattr(at, field), value)
