# interpreters: each
"""
Trapped reads in a living interpreter: that they are used where pyunwind's fault handler is in force and guarded ones
where it is not (not installed, removed, displaced, blocked), that neither ever faults, and that captures inside the
program's own fault handlers are right, on alternate stacks too, whichever of the two handlers was there first.

Which of the two is used is seen in a sandbox that refuses process_vm_readv(2): there trapped reads work and guarded
ones fail. The oracle for stacks is sys._getframe().
"""

import ctypes
import faulthandler
import mmap
import os
import signal
import sys
import tempfile
import threading

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import pyunw
from compile import compile_shared

PROBE = compile_shared("trapped", "trapped.c", pyunwind=True)
SANDBOX = ctypes.CDLL(compile_shared("seccomp_refuse", os.path.join(SOURCE, "tests", "open", "seccomp_refuse.c")))
FAULT = pyunw.PYUNW_ERR_FAULT
MANY_FRAMES = 32
SA_NODEFER, SA_ONSTACK = 0x40000000, 0x08000000


class Found(ctypes.Structure):
    _fields_ = [("calls", ctypes.c_int32), ("count", ctypes.c_int32), ("status", pyunw.pyunw_status),
                ("bad_code", ctypes.c_int32), ("bad_thread", ctypes.c_int32), ("on_alternate_stack", ctypes.c_int32),
                ("reserved", ctypes.c_int32), ("frames", pyunw.pyunw_frame * MANY_FRAMES)]


def load_probe(kind):
    library = kind(PROBE)
    library.make_nowhere.restype = ctypes.c_uint64
    target = ctypes.POINTER(pyunw.pyunw_target)
    library.handle_faults.argtypes = [target, ctypes.c_int, ctypes.c_bool, ctypes.c_size_t]
    library.block.argtypes = [ctypes.c_int, ctypes.c_bool]
    library.read_badly.argtypes = [target, ctypes.c_int]
    return library


probe = load_probe(ctypes.CDLL)
probe_holding_gil = load_probe(ctypes.PyDLL)
found = Found.in_dll(probe, "found")
NOWHERE = probe.make_nowhere()

TARGETS = {
    "default": pyunw.open_self(),
    "trapped": pyunw.open_self(pyunw.PYUNW_MEMORY_TRAPPED),
    "direct": pyunw.open_self(pyunw.PYUNW_MEMORY_DIRECT),
    "guarded": pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED),
}


def file_page():
    """The address of a page of a file that ends before it: SIGBUS."""
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
    return page, ctypes.addressof(ctypes.c_char.from_buffer(page))


FILE_PAGE, BEYOND_FILE = file_page()

# No page, a page that cannot be touched, a file's page beyond its end, the kernel's half, no canonical address.
BAD_ADDRESSES = [NOWHERE, NOWHERE + 8, BEYOND_FILE, BEYOND_FILE + 64, 1 << 46, 1 << 47, 1 << 55, 4096]


def check_bad_addresses():
    """Whatever reads: an answer, and no fault."""
    identity, frame = pyunw.pyunw_code_identity(), pyunw.pyunw_frame()
    for name, target in TARGETS.items():
        for address in BAD_ADDRESSES:
            for library in (pyunw.lib, pyunw.lib_holding_gil):
                if not guard_refused:  # what is not found then is the calling thread itself
                    assert library.pyunw_capture(target, address, None, 0, None) == FAULT, (name, hex(address))
                if name == "direct":  # which trusts the code objects that it is given
                    continue
                assert library.pyunw_identify_code(target, address, identity) == FAULT, (name, hex(address))
                raw = pyunw.pyunw_raw_frame(code=address)
                assert library.pyunw_describe(target, raw, frame) == FAULT, (name, hex(address))


class NoThreadState(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint64 * 256)]


NO_THREAD_STATE = NoThreadState()


def trapped_is_used(name):
    """Does this target read by trapped loads at this moment? False: by the guard, which is refused here."""
    # Of a thread that is not the calling one, so that direct targets read it as the default ones do.
    address = ctypes.addressof(NO_THREAD_STATE)
    result = pyunw.lib.pyunw_capture(TARGETS[name], address, None, 0, None)
    assert result in (0, FAULT, pyunw.PYUNW_ERR_CORRUPT), result
    return result != FAULT


guard_refused = False


def refuse_guard():
    global guard_refused
    guard_refused = True
    number = ctypes.c_int.in_dll(SANDBOX, "number_of_process_vm_readv").value
    assert SANDBOX.refuse((ctypes.c_int * 1)(number), 1, 1) == 0


def expect_trapped(wanted, when):
    check_bad_addresses()
    if not guard_refused:
        return
    for name in ("default", "trapped", "direct"):
        assert trapped_is_used(name) == wanted, "%s, %s: trapped reads are%s used" % (when, name,
                                                                                       " not" if wanted else "")
    assert not trapped_is_used("guarded")


# ---- Which of the two is used: each of these runs in a child, and in a sandboxed one --------------------------------


def install_and_remove():
    expect_trapped(False, "before it is installed")
    pyunw.check(pyunw.lib.pyunw_trap_install())
    expect_trapped(True, "installed")
    pyunw.check(pyunw.lib.pyunw_trap_install())
    expect_trapped(True, "installed twice")
    pyunw.check(pyunw.lib.pyunw_trap_remove())
    expect_trapped(False, "removed")
    pyunw.check(pyunw.lib.pyunw_trap_install())
    expect_trapped(True, "installed again")


def blocked():
    pyunw.check(pyunw.lib.pyunw_trap_install())
    for number in (signal.SIGSEGV, signal.SIGBUS):
        probe.block(number, True)
        expect_trapped(False, "%s blocked" % number)
        errors = []
        in_thread(errors, lambda: (probe.block(number, False), expect_trapped(True, "unblocked in another thread")))
        in_thread(errors, lambda: expect_trapped(False, "blocked in another thread, too"))
        assert not errors, errors[0]
        probe.block(number, False)
        expect_trapped(True, "%s unblocked" % number)


def displaced():
    pyunw.check(pyunw.lib.pyunw_trap_install())
    assert probe_holding_gil.handle_faults(TARGETS["default"], 0, False, 0) == 0
    expect_trapped(False, "displaced")
    pyunw.check(pyunw.lib.pyunw_trap_install())
    expect_trapped(False, "displaced, and installed again: it stays behind")
    assert probe_holding_gil.stop_handling_faults() == 0
    expect_trapped(True, "uncovered")
    signal.signal(signal.SIGBUS, lambda *arguments: None)
    expect_trapped(False, "SIGBUS displaced by signal.signal()")


def displaced_by_faulthandler():
    pyunw.check(pyunw.lib.pyunw_trap_install())
    faulthandler.enable()
    expect_trapped(False, "displaced by faulthandler")
    faulthandler.disable()
    expect_trapped(True, "uncovered by faulthandler")
    pyunw.check(pyunw.lib.pyunw_trap_remove())
    faulthandler.enable()
    pyunw.check(pyunw.lib.pyunw_trap_install())
    expect_trapped(True, "in front of faulthandler")


def after_fork():
    pyunw.check(pyunw.lib.pyunw_trap_install())
    pid = os.fork()
    if pid == 0:
        run_and_exit(lambda: expect_trapped(True, "in a child"))
    assert os.waitpid(pid, 0)[1] == 0


# ---- Captures in the program's own handler --------------------------------------------------------------------------


def frames_from(frame):
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return frames


def fault_and_check(library, calls, what):
    fault = library.fault
    _, expected = fault(), frames_from(sys._getframe())
    captured = [(f.text("filename"), f.text("name"), f.position.lineno) for f in found.frames[:max(found.count, 0)]]
    assert found.calls == calls, "%s: the handler ran %d times" % (what, found.calls)
    assert found.bad_thread == FAULT and found.bad_code in (FAULT, 1), (what, found.bad_code, found.bad_thread)
    assert found.status.end == pyunw.PYUNW_COMPLETE, "%s: %d, end %d" % (what, found.count, found.status.end)
    assert captured == expected, "%s:\n%s\nexpected\n%s" % (what, captured, expected)


def handler_kinds():
    # An alternate stack takes the handler's frame and, while a trapped load faults, another: AT_MINSIGSTKSZ twice.
    minimum = 2048
    if hasattr(os, "sysconf") and "SC_MINSIGSTKSZ" in os.sysconf_names:
        minimum = os.sysconf("SC_MINSIGSTKSZ")
    for flags in (0, SA_NODEFER):
        for jumps in (False, True):
            for alternate in (0, 65536, 2 * max(minimum, 4096) + 8192):
                yield flags, jumps, alternate


def check_own_handler(order, target_name):
    """order: which handler is put in place first."""
    target = TARGETS[target_name]
    for flags, jumps, alternate in handler_kinds():
        what = "%s first, %s, flags %#x, jumps %s, alternate stack %d" % (order, target_name, flags, jumps, alternate)
        if order == "pyunwind":
            pyunw.check(pyunw.lib.pyunw_trap_install())
        assert probe_holding_gil.handle_faults(target, flags, jumps, alternate) == 0
        if order == "program":
            pyunw.check(pyunw.lib.pyunw_trap_install())
        found.calls = 0
        fault_and_check(probe_holding_gil, 1, what + ", holding the GIL")
        fault_and_check(probe, 2, what + ", the GIL released")
        assert found.on_alternate_stack == (alternate > 0), what
        check_bad_addresses()
        if order == "program":
            pyunw.check(pyunw.lib.pyunw_trap_remove())
            fault_and_check(probe_holding_gil, 3, what + ", removed")
        assert probe_holding_gil.stop_handling_faults() == 0
        if order == "pyunwind":
            pyunw.check(pyunw.lib.pyunw_trap_remove())


def own_handlers():
    for target_name in TARGETS:
        for order in ("program", "pyunwind", "nobody"):
            check_own_handler(order, target_name)


def trapped_in_own_handler():
    """In a handler behind pyunwind's, trapped loads are used where its signal is not blocked: here no guard is left."""
    refuse_guard()
    for alternate in (0, 65536):
        assert probe_holding_gil.handle_faults(TARGETS["trapped"], SA_NODEFER, False, alternate) == 0
        pyunw.check(pyunw.lib.pyunw_trap_install())
        found.calls = 0
        fault_and_check(probe_holding_gil, 1, "holding the GIL, alternate stack %d" % alternate)
        fault_and_check(probe, 2, "the GIL released, alternate stack %d" % alternate)
        pyunw.check(pyunw.lib.pyunw_trap_remove())


# ---- Threads --------------------------------------------------------------------------------------------------------


def many_threads():
    """Two threads whose trapped reads fault, beside two whose own faults a virtual machine's handler recovers from."""
    times = 20000
    assert probe.handle_like_a_virtual_machine() == 0
    pyunw.check(pyunw.lib.pyunw_trap_install())
    counts, errors = [], []
    work = [lambda: counts.append(probe.read_badly(TARGETS["trapped"], times)),
            lambda: counts.append(probe.read_badly(TARGETS["default"], times)),
            lambda: counts.append(probe.fault_often(times)),
            lambda: counts.append(probe.fault_often(times))]
    threads = [threading.Thread(target=guarded_call, args=(errors, function)) for function in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and counts == [times] * 4, (errors, counts)


def guarded_call(errors, function):
    try:
        function()
    except BaseException as error:
        errors.append(error)


def in_thread(errors, function):
    thread = threading.Thread(target=guarded_call, args=(errors, function))
    thread.start()
    thread.join()


# ---------------------------------------------------------------------------------------------------------------------


def run_and_exit(function):
    try:
        function()
    except BaseException as error:
        where = error.__traceback__
        lines = []
        while where:
            lines.append(str(where.tb_lineno))
            where = where.tb_next
        os.write(1, ("%s: lines %s: %s: %s\n" % (getattr(function, "__name__", "?"), " ".join(lines),
                                                 type(error).__name__, error)).encode())
        os._exit(1)
    os._exit(0)


def sandboxed(function):
    def run():
        refuse_guard()
        function()
    run.__name__ = function.__name__ + " without a guard"
    return run


SWITCHES = [install_and_remove, blocked, displaced, displaced_by_faulthandler, after_fork]
CASES = SWITCHES + [sandboxed(case) for case in SWITCHES] + [own_handlers, trapped_in_own_handler, many_threads]


def main():
    failed = []
    for case in CASES:
        pid = os.fork()
        if pid == 0:
            run_and_exit(case)
        status = os.waitpid(pid, 0)[1]
        if status != 0:
            failed.append("%s (wait status %#x)" % (case.__name__, status))
    if failed:
        print("failed: " + ", ".join(failed))
        return 1
    print("trapped reads right: " + ", ".join(case.__name__ for case in CASES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
