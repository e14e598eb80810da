# interpreters: each
"""
The exceptions of another process's threads against what its own sys.exc_info() said: as it runs and as it is stopped.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "dump"))

import ctypes

import exceptions
import pyunw
from dumping import Program, check, finish, wait_until_reading
from pausing import OPTIONS, REMOTE, open_paused, pause, resume

REMOTE.pyunw_open_pid.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_int, OPTIONS]
SUBJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "subject.py")


def read(target):
    """{thread: (type, message) or None}"""
    found, exception = {}, pyunw.pyunw_exception()
    for thread in pyunw.threads(target):
        result = pyunw.check(pyunw.lib.pyunw_exception_find(target, thread.tstate, exception))
        found[thread.thread_id] = None
        if result == 1:
            kind, message, flags = exceptions.describe(target, exception)
            check(flags == 0 and exception.flags == pyunw.PYUNW_EXCEPTION_HANDLED, kind, "is marked", flags)
            found[thread.thread_id] = (kind, message)
    return found


def compare(what, target, told):
    found = read(target)
    main = set(found) - {thread for thread, _, _, _ in told}
    check(len(main) == 1 and found[main.pop()] == ("Failure", "of the main thread"), what, "main thread", found)
    for thread, module, name, message in told:
        wanted = name if module in ("builtins", "__main__") else "%s.%s" % (module, name)
        wanted = (wanted, message) if name else None
        check(found[thread] == wanted, what, found[thread], "is not", wanted)
    return len(found)


def main():
    with Program([sys.executable, SUBJECT]) as program:
        told = json.loads(program.line.decode())
        wait_until_reading(program.pid)
        check(sum(message is not None for _, _, _, message in told) == 4, "the subject tells", told)
        target = pyunw.pyunw_target()
        pyunw.check(REMOTE.pyunw_open_pid(target, program.pid, None))
        count = compare("running,", target, told)
        pyunw.lib.pyunw_close(target)
        handle = pause(program.pid)
        code, target, message = open_paused(handle)
        check(code == 0, message)
        count += compare("paused,", target, told)
        pyunw.lib.pyunw_close(target)
        resume(handle)
    return finish("%d threads have the exceptions that they tell" % count)


if __name__ == "__main__":
    sys.exit(main())
