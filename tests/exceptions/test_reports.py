# interpreters: each
"""
The exception that a crash report tells, against the sys.exc_info() of the thread that crashed: handled, raised by C
code, in another thread, none.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_shared

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crashing.py")
PLACES = {"nowhere": False, "handled": True, "elsewhere": False, "in_thread": True, "raised": True}


def crash(place, helper):
    """(what the program said, its report)"""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, PYUNWIND_REPORT_DIR=folder,
                           PYUNWIND_HELPER=os.path.join(os.environ["PYUNWIND_BUILD"], "pyunwind"))
        done = subprocess.run([sys.executable, PROGRAM, place, helper], env=environment, stdout=subprocess.PIPE)
        assert done.returncode == -signal.SIGSEGV, (place, done.returncode)
        reports = os.listdir(folder)
        assert len(reports) == 1 and reports[0].endswith(".json"), (place, reports)
        with open(os.path.join(folder, reports[0]), encoding="utf-8") as file:
            return json.loads(done.stdout.decode()), json.load(file)


def main():
    helper = compile_shared("raised", "raised.c", pyunwind=True)
    for place, has_one in PLACES.items():
        said, report = crash(place, helper)
        assert (said is not None) == has_one, (place, said)
        assert report["exception"] == said, (place, report["exception"], said)
        assert not [note for note in report["notes"] if "exception" in note], (place, report["notes"])
    print("%d crashes with the exception that was in flight, or none" % len(PLACES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
