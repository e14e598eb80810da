# interpreters: each
# weight: heavy
"""
CPython's own test_faulthandler, as the interpreter ships it, with pyunwind's functions in place of the module's own in
the test and in all processes that it starts. Every test that passes with the module's own functions has to pass.
"""

import os
import re
import subprocess
import sys
import tempfile

from package import environment, make_environment

GROUPS = 4  # at once: most of the time they wait for time to pass
REPLACED = {"PYUNWIND_REPLACE_FAULTHANDLER": "1"}
LIST = """
import unittest
from test import test_faulthandler

def tests_of(suite):
    for test in suite:
        yield from tests_of(test) if isinstance(test, unittest.TestSuite) else [test.id()]

print("\\n".join(tests_of(unittest.defaultTestLoader.loadTestsFromModule(test_faulthandler))))
"""
WHOSE = "import faulthandler, sys; print(faulthandler.enable.__module__, faulthandler.register.__module__)"


def list_tests(python):
    run = subprocess.run([python, "-c", LIST], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run.stdout.decode().split() if run.returncode == 0 else []


def start(python, tests, variables):
    return subprocess.Popen([python, "-m", "unittest", "-v"] + tests, env=environment(**variables),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def results_of(output):
    """{name: "ok", "FAIL", "ERROR" or "skipped"} as unittest prints them."""
    return dict(re.findall(r"^(test_\w+) \(.*?\)(?:\n.*?)??[ .]*\.\.\. (ok|FAIL|ERROR|skipped)", output, flags=re.M))


def check_is_replaced(python):
    """In processes as the suite starts them: without PYTHON*, with and without -X faulthandler."""
    for flags in (["-E"], ["-I"], ["-E", "-X", "faulthandler"]):
        run = subprocess.run([python, *flags, "-c", WHOSE], env=environment(**REPLACED), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        assert run.stdout.split() == [b"pyunwind.faulthandler"] * 2, "%s: not replaced: %r" % (flags, run.stdout)
    run = subprocess.run([python, "-E", "-c", WHOSE], env=environment(), stdout=subprocess.PIPE)
    assert run.stdout.split() == [b"faulthandler"] * 2, "replaced without being asked to: %r" % run.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(os.path.join(folder, "environment"))
        check_is_replaced(python)
        tests = list_tests(python)
        if not tests:
            print("this interpreter does not ship test_faulthandler")
            return 77
        running = [start(python, tests[n::GROUPS], REPLACED) for n in range(GROUPS)]
        outputs = [process.communicate()[0].decode(errors="replace") for process in running]
        results = {}
        for output in outputs:
            results.update(results_of(output))
        names = {test.rpartition(".")[2] for test in tests}
        assert set(results) == names, "no result of %s:\n%s" % (sorted(names - set(results)), "\n".join(outputs))
        bad = [test for test in tests if results[test.rpartition(".")[2]] in ("FAIL", "ERROR")]
        original = {}
        if bad:
            original = results_of(start(python, bad, {}).communicate()[0].decode(errors="replace"))
        worse = [test for test in bad if original.get(test.rpartition(".")[2]) == "ok"]
    if worse:
        print("\n".join(outputs))
        print("pass with the module's own functions only: %s" % ", ".join(worse))
        return 1
    count = sum(result == "ok" for result in results.values())
    assert count > 30, "only %d tests have passed" % count
    print("%d of CPython's own tests pass, %d are skipped, %d fail with the module's own functions, too"
          % (count, sum(result == "skipped" for result in results.values()), len(bad)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
