# interpreters: each
"""
Variables through a reader that keeps what it has read (pyunw_image.renew): of a program that stands, whose memory is
seen to change between one look and the next, at moments that are written here. What was kept from before a walk over
the variables tells none of them, what was kept during it does not confirm it, and a value is that of the moment when
it is asked for.
"""

import ctypes
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump"))

from dumping import Program, check, finish, wait_until_reading
from pausing import OPTIONS, REMOTE, pyunw

REMOTE.pyunw_open_pid.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_int, OPTIONS]
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.process_vm_readv.restype = ctypes.c_ssize_t
PAGE, WORD = 4096, 8

PROGRAM = """
import os

def stand(first, second):
    os.write(1, b"ready\\n")
    os.read(0, 1)

def middle():
    stand(1234.5, 6789.5)

def outer():
    middle()

outer()
"""


class Span(ctypes.Structure):
    _fields_ = [("address", ctypes.c_uint64), ("size", ctypes.c_size_t)]


class Keeping:
    """An open image of a process, whose pages are kept from their first read on until they are to be read anew."""

    def __init__(self, pid):
        self.pid, self.kept, self.changed = pid, {}, {}
        self.callbacks = (pyunw.pyunw_read_function(self.read), pyunw.pyunw_renew_function(self.renew))
        found = pyunw.pyunw_target()
        pyunw.check(REMOTE.pyunw_open_pid(found, pid, None))
        info = pyunw.describe_target(found)
        image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image), may_change=1, runtime=info.runtime, version=info.version,
            free_threaded=info.free_threaded, code_type=info.code_type, read=self.callbacks[0],
            renew=self.callbacks[1])
        self.target = pyunw.pyunw_target()
        pyunw.check(pyunw.lib.pyunw_open_image(self.target, image, None))
        self.frames = self.walk()

    # ---- The memory ----

    def now(self, address, size):
        """The bytes of the process, with what has changed since; None where there are none."""
        buffer = ctypes.create_string_buffer(size)
        to, begin = Span(ctypes.addressof(buffer), size), Span(address, size)
        done = LIBC.process_vm_readv(self.pid, ctypes.byref(to), ctypes.c_ulong(1), ctypes.byref(begin),
                                     ctypes.c_ulong(1), ctypes.c_ulong(0))
        if done != size:
            return None
        data = bytearray(buffer.raw)
        for at, byte in self.changed.items():
            if address <= at < address + size:
                data[at - address] = byte
        return bytes(data)

    def page(self, address):
        if address not in self.kept:
            self.kept[address] = self.now(address, PAGE)
        return self.kept[address]

    def read(self, _context, address, buffer, size):
        first = address // PAGE * PAGE
        pages = [self.page(page) for page in range(first, address + size, PAGE)]
        if None in pages:
            return pyunw.PYUNW_ERR_FAULT
        ctypes.memmove(buffer, b"".join(pages)[address - first:][:size], size)
        return 0

    def renew(self, _context, _purpose):
        self.kept.clear()

    def change(self, address, data):
        self.changed.update((address + n, byte) for n, byte in enumerate(data))

    def replace(self, begin, size, old, new):
        """Of the bytes from here on, each that is old becomes new, as the process would write it."""
        data = self.now(begin, size)
        places = [at for at in range(0, size - len(old) + 1) if data[at:at + len(old)] == old]
        check(places, "no", old, "in the", size, "bytes from", hex(begin))
        for at in places:
            self.change(begin + at, new)

    # ---- What is told ----

    def walk(self):
        frames, status = pyunw.walk(self.target, pyunw.threads(self.target)[0].tstate)
        check(len(frames) == 4 and status.end == pyunw.PYUNW_COMPLETE, len(frames), "frames, end", status.end)
        return frames

    def begin(self):
        cursor = pyunw.pyunw_local_cursor()
        pyunw.check(pyunw.lib.pyunw_locals_begin(self.target, self.frames[0], cursor))
        return cursor

    def variables(self, cursor):
        """{name: address of the object}"""
        local, found = pyunw.pyunw_local(), {}
        while pyunw.check(pyunw.lib.pyunw_locals_next(cursor, local)) == 1:
            found[local.text()] = local.object
        return found

    def value(self, address):
        return pyunw.describe_value(self.target, address)[0]


def word(value):
    return struct.pack("<Q", value)


FRAME = 512  # bytes that hold a frame with its variables, more or less


def bound_anew(pid):
    """A variable is bound to another object after the stack was walked."""
    keeping = Keeping(pid)
    before = keeping.variables(keeping.begin())
    check(set(before) == {"first", "second"} and keeping.value(before["first"]) == "1234.5", "variables", before)
    keeping.walk()
    # 3.14+ tags references in their low bits: what refers to the one refers to the other likewise.
    for tag in range(4):
        if word(before["first"] | tag) in keeping.now(keeping.frames[0].frame, FRAME):
            keeping.replace(keeping.frames[0].frame, FRAME, word(before["first"] | tag), word(before["second"] | tag))
    after = keeping.variables(keeping.begin())
    check(after == dict.fromkeys(before, before["second"]), "bound anew:", after, "not the new", before["second"])


def called_anew(pid):
    """While its variables are told, the frame is given to another call."""
    keeping = Keeping(pid)
    cursor = keeping.begin()
    keeping.variables(cursor)
    check(pyunw.lib.pyunw_locals_end(cursor) == 0, "a frame that stands is said to have moved")
    cursor = keeping.begin()
    keeping.variables(cursor)
    keeping.replace(keeping.frames[0].frame, FRAME, word(keeping.frames[1].frame), word(keeping.frames[2].frame))
    result = pyunw.lib.pyunw_locals_end(cursor)
    check(result == pyunw.PYUNW_ERR_TORN, "another call's frame is confirmed:", result)


def filled_anew(pid):
    """An object's value is another each time it is asked for."""
    keeping = Keeping(pid)
    address = keeping.variables(keeping.begin())["first"]
    check(keeping.value(address) == "1234.5", "value", keeping.value(address))
    keeping.replace(address, 64, struct.pack("<d", 1234.5), struct.pack("<d", 4321.25))
    check(keeping.value(address) == "4321.25", "the value of another time:", keeping.value(address))


def main():
    with Program([sys.executable, "-c", PROGRAM]) as program:
        wait_until_reading(program.pid)
        for case in (bound_anew, called_anew, filled_anew):
            case(program.pid)
    return finish("variables are read anew each time they are looked at")


if __name__ == "__main__":
    sys.exit(main())
