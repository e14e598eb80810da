# interpreters: host
"""
`pyunwind core` of core files made to harm whoever reads them: it ends soon and by itself, keeps to its own memory, and
sends nothing to the terminal but text. The oracle is what was put into them.
"""

import ctypes
import os
import shutil
import struct
import sys

from cores import HAS_KERNEL_CORES, allow_cores, any_core, check, kernel_cores_note, run_core
from dumping import finish
from made import NT_FILE, files_of, notes_of

tried = []


def name_entries(data):
    """The places of the entries of NT_FILE, each of begin, end and offset in pages, with their paths."""
    at, size = next((at, size) for _, what, at, size in notes_of(data) if what == NT_FILE)
    count = struct.unpack_from("<Q", data, at)[0]
    paths = data[at + 16 + 24 * count:at + size].split(b"\0")
    return [(at + 16 + 24 * number, path) for number, path in zip(range(count), paths)]


def changed(core, name, changes):
    shutil.copyfile(core, name)
    with open(name, "r+b") as file:
        for place, content in changes:
            file.seek(place)
            file.write(content)
    return name


def offsets_that_wrap(core, data):
    """A mapping whose offset in its file is nearly 2**64: an image of the file has no place for it."""
    # So that what lies before the image is memory that is in use: the heap.
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_=str(1 << 30))
    entries = [place for place, path in name_entries(data) if b"/libc." in path or b"/libc-" in path]
    for pages in (1, 16, 1 << 20):
        tried.append("an offset of -%d pages" % pages)
        name = changed(core, "wraps.core", [(entries[-1] + 16, struct.pack("<Q", (1 << 52) - pages))])
        status, output, errors = run_core("--native", "--sysroot", "nowhere", name, env=environment)
        check(status == 1 and output and "stacks are not whole" in errors, tried[-1], status, errors[:300])


def main():
    allow_cores()
    core, _ = any_core("whole.core", "lock", bits=0x7f)
    with open(core, "rb") as file:
        data = file.read()
    offsets_that_wrap(core, data)
    return finish("harmless: %s%s" % (", ".join(tried), kernel_cores_note()))


sys.exit(main())
