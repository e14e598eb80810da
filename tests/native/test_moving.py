# interpreters: each
"""
A program that is stopped by --native at moments of no one's choosing, while Python and C call each other without pause.
The oracle is its source: who calls whom, and through which function of C; that function lies between the two.
"""

import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "dump"))

from dumping import Program, check, dump_one, finish
from pausing import states

STOPS = 20

PROGRAM = """
import functools, os
def leaf(value): return value
class Compared:
    def __init__(self, value): self.value = leaf(value)
    def __lt__(self, other): return leaf(self.value) < leaf(other.value)
def items():
    for value in (1, 2, 3): yield leaf(value)
def keyed(value): return leaf(value) + sum(items())
def reduced(left, right): return keyed(left) + right
def loop():
    while True:
        sorted([3, 1, 2], key=keyed); functools.reduce(reduced, [1, 2, 3]); min([Compared(1), Compared(2)])
os.write(1, b"\\n"); loop()
"""

ANY = ()  # with or without native frames between
CALLS = {  # (callee, caller): the functions of C of which one lies between, in whatever pieces a compiler made it
    ("leaf", "__init__"): ANY, ("leaf", "__lt__"): ANY, ("leaf", "items"): ANY, ("leaf", "keyed"): ANY,
    ("__init__", "loop"): ANY, ("keyed", "reduced"): ANY, ("loop", "<module>"): ANY,
    ("__lt__", "loop"): ("min_max", "builtin_min"),
    ("items", "keyed"): ("builtin_sum", "builtin_sum_impl"),
    ("keyed", "loop"): ("builtin_sorted", "list_sort", "list_sort_impl"),
    ("reduced", "loop"): ("functools_reduce", "_functools_reduce", "_functools_reduce_impl"),
}


def is_native(frame):
    return frame["kind"] == "native"


def judge(frames):
    """Each pair of Python frames, and what lies between. How many pairs."""
    places = [number for number, frame in enumerate(frames) if not is_native(frame)]
    for inner, outer in zip(places, places[1:]):
        pair = (frames[inner]["name"], frames[outer]["name"])
        between = [frame["function"] for frame in frames[inner + 1:outer]]
        check(pair in CALLS, "nobody lets", pair[1], "call", pair[0])
        wanted = CALLS.get(pair, ANY)
        named = [name.split(".")[0] for name in between if name is not None]
        # Static functions of a stripped interpreter have no name.
        check(wanted == ANY or any(name in wanted for name in named) or None in between, pair, "through", between)
    check(frames[places[-1]]["name"] == "<module>", "the outermost Python frame is", frames[places[-1]])
    check(len(places) - 1 < len(frames) - 1 and is_native(frames[-1]), "the outermost frame is", frames[-1])
    return len(places) - 1


def main():
    pairs = apart = empty = 0
    with Program([sys.executable, "-c", PROGRAM]) as program:
        for _ in range(STOPS):
            thread, = dump_one("moving", program.pid, "--native")["threads"]
            check(thread["native_status"] == "complete", "the native stack is", thread["native_status"])
            if thread["native_frames"] is not None:
                apart += 1  # 3.11, 3.12: stopped where a function is entered, and marked
                unnamed = any(frame["function"] is None for frame in thread["native_frames"])
                check(thread["status"] == "torn" or (unnamed and sys.version_info < (3, 12)), "not merged:", thread)
                continue
            pairs += judge(thread["frames"])
            empty += any(is_native(frame) and (frame["function"] or "").startswith("_PyEval_EvalFrameDefault")
                         for frame in thread["frames"])
        check("t" not in states(program.pid), "it was left standing")
    check(apart < STOPS / 2, apart, "of", STOPS, "were not merged")
    return finish("%d stops, %d calls as in the source; %d times a loop without a frame, %d not merged and marked" % (
        STOPS, pairs, empty, apart))


if __name__ == "__main__":
    sys.exit(main())
