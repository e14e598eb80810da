# interpreters: each
"""
pyunw_options.room: whatever room is given to read another process with, however little or oddly placed, its threads and
stacks are those that are read without: of a program that stands, of a paused one, and in a small room that holds a part
of what is needed only. Of a program that was paused, no page that came in later is told as one of the pause.
"""

import ctypes
import os
import sys

from dumping import Program, check, finish
from pausing import OPTIONS, REMOTE, pause, pyunw, resume, states, try_pause, wait_for

REMOTE.pyunw_open_pid.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_int, OPTIONS]

THREADS, DEPTH, ROOM = 12, 40, 1 << 21
SIZES = (0, 1, 4096, (1 << 16) - 1, 1 << 16, (1 << 16) + 5000, 1 << 17, 1 << 20, ROOM)
SHIFTS = (0, 1, 4095)  # bytes from a page's beginning

PROGRAM = """
import threading
scope = {}
for n in range(%d):
    exec(compile("def level_%%d(stand):\\n    level_%%d(stand) if %%d else stand()\\n" %% (n, n + 1, n + 1 < %d),
                 "file_%%d.py" %% n, "exec"), scope)
stands, forever = threading.Semaphore(0), threading.Lock()
forever.acquire()
def stand():
    stands.release()
    forever.acquire()
for n in range(%d):
    threading.Thread(target=scope["level_0"], args=(stand,), daemon=True).start()
for n in range(%d):
    stands.acquire()
print("ready", flush=True)
forever.acquire()
""" % (DEPTH, DEPTH, THREADS, THREADS)


# A float at the beginning of each of many pages, which are not used before they are looked at.
FLOATS = """
import ctypes, mmap
value = 1234.5
pages = mmap.mmap(-1, 64 * 4096)
for n in range(64):
    pages[n * 4096:n * 4096 + value.__sizeof__()] = ctypes.string_at(id(value), value.__sizeof__())
print(ctypes.addressof(ctypes.c_char.from_buffer(pages)), flush=True)
input()
"""


def read_all(open_target, room, size):
    """[(thread, its frames)] of a target that is opened with this room."""
    target = pyunw.pyunw_target()
    options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), room=room, room_size=size)
    code = open_target(target, options)
    assert code == 0, pyunw.lib.pyunw_strerror(code)
    cursor, thread, status = pyunw.pyunw_thread_cursor(), pyunw.pyunw_thread(), pyunw.pyunw_status()
    frames = (pyunw.pyunw_frame * 100)()
    threads = []
    pyunw.check(pyunw.lib.pyunw_threads_begin(target, cursor))
    while pyunw.check(pyunw.lib.pyunw_threads_next(cursor, thread)) == 1:
        count = pyunw.check(pyunw.lib.pyunw_capture(target, thread.tstate, frames, 100, status))
        threads.append((thread.tstate, thread.id, thread.thread_id, status.end, status.unconfirmed,
                        [(frame.raw.frame, frame.raw.offset, frame.text("filename"), frame.text("name"),
                          frame.text("qualname"), frame.position.lineno) for frame in frames[:count]]))
    pyunw.lib.pyunw_close(target)
    return threads


def compare(what, open_target, memory):
    expected = read_all(open_target, None, 0)
    check(len(expected) == THREADS + 1 and all(thread[3] == pyunw.PYUNW_COMPLETE for thread in expected), what, expected)
    check(all(len(thread[5]) >= DEPTH for thread in expected[:-1]), what, "stacks of fewer frames")
    for size in SIZES:
        for shift in SHIFTS:
            ctypes.memset(memory, 0xEE, ROOM + 3 * 4096)
            begin = (ctypes.addressof(memory) + 4095) // 4096 * 4096 + shift
            found = read_all(open_target, begin, size)
            check(found == expected, what, "room of", size, "shifted by", shift, "says otherwise")
            behind = ctypes.string_at(begin + size, 4096)
            check(behind == b"\xee" * 4096, what, "room of", size, "was written beyond")


def all_stand(pid, open_target):
    """All wait in the function whose name is stand, and not in what that calls before."""
    def stand():
        if states(pid) != {"S"}:
            return False
        threads = read_all(open_target, None, 0)
        innermost = [thread[5][0][3] for thread in threads if thread[5]]
        return innermost == ["stand"] * THREADS + ["<module>"] and states(pid) == {"S"}
    wait_for(stand)


def check_first_page(memory):
    """A type whose name is at address 0, which no process has: it is told, and the pages that are kept stay in order."""
    fake_type, fake = (ctypes.c_uint64 * 128)(), (ctypes.c_uint64 * 16)()
    fake[:] = [ctypes.addressof(fake_type)] * 16
    options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), room=ctypes.addressof(memory),
                                  room_size=1 << 16)
    target, text = pyunw.pyunw_target(), ctypes.create_string_buffer(256)
    check(REMOTE.pyunw_open_pid(target, os.getpid(), options) == 0, "the own process cannot be opened")
    pages = ctypes.create_string_buffer(64 * 4096)
    for n in range(400):
        for address in (ctypes.addressof(fake), 8, 4096, 4104, ctypes.addressof(pages) // 8 * 8 + n % 64 * 4096):
            length = pyunw.lib.pyunw_describe_value(target, address, None, text, 256, None)
            check(length > 0, "an object at", hex(address), length)


def open_for_long_enough(pid, address, memory):
    """(handle of a pause, target) once the value at this address was read within the limit."""
    limit = 50
    while True:
        limit *= 2
        code, handle, message = try_pause(pid, limit)
        check(code in (0, pyunw.PYUNW_ERR_TORN), "pause", code, message)
        options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), room=ctypes.addressof(memory),
                                      room_size=ROOM)
        target = pyunw.pyunw_target()
        if code == 0 and REMOTE.pyunw_open_paused(target, handle, options) == 0 and \
                pyunw.describe_value(target, address) == ("1234.5", 0):
            return handle, target
        resume(handle)


def check_behind_limit(memory):
    """What was read during the pause is told; of what comes in behind its limit nothing is, however it came in."""
    with Program([sys.executable, "-c", FLOATS]) as program:
        address = int(program.line)
        handle, target = open_for_long_enough(program.pid, address, memory)
        try:
            wait_for(lambda: "t" not in states(program.pid))
            check(pyunw.describe_value(target, address) == ("1234.5", 0), "what was read in time is not told")
            for page in (40, 39, 41, 38, 37):  # those beside the first come in with it
                told = pyunw.describe_value(target, address + page * 4096)
                check(told == ("<unreadable>", pyunw.PYUNW_VALUE_UNREADABLE), "page", page, "behind the limit:", told)
        finally:
            check(resume(handle) == pyunw.PYUNW_ERR_TORN, "the limit has not passed")


def main():
    memory = ctypes.create_string_buffer(ROOM + 3 * 4096)
    check_first_page(memory)
    check_behind_limit(memory)
    with Program([sys.executable, "-c", PROGRAM]) as program:
        def open_running(target, options):
            return REMOTE.pyunw_open_pid(target, program.pid, options)
        all_stand(program.pid, open_running)
        compare("running", open_running, memory)
        handle = pause(program.pid)
        try:
            compare("paused", lambda target, options: REMOTE.pyunw_open_paused(target, handle, options), memory)
        finally:
            check(resume(handle) == 0, "the limit has passed")
    return finish("%d rooms, of a running and a paused program: the same %d stacks"
                  % (len(SIZES) * len(SHIFTS), THREADS + 1))


if __name__ == "__main__":
    sys.exit(main())
