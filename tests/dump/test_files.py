# interpreters: each
# weight: heavy
"""
The interpreter where its files do not help: the executable or libpython deleted or replaced while it runs, the reader
without the right to /proc/PID/map_files; embedded in a program of C, with symbols, stripped, and without section
headers; before Py_Initialize and after Py_Finalize. The oracle is what subject.py says in it, and for the last two what
such a program is.
"""

import ctypes
import os
import shutil
import sys
import tempfile

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "open"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from compile import compile_program
from dumping import SUBJECT, Program, Subject, check, compare_subject, finish, run_dump
from linking import MINOR, Linking, python_home, stripped, without_sections

CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE = 21, 40
PR_CAPBSET_DROP = 24
HOME = {"PYTHONHOME": python_home()}

HOST = r"""
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void stand_still(void)
{
    char byte;
    if (write(1, "\n", 1) != 1 || read(0, &byte, 1) != 1)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        stand_still();
        Py_InitializeEx(0);
        Py_FinalizeEx();
        stand_still();
        return 0;
    }
    Py_InitializeEx(0);
    return PyRun_SimpleString(argv[1]) != 0;
}
"""


def without_map_files():
    """For a child before its exec: root as others are, for whom /proc/PID/map_files is closed."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


# ---- Deleted and replaced -------------------------------------------------------------------------------------------


def interpreter_file(shared):
    """The file of the running interpreter that holds _PyRuntime."""
    if shared is None:
        return os.path.realpath("/proc/self/exe")
    with open("/proc/self/maps", encoding="utf-8") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "libpython" in line}
    return next(iter(paths))


def check_moved_files(linking, folder):
    """Run a copy of the interpreter's file, then take the copy away or put another file in its place."""
    frames = 0
    shared = linking.shared if "libpython" in open("/proc/self/maps", encoding="utf-8").read() else None
    original = interpreter_file(shared)
    for what in ("deleted", "replaced"):
        copy = shutil.copy(original, os.path.join(folder, os.path.basename(original)))
        command = [sys.executable, SUBJECT] if shared else [copy, SUBJECT]
        environment = dict(HOME, LD_PRELOAD=copy) if shared else HOME
        with Subject("lock", "deep", command=command, environment=environment) as subject:
            with open("/proc/%d/maps" % subject.pid, encoding="utf-8") as file:
                assert copy in file.read(), "the copy does not run"
            os.unlink(copy)
            if what == "replaced":
                shutil.copy("/bin/true", copy)
            frames += compare_subject(what, subject)
            frames += compare_subject(what + ", no map_files", subject, preexec_fn=without_map_files)
            if what == "replaced":
                os.unlink(copy)
    return frames


# ---- Embedded -------------------------------------------------------------------------------------------------------


def hosts(linking, folder):
    """(what, program) of every way in which this interpreter can be inside a program of C."""
    if linking.shared:
        yield "libpython", compile_program("dump_host_shared", HOST,
                                           flags=linking.compile_flags() + linking.shared_flags())
    if linking.static:
        program = compile_program("dump_host_static", HOST, linking.missing_hashes(), flags=linking.compile_flags() + [
            "-pie", "-Wl,--no-export-dynamic"] + linking.static_flags())
        yield "static", program
        if MINOR >= 10:
            yield "static, stripped", stripped(program, folder)
        if MINOR >= 13:
            yield "static, without sections", without_sections(stripped(program, folder), folder)


def check_life(what, program):
    for stage in ("is not initialized yet", "is finalized"):
        if stage == "is finalized":
            program.next_line()
        status, output, errors = run_dump(program.pid)
        check((status, output) == (1, "") and stage in errors, what, stage, status, output, errors)


def check_hosts(linking, folder):
    frames = 0
    tried = []
    with open(SUBJECT, encoding="utf-8") as file:
        source = file.read()
    for what, program in hosts(linking, folder):
        with Subject("lock", "method", command=[program, source], environment=HOME) as subject:
            frames += compare_subject(what, subject)
        with Program([program], environment=HOME) as started:
            check_life(what, started)
        tried.append(what)
    return frames, tried


def main():
    linking = Linking()
    with tempfile.TemporaryDirectory() as folder:
        frames = check_moved_files(linking, folder)
        more, tried = check_hosts(linking, folder)
    return finish("%d frames right: deleted, replaced, with and without map_files; embedded: %s" % (
        frames + more, "; ".join(tried) or "NOT TRIED, NO LIBRARY"))


if __name__ == "__main__":
    sys.exit(main())
