"""Run a program of this folder with a profiler of examples/ preloaded, and read the profiler's report."""

import collections
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import preloading  # noqa: E402

FOLDER = os.path.dirname(os.path.abspath(__file__))

# One stack of a report: what stands behind "#1: ", and the frames, innermost first.
Stack = collections.namedtuple("Stack", "figures frames")
Frame = collections.namedtuple("Frame", "filename lineno function")


def run(profiler, program, *arguments, **environment):
    """Return what the program printed and the profiler's report, as text."""
    library = os.path.join(os.environ["PYUNWIND_BUILD"], "examples", "lib%s.so" % profiler)
    if not os.path.exists(library):
        sys.exit("%s was not built" % library)
    report = os.path.abspath("%s-report-%s" % (program, "-".join(arguments)))
    if os.path.exists(report):
        os.remove(report)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-s", path_of(program), *arguments],
        env=dict(inherited, LD_PRELOAD=preloading(library), PYUNWIND_OUTPUT=report, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    if done.returncode != 0:
        sys.exit("%s under the %s ended with status %d" % (program, profiler, done.returncode))
    with open(report, encoding="utf-8") as file:
        return done.stdout.decode(), file.read()


def path_of(program):
    return os.path.join(FOLDER, program)


def line_of(program, comment):
    """The number of the one line that ends with this comment."""
    with open(path_of(program), encoding="utf-8") as file:
        (number,) = [number for number, line in enumerate(file, 1) if line.rstrip().endswith("# " + comment)]
    return number


def read_stacks(text):
    """The stacks of a report, or of a part of one, in its order."""
    stacks = []
    for line in text.splitlines():
        head = re.match(r"#\d+: (.*)$", line)
        frame = re.match(r"    (.*):(-?\d+) (.*)$", line)
        if head:
            stacks.append(Stack(head.group(1), []))
        elif frame:
            stacks[-1].frames.append(Frame(frame.group(1), int(frame.group(2)), frame.group(3)))
    return stacks


def check(condition, message, text):
    if not condition:
        print("\n".join(text.splitlines()[:100]))
        sys.exit(message)
