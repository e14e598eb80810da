"""
A process whose own structures are damaged under captures (flips.c): damage_this_process(COUNT) returns the figures.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
for folder in ("support", "promise"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

import pyunw
from compile import compile_shared
from programs import BlockedThread, descend

DEPTH = 7  # frames of every kind
MEMORIES = ("trapped", "guarded", "direct", "image")
OUTCOMES = ("same", "marked", "error", "other text", "other frames")
DEAR_EACH = 4
BATCH = 20000
# Of a capture of some 20 frames, and of a list of two threads; without damage some 280 and 40.
MOST_READS, MOST_LIST_READS = 1000, 200


class Result(ctypes.Structure):
    _fields_ = [
        ("damages", ctypes.c_uint64),
        ("captures", ctypes.c_uint64 * len(MEMORIES)),
        ("lists", ctypes.c_uint64),
        ("outcomes", ctypes.c_uint64 * len(OUTCOMES)),
        ("most_reads", ctypes.c_uint64),
        ("most_list_reads", ctypes.c_uint64),
        ("broken", ctypes.c_uint64),
        ("first_broken", ctypes.c_char * 256),
    ]

    def as_words(self):
        return {
            "damages": self.damages,
            "captures": dict(zip(MEMORIES, self.captures)),
            "lists": self.lists,
            "outcomes": dict(zip(OUTCOMES, self.outcomes)),
            "most_reads": self.most_reads,
            "most_list_reads": self.most_list_reads,
            "broken": self.broken,
            "first_broken": self.first_broken.decode(errors="replace"),
        }


def load_library():
    # With the GIL held throughout: nobody but the walker meets what is damaged.
    library = ctypes.PyDLL(compile_shared("flips", os.path.join(SOURCE, "tests", "flips", "flips.c"), pyunwind=True))
    library.flips_open.argtypes = [pyunw.pyunw_addr, pyunw.pyunw_addr]
    library.flips_run.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint, ctypes.POINTER(Result)]
    return library


def damage_this_process(count):
    """(words that were damaged, figures)"""
    library, result, words = load_library(), Result(), []

    def run():
        words.append(library.flips_open(pyunw.current_thread(opened), blocked.tstate))
        pyunw.check(words[0])
        for begin in range(0, count, BATCH):
            whole = library.flips_run(begin, min(BATCH, count - begin), DEAR_EACH, result)
            assert whole, "the stacks are not as they were before"

    opened = pyunw.open_self()
    with BlockedThread(DEPTH) as blocked:
        blocked.find(pyunw.threads(opened))
        descend(DEPTH, run)
    return words[0], result.as_words()


def broken_promises(figures):
    """In words."""
    if figures["broken"]:
        yield "%d answers that no capture may give; the first: %s" % (figures["broken"], figures["first_broken"])
    if figures["most_reads"] > MOST_READS:
        yield "%d reads for one capture" % figures["most_reads"]
    if figures["most_list_reads"] > MOST_LIST_READS:
        yield "%d reads for one thread list" % figures["most_list_reads"]
    if not all(figures["captures"].values()) or not figures["lists"] or not figures["most_reads"]:
        yield "not every memory was asked: %s" % figures
    if not figures["outcomes"]["marked"] or not figures["outcomes"]["same"]:
        yield "no damage was noticed, or all: %s" % figures["outcomes"]
