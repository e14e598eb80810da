# interpreters: each
"""
A program under `pyunwind run` that installs the crash tracker itself: one report of its death, in the folder of the
monitor, by the options of the program; after it has removed the tracker, by those of the command line again.
"""

import os
import shutil
import signal
import sys
import tempfile

from running import check, environment, finish, python, reports, run, under

SUPPORT = os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support")

PROGRAM = """
import ctypes, sys
sys.path.insert(0, %r)
import crash
library = crash.install(report_dir=sys.argv[1], flags=crash.PYUNW_CRASH_NO_COMMAND)
if "report" in sys.argv:
    assert library.pyunw_crash_report_now() == 0
if "remove" in sys.argv:
    assert library.pyunw_crash_remove() == 0
ctypes.string_at(0)
""" % SUPPORT


def crash(*words):
    """The reports of a program that is told these words."""
    elsewhere = tempfile.mkdtemp(prefix="elsewhere-")
    try:
        command = python(PROGRAM) + [elsewhere] + list(words)
        variables = {name: os.environ[name] for name in ("PYUNWIND_BUILD", "PYUNWIND_SOURCE")}
        outcome = run(under(command), env=environment(**variables))
        check(outcome.status == -signal.SIGSEGV, words, "ended with", outcome.status, outcome.errors)
        check(os.listdir(elsewhere) == [], words, "left elsewhere:", os.listdir(elsewhere))
        return reports()
    finally:
        shutil.rmtree(elsewhere)


def main():
    for words, causes in (((), ["null_read"]), (("remove",), ["null_read"]), (("report",), ["null_read", "on_demand"])):
        found = crash(*words)
        check(sorted(report["diagnosis"]["cause"] for report in found) == causes, words, "left",
              [report["diagnosis"] for report in found])
        for report in found:
            check((report["command"] is None) == ("remove" not in words), words, "tells the command:", report["command"])
            check(report["status"] == "complete", words, report["notes"])
    return finish("one report a death, by whom the tracker is installed the last")


if __name__ == "__main__":
    sys.exit(main())
