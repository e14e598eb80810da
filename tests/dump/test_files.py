# interpreters: each
# weight: heavy
"""
The interpreter where its files do not help: the executable or libpython deleted or replaced while it runs, the reader
without the right to /proc/PID/map_files; in a mount namespace and in a pid namespace of its own; embedded in a program
of C, with symbols, stripped, and without section headers; before Py_Initialize and after Py_Finalize. The oracle is
what subject.py says in it, and for the last two what such a program is.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "open"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

from compile import compile_program
from dumping import SUBJECT, Program, Subject, check, compare_stack, compare_subject, dump_one, finish, run_dump
from dumping import wait_until_reading
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


def runs_libpython():
    with open("/proc/self/maps", encoding="utf-8") as file:
        return "/libpython" in file.read()


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
    shared = linking.shared if runs_libpython() else None
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


# ---- Namespaces -----------------------------------------------------------------------------------------------------


def may_unshare():
    return os.geteuid() == 0 and shutil.which("unshare") and subprocess.call(["unshare", "-m", "-p", "-f", "true"]) == 0


def check_mount_namespace(linking, folder):
    """The interpreter's file is on a file system that nobody else sees."""
    shared = linking.shared if runs_libpython() else None
    original = interpreter_file(shared)
    hidden = os.path.join(folder, "hidden")
    os.mkdir(hidden)
    copy = os.path.join(hidden, os.path.basename(original))
    run = 'LD_PRELOAD="$2" exec "$3" "$4"' if shared else 'exec "$2" "$4"'
    script = 'mount -t tmpfs none "$0" && cp "$1" "$2" && ' + run
    command = ["unshare", "-m", "sh", "-c", script, hidden, original, copy, sys.executable, SUBJECT]
    with Subject("lock", "method", command=command, environment=HOME) as subject:
        assert not os.path.exists(copy), "the copy is not hidden"
        return (compare_subject("mount namespace", subject)
                + compare_subject("mount namespace, no map_files", subject, preexec_fn=without_map_files))


def inner_id(pid, task):
    with open("/proc/%d/task/%d/status" % (pid, task), encoding="utf-8") as file:
        return int(re.search(r"^NSpid:.*\t(\d+)$", file.read(), re.M).group(1))


def check_pid_namespace():
    """Threads know themselves by other numbers than the reader does."""
    command = ["unshare", "-p", "-f", "--kill-child", sys.executable, SUBJECT]
    with Program(command, environment=dict(HOME, SUBJECT="lock,method")) as program:
        truth = json.loads(program.next_line().decode())
        with open("/proc/%d/task/%d/children" % (program.pid, program.pid), encoding="utf-8") as file:
            pid = int(file.read())
        wait_until_reading(pid)
        process = dump_one("pid namespace", pid)
        check((truth["pid"], process["pid"]) == (1, pid), "pid namespace", truth["pid"], process["pid"])
        for told in truth["threads"]:
            thread = next(thread for thread in process["threads"] if thread["thread_id"] == told["thread_id"])
            compare_stack("pid namespace", thread, told)
            check(inner_id(pid, thread["native_id"]) == told["native_id"], "pid namespace", thread["native_id"])
        return sum(len(told["stack"]) for told in truth["threads"])


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
        yield "static, stripped", stripped(program, folder)
        yield "static, without sections", without_sections(stripped(program, folder), folder)


def check_life(what, program):
    stages = ["is not initialized yet", "is finalized"]
    if (what == "static, stripped" and MINOR < 10) or (what == "static, without sections" and MINOR < 13):
        # Nothing tells of it but what a running interpreter must be.
        stages = ["is not Python", "has the texts of %d.%d.%d and no symbol of its runtime" % sys.version_info[:3]]
    for stage in stages:
        if stage == stages[1]:
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
        namespaces = may_unshare()
        if namespaces:
            frames += check_mount_namespace(linking, folder) + check_pid_namespace()
        more, tried = check_hosts(linking, folder)
    return finish("%d frames right: deleted, replaced, with and without map_files; namespaces%s; embedded: %s" % (
        frames + more, "" if namespaces else " NOT TRIED", "; ".join(tried) or "NOT TRIED, NO LIBRARY"))


if __name__ == "__main__":
    sys.exit(main())
