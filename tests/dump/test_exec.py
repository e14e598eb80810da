# interpreters: each
# weight: heavy
"""
A process that replaces its program while it is read: Python execs Python, or a shell that execs Python, over and over,
and the command looks all the time. Each program is told apart by a number, in its command line and in the names of its
functions: whatever moment is met, an answer is of one program, or says in words what the process was.
"""

import collections
import json
import os
import re
import sys

from dumping import Program, check, finish, run_dump
from test_lifetimes import MOMENTS

LIVES = 16
PROGRAM = r'''
import os, sys, threading
number = int(sys.argv[1])
scope = {"threading": threading, "execv": os.execv}
exec("""
def thread_%d(begun, end):
    begun.set(); end.acquire()
def life_%d(command):
    begun, end = threading.Event(), threading.Lock()
    end.acquire()
    threading.Thread(target=thread_%d, args=(begun, end), daemon=True).start()
    begun.wait()
    execv(command[0], command)
""" % (number, number, number), scope)
if number == 0:
    os.write(1, b"last\n")
    os.read(0, 1)
    os._exit(0)
command = [sys.executable, "-c", sys.argv[2], str(number - 1), sys.argv[2]]
if number % 2:
    command = ["/bin/sh", "-c", 'exec "$0" "$@"'] + command
if number == int(sys.argv[3] if len(sys.argv) > 3 else -1):
    os.write(1, b"first\n")
scope["life_%d" % number](command)
'''

MORE_MOMENTS = dict(MOMENTS, replaced=r"process \d+ replaced its program each time it was read: try again in a moment")


def look(pid, seen):
    status, output, errors = run_dump("--json", pid)
    document = json.loads(output)
    check(status in (0, 1), "exit status", status, errors)
    if not document["processes"]:
        found = [moment for moment, pattern in MORE_MOMENTS.items()
                 if re.match("pyunwind dump: %s\n$" % pattern, errors)]
        check(found, "said of a process that execs:", errors)
        seen[found[0] if found else "?"] += 1
        return
    process = document["processes"][0]
    check(status == 0 or "there may be more threads" in errors, status, errors)
    numbers = set()
    for thread in process["threads"]:
        check(thread["status"] in ("complete", "torn"), "a thread is", thread["status"], thread["frames"])
        for frame in thread["frames"]:
            numbers.update(re.findall(r"^(?:life|thread)_(\d+)$", frame["name"]))
    check(len(numbers) <= 1, "an answer of the programs", numbers)
    told = process["command"][3] if len(process["command"] or ()) > 3 else None
    check(not numbers or numbers == {told}, "the command line of", told, "with the stacks of", numbers)
    seen["stacks of a program" if numbers else "no stack yet"] += 1


def main():
    seen = collections.Counter()
    command = [sys.executable, "-c", PROGRAM, str(LIVES), PROGRAM, str(LIVES)]
    with Program(command) as program:
        assert program.line == b"first\n", "the program did not start"
        os.set_blocking(program.process.stdout.fileno(), False)
        while program.process.stdout.read() is None:
            look(program.pid, seen)
    return finish("%d programs in one process: %s" % (LIVES, ", ".join("%s %d" % item for item in seen.most_common())))


if __name__ == "__main__":
    sys.exit(main())
