# interpreters: each
"""
Guarded reads where the system refuses some of their system calls: the first kind that works is chosen when the target
is opened, the stacks read with it are right (the oracle is sys._getframe()), and where none is left opening says so.
Refused by seccomp filters, by file permissions and by a limit on descriptors, each in a child of its own.
"""

import ctypes
import errno
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_shared

sandbox = ctypes.CDLL(compile_shared("seccomp_refuse", "seccomp_refuse.c"))

READV, PROC_MEM, PIPE = pyunw.PYUNW_GUARD_READV, pyunw.PYUNW_GUARD_PROC_MEM, pyunw.PYUNW_GUARD_PIPE
NO_GUARD = "the system refuses guarded reads of the own memory (process_vm_readv, /proc/self/mem, a pipe)"


def refuse(*names, **more):
    numbers = [ctypes.c_int.in_dll(sandbox, "number_of_" + name).value for name in names]
    error = sandbox.refuse((ctypes.c_int * len(numbers))(*numbers), len(numbers), more.get("error", errno.EPERM))
    assert error == 0, "no seccomp filter: " + os.strerror(-error)


def frames_from(frame):
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return frames


def check_stack(target):
    frames = (pyunw.pyunw_frame * 64)()
    status = pyunw.pyunw_status()
    capture = pyunw.lib.pyunw_capture_current
    count, expected = capture(target, frames, 64, status), frames_from(sys._getframe())
    captured = [(f.text("filename"), f.text("name"), f.position.lineno) for f in frames[:max(count, 0)]]
    assert (count, status.end) == (len(expected), pyunw.PYUNW_COMPLETE), (count, status.end)
    assert captured == expected, (captured, expected)


def check_bad_address(target):
    """Reads are guarded indeed: what cannot be read is an answer."""
    identity = pyunw.pyunw_code_identity()
    assert pyunw.lib.pyunw_identify_code(target, 4096 * 16, identity) == pyunw.PYUNW_ERR_FAULT
    for library in (pyunw.lib, pyunw.lib_holding_gil):
        assert library.pyunw_capture(target, 1 << 46, None, 0, None) == pyunw.PYUNW_ERR_FAULT


def expect_guard(guard, memories=(pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_MEMORY_DEFAULT)):
    for memory in memories:
        target = pyunw.open_self(memory)
        assert pyunw.describe_target(target).guard == guard, (memory, pyunw.describe_target(target).guard)
        check_stack(target)
        check_bad_address(target)


def expect_refused(guard=pyunw.PYUNW_GUARD_DEFAULT):
    for memory in range(pyunw.PYUNW_MEMORY_GUARDED + 1):
        try:
            pyunw.open_self(memory, guard)
        except pyunw.Error as error:
            assert error.code == pyunw.PYUNW_ERR_PERMISSION, error
            assert str(error).endswith(": " + NO_GUARD), error
        else:
            raise AssertionError("opened with memory %d" % memory)


# ---- The cases: each runs in a child --------------------------------------------------------------------------------


def nothing_refused():
    expect_guard(READV)
    for guard in (READV, PROC_MEM, PIPE):
        target = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, guard)
        assert pyunw.describe_target(target).guard == guard
        check_stack(target)
        check_bad_address(target)


def readv_refused():
    refuse("process_vm_readv")
    expect_guard(PROC_MEM)
    expect_refused(READV)


def readv_not_there():
    refuse("process_vm_readv", error=errno.ENOSYS)  # a kernel built without CONFIG_CROSS_MEMORY_ATTACH
    expect_guard(PROC_MEM)


def opening_refused():
    refuse("process_vm_readv", "openat", error=errno.EACCES)
    expect_guard(PIPE)
    expect_refused(READV)
    expect_refused(PROC_MEM)


def reading_refused():
    refuse("process_vm_readv", "pread64")
    expect_guard(PIPE)


def all_refused():
    refuse("process_vm_readv", "openat", "pipe2")
    expect_refused()


def mem_of_another_user():
    # Who changes its user is not dumpable any more, and its files in /proc belong to root (proc(5)).
    os.setgid(65534)
    os.setuid(65534)
    refuse("process_vm_readv")
    try:
        os.close(os.open("/proc/self/mem", os.O_RDONLY))
    except PermissionError:
        pass
    else:
        raise AssertionError("/proc/self/mem is readable")
    expect_guard(PIPE)


def no_descriptor_left():
    through_mem = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, PROC_MEM)
    through_pipe = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, PIPE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, next_one))
    expect_guard(READV)
    expect_refused(PROC_MEM)
    expect_refused(PIPE)
    for target in (through_mem, through_pipe):
        expect_no_answer(target)


def refused_after_opening():
    target = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED)
    check_stack(target)
    refuse("process_vm_readv")
    expect_no_answer(target)


def expect_no_answer(target):
    """A guard that stops working says that it cannot read; it never gives a frame that it did not read."""
    frames = (pyunw.pyunw_frame * 64)()
    status = pyunw.pyunw_status()
    count = pyunw.lib.pyunw_capture_current(target, frames, 64, status)
    assert count < 0 or (count, status.end) == (0, pyunw.PYUNW_CORRUPT), (count, status.end)


def trapped_needs_no_guard():
    pyunw.check(pyunw.lib.pyunw_trap_install())
    targets = [pyunw.open_self(memory) for memory in (pyunw.PYUNW_MEMORY_TRAPPED, pyunw.PYUNW_MEMORY_DEFAULT)]
    refuse("process_vm_readv", "openat", "pipe2")
    for target in targets:
        check_stack(target)
        check_bad_address(target)
    pyunw.check(pyunw.lib.pyunw_trap_remove())
    for target in targets:
        expect_no_answer(target)


CASES = [nothing_refused, readv_refused, readv_not_there, opening_refused, reading_refused, all_refused,
         no_descriptor_left, refused_after_opening, trapped_needs_no_guard]


def run_in_child(case):
    pid = os.fork()
    if pid == 0:
        try:
            case()
        except BaseException as error:
            where = error.__traceback__
            while where.tb_next:
                where = where.tb_next
            os.write(1, ("%s: line %d: %s: %s\n" % (case.__name__, where.tb_lineno, type(error).__name__, error))
                     .encode())
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def main():
    cases = list(CASES)
    if os.getuid() == 0:
        cases.append(mem_of_another_user)
    failed = []
    for case in cases:
        status = run_in_child(case)
        if status != 0:
            failed.append("%s (wait status %#x)" % (case.__name__, status))
    if failed:
        print("failed: " + ", ".join(failed))
        return 1
    left_out = "" if len(cases) > len(CASES) else "; NOT ROOT: mem_of_another_user was left out"
    print("%d sandboxes right: %s%s" % (len(cases), ", ".join(case.__name__ for case in cases), left_out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
