# interpreters: each
# weight: heavy
"""
Bits and fields of a living interpreter's structures are damaged, one after the other, and it is captured meanwhile:
no fault, a bounded number of reads, nothing written beyond the caller's array, valid texts only; and afterwards all is
as before. tests/flips/run does so a million times.
"""

import sys

from flips import broken_promises, damage_this_process

DAMAGES = 30000


def main():
    words, figures = damage_this_process(DAMAGES)
    for why in broken_promises(figures):
        sys.exit(why)
    print("%d words, %d damages, %d captures and %d other questions; at most %d reads; %s" % (
        words, figures["damages"], sum(figures["captures"].values()), figures["asks"],
        max(figures["most_reads"].values()),
        ", ".join("%s %d" % item for item in figures["outcomes"].items())))


if __name__ == "__main__":
    main()
