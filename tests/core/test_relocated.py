# interpreters: each
"""
A page of a library's data that was written to and then protected, as the dynamic linker does with what it relocates, and
that the core file lacks: what the library's file has there is not taken for it. The oracle is what was written.
"""

import os
import re
import struct
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", folder) for folder in ("support", "dump")]

from compile import compile_shared
from cores import HAS_KERNEL_CORES, SMALL, allow_cores, check, core_one, gdb_core, kernel_cores_note, take_kernel_core
from dumping import Program, finish, wait_until_reading
from made import PT_LOAD, segments_of

IN_FILE, IN_MEMORY = "as it is in the file", "as it was in memory"

LIBRARY = r"""
/* Three pages of data, the second of which begins with the text. */
#define PAGE 4096
char pages[3 * PAGE] __attribute__((aligned(PAGE))) = {[PAGE] = CHARACTERS};
"""

# An object whose header stands at the end of a page, and what it holds at the beginning of the next one.
PROGRAM = """
import ctypes, mmap, os, sys
PROT_READ = 1
pages = ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(sys.argv[1]), "pages"))
text = sys.argv[2].encode()
held = pages + mmap.PAGESIZE
begin = held - (bytes.__basicsize__ - 1)
ctypes.memmove(begin, id(text), bytes.__basicsize__ - 1 + len(text) + 1)
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(held), mmap.PAGESIZE, PROT_READ) == 0
def stand(told):
    os.write(1, b"%x\\n" % held)
    os.read(0, 1)
stand(ctypes.cast(begin, ctypes.py_object).value)
"""


def value_in(what, *arguments, **options):
    """Of the argument."""
    process = core_one(what, "--locals", *arguments, **options)
    frames = [frame for thread in process["threads"] for frame in thread["frames"] if frame["name"] == "stand"]
    return {local["name"]: local["value"] for local in frames[0]["locals"]}["told"]


def without(core, name, address):
    """A copy that holds nothing of the segment at this address."""
    with open(core, "rb") as file:
        data = bytearray(file.read())
    found = [segment for segment in segments_of(data) if segment[1] == PT_LOAD and segment[4] == address]
    check(len(found) == 1 and found[0][5] > 0, "the core has", found, "at", hex(address))
    for segment in found:
        struct.pack_into("<Q", data, segment[0] + 32, 0)
    with open(name, "wb") as file:
        file.write(data)
    return name


def main():
    allow_cores()
    library = compile_shared("relocated", LIBRARY.replace("CHARACTERS", ", ".join(map(repr, IN_FILE))))
    with Program([sys.executable, "-c", PROGRAM, library, IN_MEMORY], environment=SMALL) as program:
        address = int(program.line, 16)
        wait_until_reading(program.pid)
        if HAS_KERNEL_CORES:
            program.process.send_signal(6)
            program.process.wait()
            core = take_kernel_core(program.process, "whole.core")
        else:
            core = gdb_core(program.pid, "whole.core")[0]
    check(value_in("whole", core) == "b%r" % IN_MEMORY, "whole:", value_in("whole", core))
    got = value_in("without the page", without(core, "cut.core", address))
    check(got is None or re.fullmatch("<unreadable>", got), "without the page:", got)
    return finish("what is not in the core is not taken from the file%s" % kernel_cores_note())


sys.exit(main())
