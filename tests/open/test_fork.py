# interpreters: each
"""
A target opened before fork() is right in the child: of every memory and guard, in a child and a grandchild, in a child
of a thread, and in one that closed all its descriptors, as daemons do.

The child captures while its parent stands in another function at the same depth, so that whoever reads the parent's
memory sees the parent's function. The oracle is sys._getframe().
"""

import os
import sys
import threading
import warnings

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

KINDS = {
    "default": (pyunw.PYUNW_MEMORY_DEFAULT, pyunw.PYUNW_GUARD_DEFAULT),
    "direct": (pyunw.PYUNW_MEMORY_DIRECT, pyunw.PYUNW_GUARD_DEFAULT),
    "trapped": (pyunw.PYUNW_MEMORY_TRAPPED, pyunw.PYUNW_GUARD_DEFAULT),
    "guarded by process_vm_readv": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_READV),
    "guarded by /proc/self/mem": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_PROC_MEM),
    "guarded by a pipe": (pyunw.PYUNW_MEMORY_GUARDED, pyunw.PYUNW_GUARD_PIPE),
}

targets = {name: pyunw.open_self(memory, guard) for name, (memory, guard) in KINDS.items()}
checked = 0


def frames_from(frame):
    frames = []
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return frames


def check(where):
    frames = (pyunw.pyunw_frame * 64)()
    status = pyunw.pyunw_status()
    capture = pyunw.lib.pyunw_capture_current
    for name, target in targets.items():
        count, expected = capture(target, frames, 64, status), frames_from(sys._getframe())
        captured = [(f.text("filename"), f.text("name"), f.position.lineno) for f in frames[:max(count, 0)]]
        assert status.end == pyunw.PYUNW_COMPLETE, "%s, %s: %d, end %d" % (where, name, count, status.end)
        assert captured == expected, "%s, %s:\n%s\nexpected\n%s" % (where, name, captured, expected)


def check_threads(where):
    """The child has one thread, and its kernel's id is not the parent's."""
    for name, target in targets.items():
        threads = pyunw.threads(target)
        assert len(threads) == 1, "%s, %s: %d threads" % (where, name, len(threads))
        assert threads[0].thread_id == threading.get_ident(), (where, name)
        assert threads[0].native_id == threading.get_native_id(), (where, name, threads[0].native_id)


def in_child(where, go, closing, generations):
    assert os.read(go, 1) == b"g"  # from now on the parent stands in in_parent()
    if closing:
        os.closerange(3, 4096)
    check(where)
    check_threads(where)
    if generations > 1:
        fork_and_check("a child of " + where, generations=generations - 1)


def in_parent(pid, go):
    os.write(go, b"g")
    _, status = os.waitpid(pid, 0)
    return status


def fork_and_check(where, closing=False, generations=1):
    global checked
    go, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            in_child(where, go, closing, generations)
        except BaseException as error:
            os.write(1, ("%s: %s: %s\n" % (where, type(error).__name__, error)).encode())
            os._exit(1)
        os._exit(0)
    status = in_parent(pid, tell)
    os.close(go)
    os.close(tell)
    assert status == 0, "%s: wait status %#x" % (where, status)
    check("the parent of " + where)
    checked += generations


def in_thread(where, errors):
    try:
        fork_and_check(where)
    except BaseException as error:
        errors.append(error)


def fork_everywhere(handlers):
    fork_and_check("a child" + handlers)
    fork_and_check("a child without descriptors" + handlers, closing=True)
    fork_and_check("a grandchild" + handlers, generations=2)
    errors = []
    thread = threading.Thread(target=in_thread, args=("a child of a thread" + handlers, errors))
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def main():
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: of fork() beside threads, which is what is tested
    check("the first process")
    fork_everywhere("")
    pyunw.check(pyunw.lib.pyunw_trap_install())
    fork_everywhere(" with the fault handler")
    pyunw.check(pyunw.lib.pyunw_trap_remove())
    print("%d children right, each with %d targets" % (checked, len(targets)))


if __name__ == "__main__":
    main()
