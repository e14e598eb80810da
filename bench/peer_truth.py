"""
Judge the stacks that other tools (bench/peers.py) read from the self-checking program of tests/dump/judged.py, by the
same table as tests/dump/judge.c: an unknown function, a line that is not its own, an illegal pair, a cut bottom or a
lost stack is wrong; a caller's line that holds no such call is stale. A tool that leaves a name out is not blamed for
that: any function of the file and line is taken. Nor is one that shows a frame which the interpreter hides.
"""
import collections
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JUDGED = os.path.join(SOURCE, "tests", "dump", "judged.py")
CLEANUP = ("__init__", "__init__", 0)  # 3.12+: the frame behind __init__, which the interpreter hides; some tools do not
BOTTOM, ANYWHERE = 1, 2  # tests/storms/legality.py


class Table:
    """What judged.py wrote."""

    def __init__(self, path):
        self.flags, self.functions, self.spots = [], [], collections.defaultdict(list)
        self.ever = collections.defaultdict(int)  # function -> bitmap of those that it calls from anywhere
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                kind, *rest = line.rstrip("\n").split("\t")
                if kind == "function":
                    self.flags.append(int(rest[0]))
                    self.functions.append(rest[1:])
                elif kind == "spot":
                    self.add_spot(int(rest[0]), int(rest[1]), int.from_bytes(bytes.fromhex(rest[2]), "little"))

    def add_spot(self, function, line, callees):
        filename, name, qualname = self.functions[function]
        for told in {name, qualname, ""}:
            self.spots[filename, told, line].append((function, callees))
        self.ever[function] |= callees

    def stands_still(self, stack):
        """The main thread of judged.py, which tests/dump/judge.c leaves out, too."""
        return not stack or (stack[-1][0] == JUDGED and stack[-1][1] in ("<module>", "main"))

    def verdict(self, stack):
        """right, stale, wrong, or cut: nothing is wrong but that the bottom is missing."""
        if not stack:
            return "wrong"
        callees, stale = None, False
        for frame in stack:
            if tuple(frame) == CLEANUP:
                continue
            spots = self.spots.get(tuple(frame), [])
            if callees is not None:
                legal = [spot for spot in spots if any(self.may_call(spot[1], callee) for callee in callees)]
                if not legal:
                    legal = [spot for spot in spots if any(self.may_call(self.ever[spot[0]], callee)
                                                           for callee in callees)]
                    stale = True
                spots = legal
            if not spots:
                return "wrong"
            callees = {function for function, _ in spots}
        if not any(self.flags[function] & BOTTOM for function in callees):
            return "cut"
        return "stale" if stale else "right"

    def may_call(self, callees, function):
        return callees >> function & 1 or self.flags[function] & ANYWHERE


class Running:
    """judged.py, while it runs: its process id and table."""

    def __init__(self, interpreter, variant):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "table")
        self.process = subprocess.Popen([interpreter["executable"], JUDGED, variant, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"running\n", "the program did not start"
        self.pid, self.table = self.process.pid, Table(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def judge(peer, interpreter, variant, captures):
    """Counts of captures, those that failed, stacks, and wrong and stale ones."""
    counts = collections.Counter()
    with Running(interpreter, variant) as program:
        for stacks in peer.captures(interpreter, program.pid, captures):
            counts["captures"] += 1
            if stacks is None:
                counts["failed"] += 1
                continue
            judged = [stack for stack in stacks if not program.table.stands_still(stack)]
            if variant == "one" and peer.shows_all and not judged:
                judged.append([])  # the thread is there all the time
            for stack in judged:
                counts["stacks"] += 1
                counts[program.table.verdict(stack)] += 1
    return counts


def percent(part, whole):
    return "%.3f %%" % (100 * part / whole) if whole else "-"


def row(peer, interpreter, captures):
    """One line of words: one thread and four, half of the captures each, as tests/dump/test_truth.py has it."""
    why = peer.why_not(interpreter)
    if why:
        return "%s: skipped, %s" % (peer.title(), why)
    counts = collections.Counter()
    for variant in ("one", "four"):
        counts += judge(peer, interpreter, variant, captures // 2)
    if not counts["stacks"]:
        return "%s: %d captures, all failed" % (peer.title(), counts["captures"])
    stacks = counts["stacks"]
    return "%s: %d captures, %s failed; of %d stacks wrong %s (%s of all are right but for the bottom), stale %s" % (
        peer.title(), counts["captures"], percent(counts["failed"], counts["captures"]), stacks,
        percent(counts["wrong"] + counts["cut"], stacks), percent(counts["cut"], stacks),
        percent(counts["stale"], stacks))
