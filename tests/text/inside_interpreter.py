"""What test_text.py runs in a sub-interpreter: its threads are those of this interpreter alone."""

import dumps
import standing_threads


def main(path):
    comparison = dumps.Comparison()
    comparison.both("in a sub-interpreter")
    sorted([1], key=lambda item: comparison.both("in a callback in a sub-interpreter"))
    with standing_threads.StandingThreads(3):
        comparison.both("in a sub-interpreter with threads")
    with open(path, "w") as file:
        file.write("%d\n%s" % (comparison.count, "\n".join(comparison.wrong)))
