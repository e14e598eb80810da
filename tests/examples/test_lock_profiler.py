# interpreters: each
"""examples/lock_profiler.c puts the line where threads wait longest for a lock first, and tells the GIL apart.

The oracle is the program: while four threads wait for one lock, it does all that it does. So their waits together are
longer than any other's, on however slow a machine.
"""

import re
import sys
import sysconfig
import time

import profiled

PROGRAM = "contended_program.py"
WAITERS = 4


def read_section(report, what):
    """The seconds and waits of a section of the report, and its stacks."""
    head = r"^Waiting for %s: ([\d.]+) s in (\d+) waits\n" % what
    section = re.search(head + r"(.*?)(?=^Waiting for|\Z)", report, re.M | re.S)
    profiled.check(section, "the report has no section on %s" % what, report)
    return float(section.group(1)), int(section.group(2)), profiled.read_stacks(section.group(3))


def places(stack):
    return [(frame.lineno, frame.function) for frame in stack.frames if frame.filename.endswith(PROGRAM)]


def seconds_of(stack):
    seconds, waits = re.match(r"([\d.]+) s in (\d+) waits$", stack.figures).groups()
    return float(seconds), int(waits)


def is_computing(stack):
    return bool(stack.frames) and stack.frames[0].function == "spin"


def main():
    began = time.monotonic()
    printed, report = profiled.run("lock_profiler", PROGRAM)
    elapsed = time.monotonic() - began
    held = float(printed)
    total, _, locks = read_section(report, "locks")
    gil_total, gil_waits, gil = read_section(report, "the GIL")
    first = [(profiled.line_of(PROGRAM, "contended"), "wait_for_contended")]
    profiled.check(locks and places(locks[0]) == first, "the contended lock does not come first", report)
    profiled.check(places(locks[0])[0][0] == locks[0].frames[0].lineno, "its line is not the innermost", report)
    seconds, waits = seconds_of(locks[0])
    # A thread may come from its line into the wait a little late: half of the time must be there, and never more than
    # all of it.
    least, most = WAITERS * held / 2, WAITERS * elapsed
    profiled.check(
        waits >= WAITERS and least <= seconds <= most,
        "%.3f s in %d waits are not between %.3f and %.3f s in %d" % (seconds, waits, least, most, WAITERS),
        report,
    )
    for name in ("other", "event"):
        line = profiled.line_of(PROGRAM, name)
        profiled.check(
            any((line, "wait_for_" + name) in places(stack) for stack in locks), "no wait for %s" % name, report
        )
    computing = [name for name, stacks in (("locks", locks), ("GIL", gil)) if any(map(is_computing, stacks))]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # No assertion on locks: there, threads that compute wait in a semaphore while sys._current_frames() stops all.
        profiled.check(gil_waits == 0, "waits for a GIL that there is not", report)
    else:
        profiled.check(computing == ["GIL"], "computing threads are shown to wait for %s" % computing, report)
    print(
        "the contended line comes first: %.3f s in %d waits for a lock held %.3f s; all locks %.3f s, the GIL %.3f s"
        % (seconds, waits, held, total, gil_total)
    )


sys.exit(main())
