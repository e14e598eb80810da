# interpreters: each
"""
`pyunwind core --locals`: the arguments and locals of each frame in a core file are what `pyunwind dump --pause
--locals` told of the same program, which stood, just before. What that tells is compared with the interpreter's own
answer in tests/locals.
"""

import json
import os
import sys

from cores import HAS_KERNEL_CORES, SMALL, allow_cores, check, core_one, gdb_core, kernel_core, kernel_cores_note, run_core
from dumping import Program, dump_one, finish, run_dump, wait_until_reading

SUBJECT = os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "locals", "subject.py")


def frames_of(process):
    return [frame for thread in process["threads"] for frame in thread["frames"]]


def compare(what, process, before):
    """How many variables were compared."""
    got, wanted = frames_of(process), frames_of(before)
    check(len(got) == len(wanted), what, len(got), "frames, expected", len(wanted))
    variables = 0
    for left, right in zip(got, wanted):
        check(left == right, what, "a frame is", json.dumps(left)[:400], "and was", json.dumps(right)[:400])
        check(left["locals_status"] == "complete", what, left["name"], "is", left["locals_status"])
        variables += len(left["locals"])
    return variables


def with_locals(text):
    return [line for line in text.splitlines() if line.startswith("    ")]


def compare_text(core, before, status):
    got, output, errors = run_core("--locals", core)
    check(got == status, "text", got, errors)
    check(with_locals(output) == with_locals(before), "text: the frames and variables are others")
    without = run_core("--json", core)[1]
    check('"locals' not in without, "without --locals they are told all the same")


def main():
    allow_cores()
    variables = 0
    with Program([sys.executable, SUBJECT], environment=SMALL) as program:
        wait_until_reading(program.pid)
        before = dump_one("before", program.pid, "--pause", "--locals")
        text = run_dump("--pause", "--locals", program.pid)[1]
        core, whole = gdb_core(program.pid, "gdb.core")
        status = 0 if whole else 1
        variables += compare("gcore", core_one("gcore", "--locals", core, status=status), before)
        compare_text(core, text, status)
        if HAS_KERNEL_CORES:
            core = kernel_core(program, "kernel.core", 6)
            variables += compare("kernel", core_one("kernel", "--locals", core), before)
    check(variables > 100, "only", variables, "variables")
    return finish("%d variables are what they were%s" % (variables, kernel_cores_note()))


sys.exit(main())
