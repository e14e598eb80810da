# interpreters: each
# weight: heavy
"""
Stacks against traceback.walk_stack() and sys._current_frames(): file, name, qualified name, line, columns, kind, code
object and instruction offset of every frame, for every construct of constructs.py, in the thread that runs it and
from another; by every memory, with and without the GIL, by capture, walk and cursor. On 3.11+ again under
-X no_debug_ranges, which leaves no columns.
"""

import os
import subprocess
import sys
import warnings

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import constructs
import pyunw
from observer import BlockedThread, Observer, open_targets, run_with_large_stack

NOT_IDENTIFIERS = {"lambda_": "<lambda>", "module": "<module>"}
COMPREHENSIONS = {name: "<%s>" % name for name in ("listcomp", "setcomp", "dictcomp", "genexpr")}
FOR_MANY_FRAMES = ("default", "direct", "trapped", "guarded, READV")
IN_CHILD = "--without-columns"


def expected_names(construct):
    for name, kind in construct.seen.items():
        if name in COMPREHENSIONS:
            if sys.version_info >= (3, 12) and name != "genexpr":
                continue
            name = COMPREHENSIONS[name]
        yield NOT_IDENTIFIERS.get(name, name), kind


def check_seen(observer, construct):
    """The construct brought onto a stack what it is there for."""
    for name, kind in expected_names(construct):
        kinds, _ = observer.seen.get(name, (set(), set()))
        if kind not in kinds:
            observer.differ(construct.__name__, "%s was not seen with kind %d: %s" % (name, kind, sorted(kinds)))
    observer.seen.clear()


def run_own(observer, construct):
    stacks = observer.stacks
    construct(observer.compare_own)
    if observer.stacks == stacks:
        observer.differ(construct.__name__, "nothing was compared")
    check_seen(observer, construct)


def run_other(observer, construct):
    stacks = observer.stacks
    for thread_id in BlockedThread(construct):
        observer.compare_other(thread_id)
    if observer.stacks == stacks:
        observer.differ(construct.__name__, "nothing was compared")
    check_seen(observer, construct)


def entered_from_c(observer):
    """PYUNW_FRAME_ENTRY: always up to 3.10; from 3.11 on where C called, and not where Python did."""

    def called_from_c(item):
        return called_from_python()

    def called_from_python():
        return observer.compare_own()

    sorted([1], key=called_from_c)
    for name, entry in (("called_from_c", 1), ("called_from_python", int(sys.version_info < (3, 11)))):
        _, flags = observer.seen[name]
        if flags != {entry * pyunw.PYUNW_FRAME_ENTRY}:
            observer.differ(name, "flags %s, expected %d" % (sorted(flags), entry))
    observer.seen.clear()


def compare_everything(targets):
    few = Observer(targets, 300)
    # A guarded read is a system call: for thousands of frames one guard is enough.
    many = Observer({label: targets[label] for label in targets if label in FOR_MANY_FRAMES}, 5100)
    for construct in constructs.CONSTRUCTS:
        run_own(few, construct)
        run_other(few, construct)
    for construct in constructs.DEEP_CONSTRUCTS:
        run_with_large_stack(lambda: run_own(many, construct))
        run_other(many, construct)
    entered_from_c(few)
    return few, many


def run_without_columns():
    command = [sys.executable, "-X", "no_debug_ranges", os.path.abspath(__file__), IN_CHILD]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print("without columns: %s" % done.stdout.decode(errors="backslashreplace").strip())
    return done.returncode


def main():
    warnings.simplefilter("ignore")
    targets = open_targets()
    if IN_CHILD in sys.argv:
        targets = {label: targets[label] for label in ("default", "direct")}
    few, many = compare_everything(targets)
    differences = few.differences + many.differences
    summary = "%d differences; %d constructs, %d stacks, %d captures and walks" % (
        differences,
        len(constructs.CONSTRUCTS) + len(constructs.DEEP_CONSTRUCTS),
        few.stacks + many.stacks,
        few.compared + many.compared,
    )
    failed = differences > 0
    if sys.version_info >= (3, 11) and IN_CHILD not in sys.argv:
        failed |= run_without_columns() != 0
    print(summary)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
