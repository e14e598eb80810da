# interpreters: each
"""examples/allocation_profiler.c puts the line that leaks first, and its bytes are right.

The oracle is the program itself, which counts what it keeps. The profiler samples; the bytes between two samples are
chosen so that its figure is more than five standard deviations away from the tolerance.
"""

import re
import sys
import sysconfig

import profiled

PROGRAM = "leaking_program.py"
TOLERANCE = 0.25


def check_profile(sizes, total, sample_bytes, **environment):
    sizes = ",".join(map(str, sizes))
    printed, report = profiled.run(
        "allocation_profiler", PROGRAM, sizes, str(total), PYUNWIND_SAMPLE_BYTES=str(sample_bytes), **environment
    )
    stacks = profiled.read_stacks(report)
    profiled.check(len(stacks) >= 2, "the report has fewer than two stacks", report)
    kept = int(printed)
    shown = [int(stack.figures.split()[0]) for stack in stacks]
    places = [frame._replace(filename=None) for frame in stacks[0].frames]
    leak = [(profiled.line_of(PROGRAM, "the leak"), "leak")]
    profiled.check([place[1:] for place in places[:1]] == leak, "the leak does not come first", report)
    profiled.check([place.function for place in places[1:]] == ["main", "<module>"], "the callers are wrong", report)
    profiled.check(stacks[0].frames[0].filename.endswith(PROGRAM), "the file is wrong", report)
    profiled.check(
        abs(shown[0] - kept) <= TOLERANCE * kept, "%d bytes shown, %d were kept" % (shown[0], kept), report
    )
    cache = profiled.line_of(PROGRAM, "the cache")
    profiled.check(stacks[1].frames and stacks[1].frames[0].lineno == cache, "the cache is not second", report)
    profiled.check(shown == sorted(shown, reverse=True), "the stacks are not in order", report)
    churned = sum(
        count for count, stack in zip(shown, stacks) if any(frame.function == "churn" for frame in stack.frames)
    )
    profiled.check(churned <= kept / 50, "%d bytes shown that were given back" % churned, report)
    taken, lost = map(int, re.search(r"(\d+) taken, (\d+) lost", report).groups())
    profiled.check(lost <= taken / 100, "%d of %d samples lost" % (lost, taken), report)
    return "%+.1f %% of %.0f MB in %d samples" % (100.0 * (shown[0] - kept) / kept, kept / 1e6, taken)


def main():
    figures = [check_profile([700, 9000, 60000, 300000], 120000000, 64 * 1024)]
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        # Small objects too, where every one comes from malloc().
        figures.append(check_profile([40, 100, 350], 24000000, 16 * 1024, PYTHONMALLOC="malloc"))
    print("the leak comes first, its bytes are off by " + ", ".join(figures))


sys.exit(main())
