# interpreters: each
# weight: heavy
"""
The truth of stacks that are read while their program runs, without stopping it: a program whose source says who may
call whom from which line (tests/storms), in one thread and in four with threads that come and go, read by
pyunw_open_pid() and pyunw_capture(); every stack that is not marked is judged. Most are read with room for pages, as the
command does, some without.

A moment of a thread is judged once: none of one that stands where its stack cannot be read (3.11 and 3.12, at the entry
of the evaluation loop) is told again and again while the machine is busy with others. That a standing thread is known
as such, and gives the same answer whenever it is asked, is tested by stopping the program at whatever moment it is.

The limits are shares of all captures. A few thousand say little of a share of 0.01 %, so a count fails only where a true
share at the limit would exceed it less than once in ten million runs. --captures 200000 tells more.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program
from dumping import HERE, Program, check, finish

CAPTURES = 2000  # of each variant
VARIANTS = ("one", "four")
STOPS = 100  # of each variant
LIMITS = {"wrong": 0.0001, "stale": 0.001, "undecided": 0.02}
CHANCE = 1e-7


def most_by_chance(captures, share):
    """The least count that a Poisson variable of this mean exceeds with a probability of less than CHANCE."""
    mean = captures * share
    count, below = 0, math.exp(-mean)
    while 1 - below > CHANCE:
        count += 1
        below += math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))  # exp(-mean) alone may be 0
    return count


def compile_judge():
    storms = os.path.join(os.path.dirname(HERE), "storms")
    return compile_program("judge", os.path.join(HERE, "judge.c"), os.path.join(HERE, "moments.c"), os.path.join(storms, "checker.c"),
                           flags=["-I" + storms, "-lpyunwind-remote"], pyunwind=True)


def judge(variant, captures, *more):
    """(the counters, the first wrong stacks in words)"""
    with tempfile.TemporaryDirectory() as folder:
        table = os.path.join(folder, "table")
        with Program([sys.executable, os.path.join(HERE, "judged.py"), variant, table]) as program:
            assert program.line == b"running\n", "the program did not start"
            done = subprocess.run([compile_judge(), str(program.pid), table, str(captures)] + list(more),
                                  stdout=subprocess.PIPE)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    assert done.returncode == 0, lines
    counters = {name: int(number) for name, number in (line.split() for line in lines if not line.startswith("|"))}
    counters["undecided"] = counters["torn"] + counters["corrupt"]
    return counters, [line for line in lines if line.startswith("|")]


def add(total, counters):
    for name, number in counters.items():
        total[name] = total.get(name, 0) + number


def percent(part, whole):
    return "%.3f %%" % (100 * part / whole)


def words(counters):
    captures = counters["captures"]
    parts = ["%s %s" % (name, percent(counters[name], captures)) for name in LIMITS]
    unmarked = captures - counters["undecided"]
    return "%d captures: %s; %s lost unconfirmed innermost frames" % (
        captures, ", ".join(parts), percent(counters["unconfirmed"], max(unmarked, 1)))


def check_limits(variant, counters, evidence):
    over = [name for name, share in LIMITS.items()
            if counters[name] > most_by_chance(counters["captures"], share)]
    for name in over:
        check(False, variant, "thread(s):", counters[name], "of", counters["captures"], "captures are", name)
    if over or counters["wrong"] or counters["stale"]:
        print("\n".join(evidence))


def check_the_judge():
    """Stacks that are damaged on purpose are found out."""
    counters, _ = judge("one", 200, "capture", "4")
    check(counters["wrong"] >= 15, "of 50 damaged stacks were found out:", counters["wrong"])


def check_stops(variant, stops):
    """A thread that stands is known to, whatever its stack is told to be."""
    counters, evidence = judge(variant, stops, "stop")
    check(counters["wrong"] == 0 and counters["captures"] >= stops, variant, "thread(s), stopped:", counters["wrong"],
          "answers differ", counters)
    print("%s, stopped: %d captures, %d undecided" % (variant, counters["captures"], counters["undecided"]))
    print("".join(line + "\n" for line in evidence), end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--captures", type=int, default=CAPTURES, help="of each variant")
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    parser.add_argument("--stops", type=int, default=STOPS, help="of each variant")
    parser.add_argument("--bare", action="store_true", help="only without room for pages, to compare")
    parser.add_argument("--once", action="store_true", help="without the second read, to compare")
    arguments = parser.parse_args()
    total = {}
    if not arguments.once:
        check_the_judge()
        for variant in VARIANTS:
            check_stops(variant, arguments.stops)
    ways = [("once" if arguments.once else "bare", 1)]
    if not arguments.bare and not arguments.once:
        ways = [("capture", 0.8), ("bare", 0.2)]
    for variant in arguments.variant or VARIANTS:
        for way, share in ways:
            counters, evidence = judge(variant, math.ceil(share * arguments.captures), way)
            print("%s, %s: %s" % (variant, way, words(counters)))
            if not arguments.once:
                check_limits(variant, counters, evidence)
            add(total, counters)
    return finish(words(total))


if __name__ == "__main__":
    sys.exit(main())
