# interpreters: each
"""
`pyunwind core` of core files that lack a page of the interpreter's static data: what stands in the others is found all
the same. Nothing names the interpreter here (its files' symbols have other names), so that it has to be found in these
bytes. The oracle is what the program said of itself.
"""

import os
import shutil
import sys

from cores import allow_cores, any_core, check, compare_core, core_one, kernel_cores_note
from dumping import finish
from made import PAGE, PT_LOAD, WRITABLE, files_of, segments_of


def hide_names(files, root):
    """Below root, the files without the names of a runtime; which they are. The build ids are the same."""
    changed = set()
    for path in {os.fsdecode(path) for _, path in files.values()}:
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


def has_version(data, segment):
    """Is the last page the one with the text that the search begins with?"""
    end = segment[3] + segment[5]
    return b"%d.%d." % sys.version_info[:2] in data[end - PAGE:end]


def cut_data(name, data, files, changed):
    """Take the last page of .bss, or of .data, of each of these files out of the core; how many."""
    loaded = [segment for segment in segments_of(data) if segment[1] == PT_LOAD]
    cut = 0
    with open(name, "r+b") as file:
        for number, (_, _, flags, _, begin, _, size) in enumerate(loaded):
            if not flags & WRITABLE or os.fsdecode(files.get(begin, (0, b""))[1]) not in changed:
                continue
            behind = loaded[number + 1]
            has_bss = behind[4] == begin + size and behind[2] & WRITABLE
            segment = behind if has_bss and not has_version(data, behind) else loaded[number]
            file.seek(segment[0] + 32)
            file.write((segment[5] - PAGE).to_bytes(8, "little"))
            cut += 1
    return cut


def main():
    if sys.version_info[:2] == (3, 12):
        print("its last page of .bss has the version, that of .data the runtime: none can be missing")
        return 77
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
    return finish("%d frames, all of them without a page of the static data of %d files%s" %
                  (left, cut, kernel_cores_note()))


sys.exit(main())
