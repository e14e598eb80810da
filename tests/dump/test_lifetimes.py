# interpreters: each
# weight: heavy
"""
A process from its first moment to its last: the command is run again and again on programs that start, import, make a
thread and end. Whatever moment it meets, it gives valid JSON whose stacks are not corrupt, or says in words what the
process was at that moment.
"""

import collections
import json
import re
import subprocess
import sys

from dumping import allow_reading, check, finish, run_dump

LIVES = 10
PROGRAM = "import json, threading; thread = threading.Thread(target=print); thread.start(); thread.join()"

MOMENTS = {  # what may be said of a process that starts or ends
    "not yet Python": r"process \d+ is not Python: .* and the \d+ libraries and files in it hold no CPython",
    "not yet initialized": r"the interpreter in process \d+ is not initialized yet: try again in a moment",
    "finalized": r"the interpreter in process \d+ is finalized: no Python runs there any more",
    "finalized meanwhile": r"the threads of process \d+ could not be read: the interpreter is finalized",
    "ending": r"process \d+ \(.*\) has no memory any more: it is ending, or a thread of the kernel",
    "ended meanwhile": r"process \d+ ended while it was read",
    "a zombie": r"process \d+ \(.*\) has ended: a zombie that its parent has not collected yet",
}


def moment_of(errors):
    for moment, pattern in MOMENTS.items():
        if re.match("pyunwind dump: %s\n$" % pattern, errors):
            return moment
    return None


def look(pid, seen):
    """Once; whether the process may be there still."""
    status, output, errors = run_dump("--json", pid)
    document = json.loads(output)
    check(status in (0, 1), "exit status", status, errors)
    if document["processes"]:
        for thread in document["processes"][0]["threads"]:
            check(thread["status"] in ("complete", "torn"), "a thread is", thread["status"], thread["frames"])
        # That the end of its list of threads could not be read is said only of one that ends.
        check(status == 0 or "there may be more threads" in errors, status, errors)
        seen["stacks"] += 1
        return True
    moment = moment_of(errors)
    check(status == 1 and moment, "exit status", status, errors)
    seen[moment] += 1
    return moment != "a zombie"


def main():
    seen = collections.Counter()
    for _ in range(LIVES):
        with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, preexec_fn=allow_reading) as process:
            while look(process.pid, seen):
                pass
            check(process.wait() == 0, "the program failed")
    return finish("%d lives: %s" % (LIVES, ", ".join("%s %d" % item for item in seen.most_common())))


if __name__ == "__main__":
    sys.exit(main())
