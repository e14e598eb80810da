# interpreters: each
"""
`pyunwind core` of core files that lack a page of the interpreter's static data: what stands in the others is found all
the same. Nothing names the interpreter here (its files' symbols have other names), so that it has to be found in these
bytes. The oracle is what the program said of itself.
"""

import os
import shutil
import struct
import sys

from cores import allow_cores, any_core, check, compare_core, core_one, kernel_cores_note
from dumping import finish

PAGE, PT_LOAD, PT_NOTE, NT_FILE, WRITABLE = 4096, 1, 4, 0x46494C45, 2


def segments_of(data):
    """(place of its header, type, flags, offset, begin, bytes in the core, bytes) of each."""
    first, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    found = []
    for place in range(first, first + 56 * count, 56):
        kind, flags, offset, begin, _, held, size = struct.unpack_from("<IIQQQQQ", data, place)
        found.append((place, kind, flags, offset, begin, held, size))
    return found


def files_of(data):
    """{begin: (end, path)} of the mapped files."""
    for _, kind, _, at, _, held, _ in segments_of(data):
        end = at + held if kind == PT_NOTE else at
        while at + 12 <= end:
            owner, size, what = struct.unpack_from("<III", data, at)
            note = at + 12 + (owner + 3 & ~3)
            if what == NT_FILE:
                count = struct.unpack_from("<Q", data, note)[0]
                paths = data[note + 16 + 24 * count:note + size].split(b"\0")
                places = (struct.unpack_from("<QQ", data, note + 16 + 24 * number) for number in range(count))
                return {begin: (until, os.fsdecode(path)) for (begin, until), path in zip(places, paths)}
            at = note + (size + 3 & ~3)
    return {}


def hide_names(files, root):
    """Below root, the files without the names of a runtime; which they are. The build ids are the same."""
    changed = set()
    for path in {path for _, path in files.values()}:
        if not os.path.isfile(path):
            continue
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        with open(path, "rb") as file:
            data = file.read()
        if data.startswith(b"\x7fELF") and b"PyRuntime\0" in data:
            changed.add(path)
            with open(root + path, "wb") as file:
                file.write(data.replace(b"PyRuntime\0", b"PyRuntimx\0").replace(b"\0Py_GetVersion\0", b"\0Py_GetVersiox\0"))
        else:
            os.symlink(path, root + path)
    return changed


def cut_data(name, data, files, changed):
    """Take the last page of each of these files' static data out of the core; how many."""
    loaded = [segment for segment in segments_of(data) if segment[1] == PT_LOAD]
    cut = 0
    with open(name, "r+b") as file:
        for number, (_, _, flags, _, begin, _, size) in enumerate(loaded):
            if not flags & WRITABLE or files.get(begin, (0, ""))[1] not in changed:
                continue
            last = number  # .bss, where it has more pages than .data
            if loaded[number + 1][4] == begin + size and loaded[number + 1][2] & WRITABLE:
                last += 1
            place, held = loaded[last][0], loaded[last][5]
            file.seek(place + 32)
            file.write((held - PAGE).to_bytes(8, "little"))
            cut += 1
    return cut


def main():
    allow_cores()
    core, truth = any_core("whole.core", "lock")
    with open(core, "rb") as file:
        data = file.read()
    files = files_of(data)
    changed = hide_names(files, "root")
    frames = compare_core("whole", core_one("whole", "--sysroot", "root", core), truth)
    shutil.copyfile(core, "cut.core")
    cut = cut_data("cut.core", data, files, changed)
    check(cut > 0, "nothing was cut")
    left = compare_core("cut", core_one("cut", "--sysroot", "root", "cut.core"), truth)
    check(left == frames, left, "frames of", frames)
    return finish("%d frames, all of them without the last page of the static data of %d files%s" %
                  (left, cut, kernel_cores_note()))


sys.exit(main())
