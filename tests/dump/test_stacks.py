# interpreters: each
"""
`pyunwind dump --json` of a program against what that program says of itself at a known point: sys._current_frames() of
every thread, sys._getframe() in sub-interpreters, thread ids, version. Threads that wait for a lock, or two for each
other's, sleep, run without end, recurse, iterate, await, have names that are not ASCII or long; 1,000 threads; 10 GB of
mapped memory; the program as a file, by -c and by -m, zipped, and after its file was deleted.
"""

import os
import shutil
import subprocess
import sys
import zipapp

from dumping import HERE, SUBJECT, Program, Subject, check, compare_subject, dump_one, finish, run_dump
from dumping import wait_until_reading

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def has_interpreters():
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    return subprocess.run([sys.executable, "-c", "import " + module], stderr=subprocess.DEVNULL).returncode == 0


def check_holder(what, subject):
    """
    All threads but one stand still without the GIL, so that nobody else holds it; the one has it as soon as it has
    woken up from waiting for the main thread to give it back.
    """
    moving = {told["thread_id"] for told in subject.truth["threads"] if told["moves"]}
    while True:
        threads = dump_one(what, subject.pid)["threads"]
        holders = {thread["thread_id"] for thread in threads if thread["holds_gil"]}
        check(holders <= (moving if GIL else set()), what, "the GIL is held by", holders)
        if holders or not GIL:
            return


def compare_kinds():
    kinds = ["lock", "deep", "generator", "method", "names", "lock"]
    frames = 0
    with Subject(*kinds) as subject:
        frames += compare_subject("waiting", subject)
    for kinds in (["sleep"], ["deadlock"], ["coroutine"], ["mapping"]):
        with Subject(*kinds) as subject:
            frames += compare_subject(kinds[0], subject)
    with Subject(*["lock"] * 999, environment={"SUBJECT_STACK": str(1 << 18)}) as subject:
        frames += compare_subject("1,000 threads", subject)
    for kind in ("busy", "calls"):
        with Subject(kind, "lock") as subject:
            frames += compare_subject(kind, subject)
            check_holder(kind, subject)
    if has_interpreters():
        with Subject("interpreter", "interpreter", "lock") as subject:
            frames += compare_subject("sub-interpreters", subject)
    return frames


def compare_ways_to_run():
    frames = 0
    with open(SUBJECT, encoding="utf-8") as file:
        source = file.read()
    with Subject("lock", "names", command=[sys.executable, "-c", source]) as subject:
        frames += compare_subject("-c", subject)
        process = dump_one("-c", subject.pid)
        check(process["command"] == [sys.executable, "-c", source], "command line", process["command"][:2])
        check(process["executable"] == os.readlink("/proc/%d/exe" % subject.pid), process["executable"])
    with Subject("lock", command=[sys.executable, "-m", "subject"], environment={"PYTHONPATH": HERE}) as subject:
        frames += compare_subject("-m", subject)
    os.mkdir("zipped")
    shutil.copy(SUBJECT, "zipped/__main__.py")
    zipapp.create_archive("zipped", "zipped.pyz")
    with Subject("lock", command=[sys.executable, "zipped.pyz"]) as subject:
        frames += compare_subject("zipapp", subject)
    os.mkdir("größe")
    path = shutil.copy(SUBJECT, os.path.abspath("größe/программа.py"))
    with Subject("lock", command=[sys.executable, path]) as subject:
        os.unlink(path)
        frames += compare_subject("deleted program", subject)
    return frames


HOLDING = '''
import ctypes, gc, os
read = ctypes.PyDLL(None).read
room = ctypes.create_string_buffer(1)
def hold(*_):
    os.write(1, b"\\n"); read(0, room, 1)
hold()
gc.callbacks.append(hold)
gc.collect()
'''


def check_states():
    """A thread that waits with the GIL held, then inside the garbage collector, too."""
    with Program([sys.executable, "-c", HOLDING]) as program:
        for collects in (False, True):
            wait_until_reading(program.pid)
            thread = dump_one("holding", program.pid)["threads"][0]
            check(thread["frames"][0]["name"] == "hold", "holding", thread["frames"])
            check(thread["holds_gil"] is GIL, "holding, holds the GIL:", thread["holds_gil"])
            check(thread["collecting_garbage"] is (collects if GIL else None), "holding, collects:", collects,
                  thread["collecting_garbage"])
            _, text, _ = run_dump(program.pid)
            check((", holds the GIL" in text) == GIL, text)
            check((", collecting garbage" in text) == (GIL and collects), text)
            if not collects:
                program.next_line()


def main():
    frames = compare_kinds() + compare_ways_to_run()
    check_states()
    return finish("%d frames are what the program itself says%s" % (
        frames, "" if has_interpreters() else "; NO SUB-INTERPRETERS HERE"))


if __name__ == "__main__":
    sys.exit(main())
