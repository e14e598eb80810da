# interpreters: each
"""
Core files that leave out what the mapped files have as well: with those files where they were, below a sysroot, by
build id in a debug folder, or named on the command line; and without them, or with others in their place, which are
told by their build ids and not used.
"""

import os
import shutil
import subprocess
import sys

from cores import HAS_KERNEL_CORES, any_core, allow_cores, check, compare_core, core_one, kernel_core, kernel_cores_note
from cores import run_core, set_filter
from dumping import Subject, finish

# core(5): private anonymous memory only; not even the first pages of ELF files; and with those.
ANONYMOUS, WITH_HEADERS, EVERYTHING = 0x01, 0x11, 0x7f


def build_id(path):
    notes = subprocess.check_output(["readelf", "-n", path], stderr=subprocess.DEVNULL).decode()
    found = [line.split(":")[1].strip() for line in notes.splitlines() if "Build ID:" in line]
    return found[0] if found else None


def library_of_python():
    """The file that holds the interpreter."""
    executable = os.path.realpath(sys.executable)
    linked = subprocess.check_output(["ldd", executable]).decode() if is_dynamic(executable) else ""
    found = [line.split("=>")[1].split()[0] for line in linked.splitlines() if "libpython" in line]
    return os.path.realpath(found[0]) if found else executable


def is_dynamic(path):
    return b"INTERP" in subprocess.check_output(["readelf", "-lW", path], stderr=subprocess.DEVNULL)


def copy_below(root, path):
    to = root + path
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copy(path, to)
    return to


def copy_by_id(folder, path):
    name = build_id(path)
    to = "%s/.build-id/%s/%s" % (folder, name[:2], name[2:])
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copy(path, to)


def mapped_files(truth_pid_maps):
    return sorted({line.split(None, 5)[5] for line in truth_pid_maps if "/" in line and "r-xp" in line})


def make_core(name, bits):
    """(core, truth, files that it had mapped)."""
    with Subject("lock", "generator", environment={"MALLOC_ARENA_MAX": "1", "SUBJECT_STACK": str(1 << 20)}) as subject:
        set_filter(subject.pid, bits)
        with open("/proc/%d/maps" % subject.pid, encoding="utf-8") as file:
            files = mapped_files(file.read().splitlines())
        return kernel_core(subject, name, 6), subject.truth, files


def compare_with_files():
    frames = 0
    core, truth, files = make_core("plain.core", WITH_HEADERS)
    frames += compare_core("files as they were", core_one("files as they were", core), truth)
    frames += compare_core("EXE", core_one("EXE", core, os.path.realpath(sys.executable)), truth)
    for path in files:
        copy_below("root", path)
    frames += compare_core("--sysroot", core_one("--sysroot", "--sysroot", "root", core), truth)
    for path in files:
        if build_id(path):
            copy_by_id("debug", path)
    os.mkdir("empty")
    library = library_of_python()
    if tells_build_id(library):
        both = core_one("--debug-dir", "--sysroot", "empty", "--debug-dir", "debug", core)
        frames += compare_core("--debug-dir", both, truth)
    whole, truth, _ = make_core("whole.core", EVERYTHING)
    frames += compare_core("all in the core", core_one("all in the core", "--sysroot", "empty", whole), truth)
    return core, library, files, frames


def without_files(core, library):
    """3.13 and later tell by their data where they are; before, nothing does without the file."""
    status, output, errors = run_core("--json", "--sysroot", "empty", core)
    if sys.version_info < (3, 13):
        check(status == 1 and output == "", "without files", status, output[:200], errors)
        check("no CPython was found in process" in errors and "mapped files are not here" in errors and
              "--sysroot" in errors, "without files", errors)
    else:
        check(output != "" and "Traceback" not in errors, "without files", status, errors)


def change_build_id(path):
    name = bytes.fromhex(build_id(path))
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = data.index(name)
    data[at:at + len(name)] = bytes(byte ^ 0x55 for byte in name)
    with open(path, "wb") as file:
        file.write(data)
    return build_id(path)


def replaced_files(core, library, files):
    """Another build in the place of a file: not used, and said with both build ids."""
    if not tells_build_id(library) or library not in files:
        return 0
    there = "root" + library
    wanted, got = build_id(library), change_build_id(there)
    check(wanted != got, "the build id is the same")
    status, _, errors = run_core("--sysroot", "root", core)
    check(got in errors and wanted in errors, "replaced", status, errors)
    executable = os.path.realpath(sys.executable)
    other = shutil.copy(executable, "other")
    if tells_build_id(executable):
        changed = change_build_id(other)
        status, output, errors = run_core(core, "other")
        check(status == 1 and output == "", "another EXE", status, output)
        check("is not the executable of" in errors and changed in errors and build_id(executable) in errors,
              "another EXE", errors)
    status, output, errors = run_core(core, "/bin/true")
    check(status == 1 and output == "" and "/bin/true is not the executable of" in errors, "EXE /bin/true", errors)
    return 3


def tells_build_id(path):
    """Is its build id in the page of it that is in the core? patchelf puts it elsewhere."""
    with open(path, "rb") as file:
        return build_id(path) is not None and bytes.fromhex(build_id(path)) in file.read(4096)


def without_headers():
    """Not even the first pages: the files are used unchecked."""
    core, truth, _ = make_core("bare.core", ANONYMOUS)
    return compare_core("no build ids", core_one("no build ids", core), truth)


def main():
    allow_cores()
    if not HAS_KERNEL_CORES:
        print("skipped" + kernel_cores_note())
        return 77
    core, library, files, frames = compare_with_files()
    without_files(core, library)
    replaced = replaced_files(core, library, files)
    frames += without_headers()
    return finish("%d frames with files in place, named, below a sysroot, by build id and without build ids; %d files "
                  "that are others refused" % (frames, replaced))


sys.exit(main())
