"""
A process whose own structures are damaged under captures (flips.c): damage_this_process(COUNT) returns the figures.

Runs on CPython 3.8 to 3.15.
"""

import ctypes
import os
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
FOLDER = os.path.join(SOURCE, "tests", "flips")
for folder in ("support", "promise"):
    sys.path.insert(0, os.path.join(SOURCE, "tests", folder))

import pyunw
from compile import compile_shared
from programs import BlockedThread, descend

DEPTH = 7  # frames of every kind
MEMORIES = ("trapped", "guarded", "direct", "image", "running")
OUTCOMES = ("same", "marked", "error", "other text", "other frames")
DEAR_EACH = 4
BATCH = 20000
# Of a capture of some 20 frames, of which one of a thread that may run on reads all twice, and tries again; and of a
# list of two threads. Without damage some 280, 560 and 40. A description takes at most 2,224 (docs/fuzzing.md), where what
# is damaged is the way through a table; two words are damaged at once.
MOST_READS, MOST_LIST_READS = {"image": 5000, "running": 10000}, 200
# Of all variables, with what a dict that claims to be large is looked through for.
MOST_ASK_READS = 1 << 20


class Result(ctypes.Structure):
    _fields_ = [
        ("damages", ctypes.c_uint64),
        ("captures", ctypes.c_uint64 * len(MEMORIES)),
        ("lists", ctypes.c_uint64),
        ("outcomes", ctypes.c_uint64 * len(OUTCOMES)),
        ("asks", ctypes.c_uint64),
        ("most_reads", ctypes.c_uint64 * len(MEMORIES)),
        ("most_list_reads", ctypes.c_uint64),
        ("most_ask_reads", ctypes.c_uint64),
        ("broken", ctypes.c_uint64),
        ("first_broken", ctypes.c_char * 256),
    ]

    def as_words(self):
        return {
            "damages": self.damages,
            "captures": dict(zip(MEMORIES, self.captures)),
            "lists": self.lists,
            "outcomes": dict(zip(OUTCOMES, self.outcomes)),
            "asks": self.asks,
            "most_reads": dict(zip(MEMORIES, self.most_reads)),
            "most_list_reads": self.most_list_reads,
            "most_ask_reads": self.most_ask_reads,
            "broken": self.broken,
            "first_broken": self.first_broken.decode(errors="replace"),
        }


class Failure(LookupError):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code, self.text = code, text


class RestingThread(BlockedThread):
    """Rests while it handles an exception, with variables of many types."""

    def _rest(self):
        numbers, pairs = [1, -(2**70), 2.5, True, None, 3 - 4j], {"one": 1, 2: ("two", b"2"), "s": {3}}
        text, wide, data = "gr\xf6\xdfe", "\U0001f40d" * 9, bytearray(b"data")

        def inner(*arguments, **keywords):
            try:
                raise Failure(7, text) from KeyError("cause")
            except Failure as failure:
                super(RestingThread, self)._rest()
                return failure

        inner(numbers, wide, data, pairs=pairs)


def load_library():
    sources = [os.path.join(FOLDER, name) for name in ("flips.c", "asks.c")]
    # With the GIL held throughout: nobody but the walker meets what is damaged.
    # Not sanitized, where the library is: it reads and writes whole words, which need not all be somebody's.
    path = compile_shared("flips", *sources, flags=["-I" + FOLDER], pyunwind=True, sanitized=False)
    library = ctypes.PyDLL(path)
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
    with RestingThread(DEPTH) as blocked:
        blocked.find(pyunw.threads(opened))
        descend(DEPTH, run)
    return words[0], result.as_words()


def broken_promises(figures):
    """In words."""
    if figures["broken"]:
        yield "%d answers that no capture may give; the first: %s" % (figures["broken"], figures["first_broken"])
    for memory, most in MOST_READS.items():
        if not 0 < figures["most_reads"][memory] <= most:
            yield "%d reads for one capture of memory %s" % (figures["most_reads"][memory], memory)
    if figures["most_list_reads"] > MOST_LIST_READS:
        yield "%d reads for one thread list" % figures["most_list_reads"]
    if not 0 < figures["most_ask_reads"] <= MOST_ASK_READS:
        yield "%d reads for an exception or the variables of a thread" % figures["most_ask_reads"]
    if not all(figures["captures"].values()) or not figures["lists"] or not figures["asks"]:
        yield "not every memory was asked: %s" % figures
    if not figures["outcomes"]["marked"] or not figures["outcomes"]["same"]:
        yield "no damage was noticed, or all: %s" % figures["outcomes"]
