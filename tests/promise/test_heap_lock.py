# interpreters: each
"""
Captures with the heap lock held by the interrupted code. malloc is stopped at its brk(2), where it holds its arena's
lock, by a signal whose handler captures: the own stack, that of another thread, as text and as JSON, in every memory.
That the lock is held there is shown by a handler that calls malloc: its process hangs in that lock. Then captures by
a timer of up to 5 kHz out of a loop of malloc and free.
"""

import ctypes
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw
from compile import compile_shared
from programs import BlockedThread, descend, frames_from

HELPER = compile_shared("heap_lock", "heap_lock.c", flags=["-fno-builtin", "-lrt"], pyunwind=True)
ROOM = 96
DEPTH = 12
CAPTURES_IN_LIBC = 200
FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}[platform.machine()]  # SYS_futex


class Plan(ctypes.Structure):
    """struct plan of heap_lock.c"""

    _fields_ = [
        ("target", ctypes.c_void_p),
        ("other", pyunw.pyunw_addr),
        ("text", ctypes.c_int),
        ("json", ctypes.c_int),
        ("own_count", ctypes.c_int),
        ("other_count", ctypes.c_int),
        ("text_result", ctypes.c_int),
        ("json_result", ctypes.c_int),
        ("own_status", pyunw.pyunw_status),
        ("other_status", pyunw.pyunw_status),
        ("own_frames", pyunw.pyunw_frame * ROOM),
        ("other_frames", pyunw.pyunw_frame * ROOM),
    ]


class Tally(ctypes.Structure):
    _fields_ = [("captures", ctypes.c_long), ("in_libc", ctypes.c_long), ("wrong", ctypes.c_long)]


def targets():
    """{label: target}"""
    opened = {
        "direct": pyunw.open_self(pyunw.PYUNW_MEMORY_DIRECT),
        "trapped": pyunw.open_self(pyunw.PYUNW_MEMORY_TRAPPED),
    }
    for name in ("READV", "PROC_MEM", "PIPE"):
        guard = getattr(pyunw, "PYUNW_GUARD_" + name)
        opened["guarded " + name.lower()] = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, guard)
    return opened


def libc_mappings(pid):
    """[(begin, end, permissions)] of the C library in a process; its data that no file holds, too."""
    found, last = [], ""
    with open("/proc/%s/maps" % pid) as file:
        for line in file:
            words = line.split(None, 5)
            begin, end = (int(word, 16) for word in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else last if found and found[-1][1] == begin else ""
            if re.search(r"/libc\.so\.6$|/libc-[\d.]+\.so$", name):
                found.append((begin, end, words[1]))
            last = name
    assert found, "no C library in process %s" % pid
    return found


# ---- In a process whose brk(2) is trapped ----


def compare(label, count, status, frames, expected):
    """Captured frames against what the interpreter said."""
    assert count == len(expected), "%s: %d frames of %d" % (label, count, len(expected))
    assert status.end == pyunw.PYUNW_COMPLETE and not status.unconfirmed and not status.undescribed, (label, status.end)
    for frame, (code, _, _, name, line) in zip(frames, expected):
        assert frame.raw.code == code, label
        assert frame.position.lineno == line, (label, name, frame.position.lineno, line)
        known = name.encode("utf-8", "backslashreplace").decode()
        assert known.startswith(frame.text("name")), (label, known)


def lines_of(expected):
    return [line for _, _, _, _, line in expected]


def check_text(label, text, stacks):
    """All threads, newest first: the line numbers, in order."""
    found = [[int(line) for line in re.findall(r', line (\d+) in ', part)] for part in text.split("\n\n")]
    for expected in stacks:
        assert lines_of(expected) in found, "%s: a stack is not in the text:\n%s" % (label, text)


def check_json(label, text, stacks):
    found = [[frame["lineno"] for frame in json.loads(line)["frames"]] for line in text.splitlines()]
    for expected in stacks:
        assert lines_of(expected) in found, "%s: a stack is not in the JSON:\n%s" % (label, text)


def run_trapped(allocate):
    helper = ctypes.PyDLL(HELPER)
    helper.add_plan.restype = ctypes.POINTER(Plan)
    helper.add_plan.argtypes = [ctypes.POINTER(pyunw.pyunw_target), pyunw.pyunw_addr, ctypes.c_int, ctypes.c_int]
    pyunw.check(pyunw.lib.pyunw_trap_install())
    opened = targets()
    with BlockedThread(DEPTH) as blocked:
        other = blocked.find(pyunw.threads(opened["direct"]))
        files = {label: (tempfile.TemporaryFile(), tempfile.TemporaryFile()) for label in opened}
        plans = {
            label: helper.add_plan(target, other, *(file.fileno() for file in files[label])).contents
            for label, target in opened.items()
        }

        # On one line, so that the interpreter's answer is of the line that the capture sees.
        def capture():
            return frames_from(sys._getframe()), helper.capture_in_malloc(int(allocate))

        result = []
        descend(DEPTH, lambda: result.extend(capture()))
        expected, traps = result
        assert traps > 0, "malloc did not ask for memory"
        for label, plan in plans.items():
            compare(label + ", own thread", plan.own_count, plan.own_status, plan.own_frames, expected)
            compare(label + ", other thread", plan.other_count, plan.other_status, plan.other_frames, blocked.frames())
            assert plan.text_result == plan.json_result == 0, (label, plan.text_result, plan.json_result)
            for file, check in zip(files[label], (check_text, check_json)):
                file.seek(0)
                check(label, file.read().decode(), [expected, blocked.frames()])
    print("%d" % len(plans))
    return 0


# ---- By a timer ----


def run_timed():
    helper = ctypes.PyDLL(HELPER)
    helper.capture_by_timer.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_size_t, ctypes.c_size_t,
                                        ctypes.c_long, ctypes.POINTER(Tally)]
    pyunw.check(pyunw.lib.pyunw_trap_install())
    text = [(begin, end) for begin, end, permissions in libc_mappings("self") if "x" in permissions]
    begin, end = text[0]
    captures = in_libc = 0
    with BlockedThread(DEPTH):
        for label, target in targets().items():
            tally = Tally()

            def capture():
                return helper.capture_by_timer(target, begin, end, CAPTURES_IN_LIBC, tally)

            results = []
            descend(DEPTH, lambda: results.append(capture()))
            assert results == [0], "%s: %s" % (label, results)
            assert tally.wrong == 0, "%s: %d of %d captures wrong" % (label, tally.wrong, tally.captures)
            captures, in_libc = captures + tally.captures, in_libc + tally.in_libc
    print("%d captures by a timer, %d of them out of malloc or free" % (captures, in_libc))
    return 0


# ---- What this process does: start those, and look at the one that hangs ----


def start(mode):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), mode], stdout=subprocess.PIPE,
                            universal_newlines=True)


def run_child(mode):
    child = start(mode)
    output, _ = child.communicate()
    assert child.returncode == 0, "%s ended with %d" % (mode, child.returncode)
    return output.strip()


def waits_in_libc_lock(pid):
    """Is the process's first thread in futex(2) for a word of the C library's own data?"""
    with open("/proc/%d/task/%d/syscall" % (pid, pid)) as file:
        words = file.read().split()
    if words[:1] != [str(FUTEX_NUMBER)]:
        return False
    address = int(words[1], 16)
    return any(begin <= address < end and "w" in permissions for begin, end, permissions in libc_mappings(pid))


def check_lock_is_held():
    """A handler that calls malloc where the others capture waits for itself."""
    child = start("--allocate")
    try:
        while not waits_in_libc_lock(child.pid):
            assert child.poll() is None, "malloc in the handler returned: the lock was not held"
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


def main():
    if sys.argv[1:] in (["--capture"], ["--allocate"]):
        return run_trapped(sys.argv[1] == "--allocate")
    if sys.argv[1:] == ["--timed"]:
        return run_timed()
    check_lock_is_held()
    memories = run_child("--capture")
    timed = run_child("--timed")
    print("stacks, text and JSON right in %s memories with the heap locked by the interrupted malloc (a malloc there "
          "hangs); %s" % (memories, timed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
