# interpreters: each
"""
pyunw_write_json() and pyunw_write_json_threads(): every line is strict UTF-8 and strict JSON whatever the names hold,
nothing is cut, and each field is what sys._getframe(), sys._current_frames(), co_positions(), threading and the kernel
say. What cannot be read is null; what cannot be written is an error.
"""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import sysconfig
import threading

import json_lines
from json_lines import Checks, Pipe, expected_frames, kernel_name, output, targets

import constructs
import dumps
import pyunw
from compile import compile_shared
from constructs import lineless, with_names, without_lines
from images import OwnImage
from standing_threads import MovingThread, StandingThreads, make_interpreter, own_tstate
from standing_threads import set_kernel_name, wait_until_detached

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MINOR = sys.version_info[1]
SIGNAL = signal.SIGUSR2
# Bytes of any kind but NUL, 15 at the most: UTF-8, cut or not, and what only looks like it.
KERNEL_NAMES = [b"plain", b"", b"\xff\xfe", b'"quoted\\"', b"line\nbreak\n", b"\x01\x7f\x80"]
KERNEL_NAMES += [b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80\xc1\xbf", b"\xe0\x9f\xbf", b"\xf4\x90\x80\x80"]
KERNEL_NAMES += [b"\xf0\x8f\xbf\xbf", "h\xe9t\xe9 \u03b1\U0001f600".encode()]
KERNEL_NAMES += ["\x7f\x80\u07ff\u0800".encode(), "\ud7ff\ue000\uffff\U00010000".encode(), "\U0010ffff".encode()]

checks = Checks()


def check_own_thread(label, state="running", holds_gil=True):
    for memory, target in targets.items():
        thread = json_lines.write(target)
        what = "%s, %s" % (label, memory)
        check_head(what, thread, threading.get_ident(), threading.get_native_id(), state, holds_gil)
        # The innermost frame is that of json_lines.write(), which is gone.
        innermost = thread["frames"].pop(0)
        checks.equal(what, "write", innermost["name"])
        # This function's own frame goes on too; its line does not change before the next dump.
        own = expected_frames(sys._getframe())
        check_innermost(what, own.pop(0), thread["frames"].pop(0), sys._getframe().f_code)
        checks.frames(what, own, thread["frames"])


def check_innermost(what, expected, found, code):
    """A frame that went on meanwhile: where it was is one of its code object's places."""
    places = ["lineno", "end_lineno", "colno", "end_colno"]
    place = tuple(found[key] for key in places)
    checks.equal(what, {**expected, **dict(zip(places, place))}, found)
    if json_lines.HAS_COLUMNS:
        checks.equal("%s: %r is a place" % (what, place), True, place in set(code.co_positions()))


def check_head(what, thread, thread_id, native_id, state, holds_gil, interpreter_id=0, collecting=False):
    expected = {
        "schema": "pyunwind.thread/1",
        "pid": os.getpid(),
        "thread_id": thread_id,
        "native_id": native_id,
        "interpreter_id": interpreter_id,
        "name": kernel_name(native_id),
        "state": state,
        "holds_gil": holds_gil and not FREE_THREADED,
        "collecting_garbage": collecting,
        "status": "complete",
    }
    for key, value in expected.items():
        checks.equal("%s, %s" % (what, key), value, thread[key])


def check_constructs():
    def check(*_):
        for memory, target in targets.items():
            thread = json_lines.write(target)
            checks.equal(construct.__name__, "complete", thread["status"])
            label = "%s, %s" % (construct.__name__, memory)
            checks.frames(label, expected_frames(sys._getframe(1)), thread["frames"][2:])
        return 0

    for construct in constructs.CONSTRUCTS:
        before = checks.count
        construct(check)
        assert checks.count > before, "%s never came to its check" % construct.__name__


def check_deep():
    sys.setrecursionlimit(20000)

    def descend(depth):
        return descend(depth - 1) if depth else [json_lines.write(target) for target in targets.values()]

    for thread in descend(5000):
        checks.equal("5,000 frames", "complete", thread["status"])
        names = [frame["name"] for frame in thread["frames"]]
        checks.equal("5,000 frames", ["descend"] * 5001, [name for name in names if name == "descend"])
        outer = expected_frames(sys._getframe(1))
        checks.frames("5,000 frames, the outer ones", outer, thread["frames"][-len(outer) :])


# ---- Threads --------------------------------------------------------------------------------------------------------


def check_threads():
    set_kernel_name('m\xe1in "\\'.encode())
    for count in (0, 1, 20):
        with StandingThreads(count, KERNEL_NAMES):
            for memory, target in targets.items():
                label = "%d threads, %s" % (count + 1, memory)
                lines, frames = json_lines.write_all(target), sys._current_frames()
                checks.equal(label, set(frames), {thread["thread_id"] for thread in lines.values()})
                for tstate, thread in lines.items():
                    if tstate != own_tstate():
                        check_other_thread(label, thread, frames[thread["thread_id"]])
                        checks.equal(label + ", one by one", thread, json_lines.write(target, tstate))
    set_kernel_name(b"python")


def check_other_thread(label, thread, frame):
    native_id = thread["native_id"]
    checks.equal(label + ", a task", True, os.path.exists("/proc/self/task/%d" % native_id))
    check_head(label, thread, thread["thread_id"], native_id, "idle", False)
    checks.frames(label, expected_frames(frame), thread["frames"])


def check_native_ids():
    """The kernel's ids, each against the word of the thread itself."""
    known = {}

    def run(ready, gate):
        known[threading.get_ident()] = threading.get_native_id()
        ready.release(), gate.acquire()

    locks = [(threading.Semaphore(0), threading.Semaphore(0)) for _ in range(4)]
    threads = [threading.Thread(target=run, args=pair) for pair in locks]
    for thread, (ready, _) in zip(threads, locks):
        thread.start()
        ready.acquire()
    known[threading.get_ident()] = threading.get_native_id()
    lines = json_lines.write_all(dumps.guarded).values()
    checks.equal("native ids", known, {thread["thread_id"]: thread["native_id"] for thread in lines})
    for thread, (_, gate) in zip(threads, locks):
        gate.release()
        thread.join()


def check_without_gil():
    """Called without the GIL: the thread is found, and is idle."""
    release = pyunw.lib.pyunw_write_json
    for memory, target in targets.items():
        assert release(target, output.fd, 0) == 0
        thread = json_lines.parse(output.take())
        label = "without the GIL, " + memory
        check_head(label, thread, threading.get_ident(), threading.get_native_id(), "idle", False)
        checks.frames(label, expected_frames(sys._getframe(1)), thread["frames"][1:])


def check_handlers():
    library = compile_shared("json_handler", "handler.c", pyunwind=True)
    callers = {"holding the GIL": ctypes.PyDLL(library), "without the GIL": ctypes.CDLL(library)}
    with StandingThreads(3):
        for number, (memory, kind) in enumerate(dumps.MEMORIES.items()):
            for who, caller in callers.items():
                holds = who == "holding the GIL"
                for every in (False, True):
                    label = "handler, %s, %s, %s" % (memory, who, "all" if every else "own")
                    assert caller.install_handler(SIGNAL, kind, output.fd, every) == 0
                    assert caller.strike(SIGNAL) == 0
                    lines = json_lines.parse_all(output.take())
                    checks.equal(label, 4 if every else 1, len(lines))
                    (own,) = (line for line in lines if line["thread_id"] == threading.get_ident())
                    state = "running" if holds else "idle"
                    check_head(label, own, threading.get_ident(), threading.get_native_id(), state, holds)
                    checks.frames(label, expected_frames(sys._getframe(1)), own["frames"][1:])
    signal.signal(SIGNAL, signal.SIG_DFL)


# ---- Moments --------------------------------------------------------------------------------------------------------


def check_collecting():
    """Without the GIL nothing tells which thread collects."""

    class Dying:
        def __del__(self):
            seen.append([json_lines.write(target)["collecting_garbage"] for target in targets.values()])
            threads = json_lines.write_all(dumps.guarded)
            own = threads.pop(own_tstate())
            seen.append([own["collecting_garbage"]] + [thread["collecting_garbage"] for thread in threads.values()])
            listed = pyunw.threads(dumps.guarded, pyunw.lib_holding_gil)
            flags = {thread.tstate: thread.flags & pyunw.PYUNW_THREAD_COLLECTING for thread in listed}
            told.append([bool(flags.pop(own_tstate())), any(flags.values())])

    seen, told = [], []
    dying = Dying()
    dying.cycle = dying
    del dying
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    with StandingThreads(2):
        before = [thread["collecting_garbage"] for thread in json_lines.write_all(dumps.guarded).values()]
        gc.collect()
    checks.equal("not collecting", [False] * 3, before)
    checks.equal("collecting", [[True] * 3, [True, False, False]] if gil else [[None] * 3] * 2, seen)
    checks.equal("collecting, flags", [[gil, False]], told)


def check_collecting_with_gil():
    """The same in a free-threaded build that runs with the GIL."""
    if FREE_THREADED:
        environment = dict(os.environ, PYTHON_GIL="1")
        assert subprocess.call([sys.executable, os.path.abspath(__file__), "collecting"], env=environment) == 0


FINALIZING = """
import os, sys
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
import pyunw
class Last:
    def __del__(self, target=pyunw.open_self(), write=pyunw.lib_holding_gil.pyunw_write_json):
        assert write(target, 1, 0) == 0
sys.kept = Last()
"""


def check_finalizing():
    line = subprocess.check_output([sys.executable, "-c", FINALIZING])
    thread = json_lines.parse(line)
    checks.equal("while modules are torn down", ("finalizing", "complete"), (thread["state"], thread["status"]))
    checks.equal("while modules are torn down", "__del__", thread["frames"][0]["name"])


def check_fork():
    """A child is another process with a thread of another kernel id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            before = len(checks.wrong)
            check_own_thread("after fork", holds_gil=True)
            print("\n".join(checks.wrong[before:]), end="")
            status = len(checks.wrong) > before
        finally:
            sys.stdout.flush()
            os._exit(status)
    checks.equal("after fork", 0, os.waitpid(child, 0)[1])


# ---- Sub-interpreters -----------------------------------------------------------------------------------------------

INNER = """
import os, sys, _thread
sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
import pyunw
with open(%r, "wb") as file:
    target = pyunw.open_self()
    assert pyunw.lib_holding_gil.pyunw_write_json(target, file.fileno(), 0) == 0
    assert pyunw.lib_holding_gil.pyunw_write_json_threads(target, file.fileno()) == 0
"""


def check_interpreters():
    module, number = make_interpreter()
    path = os.path.abspath("inside.jsonl")
    error = module.run_string(number, INNER % path)
    assert error is None, error
    with open(path, "rb") as file:
        own, *threads = json_lines.parse_all(file.read())
    checks.equal("a sub-interpreter", (int(number), "running"), (own["interpreter_id"], own["state"]))
    checks.equal("a sub-interpreter", ["<module>"], [frame["name"] for frame in own["frames"]])
    checks.equal("a sub-interpreter", threading.get_ident(), own["thread_id"])
    # This one's thread state, suspended, holds the frames that called.
    (outer,) = (thread for thread in threads if thread["interpreter_id"] == 0)
    checks.equal("around it", (threading.get_ident(), "idle"), (outer["thread_id"], outer["state"]))
    checks.frames("around it", expected_frames(sys._getframe(1)), outer["frames"][1:])
    module.destroy(number)


# ---- What cannot be read --------------------------------------------------------------------------------------------


def read_refusing(target_tstate, at, length=8):
    image = OwnImage(lambda address, size: at and address < at + length and at < address + size)
    return json_lines.write(image.target, target_tstate)


def check_images():
    thread = MovingThread()
    whole = json_lines.write(dumps.guarded, thread.tstate)
    frames = whole["frames"]
    checks.equal("another thread", ["inner", "outer", "run"], [frame["name"] for frame in frames])
    # Of an image nothing is known but what it holds; before 3.11 it does not hold the kernel's id.
    expected = {**whole, "pid": None, "name": None, "native_id": whole["native_id"] if MINOR >= 11 else None}
    checks.equal("an image", expected, read_refusing(thread.tstate, 0))
    code = MovingThread.outer.__code__
    table = code.co_lnotab if MINOR < 10 else code.co_linetable
    unknown = dict.fromkeys(["lineno", "end_lineno", "colno", "end_colno"])
    for label, at, change in (
        ("a name", id(code.co_name), {"name": None}),
        ("a qualified name", id(code.co_qualname) if MINOR >= 11 else 0, {"qualname": None}),
        ("a table", id(table), unknown),
    ):
        changed = [frames[0], {**frames[1], **change}, frames[2]]
        found = read_refusing(thread.tstate, at)
        checks.equal("%s that cannot be read" % label, {**expected, "frames": changed}, found)
    changed = [{**frame, "filename": None} for frame in frames]
    found = read_refusing(thread.tstate, id(code.co_filename))
    checks.equal("a file name that cannot be read", {**expected, "frames": changed}, found)
    for depth in (1, 2):
        found = read_refusing(thread.tstate, thread.frames[depth].frame)
        partial = {**expected, "frames": frames[:depth], "status": "corrupt"}
        checks.equal("frame %d that cannot be read" % depth, partial, found)

    def move_at_outermost(address, size):
        if address < thread.frames[2].code + 8 and thread.frames[2].code < address + size and not thread.moved:
            thread.move()
            wait_until_detached(1)

    image = OwnImage(move_at_outermost)
    found = json_lines.write(image.target, thread.tstate)
    checks.equal("a thread that runs on", {**expected, "status": "torn"}, found)
    thread.end()


def check_lineless():
    """An instruction without a line."""
    if MINOR < 10:
        return
    for memory, target in targets.items():
        frame = without_lines(lineless)(lambda: json_lines.write(target))["frames"][2]
        found = [frame[key] for key in ("name", "lineno", "end_lineno", "colno", "end_colno")]
        checks.equal("a frame without a line, " + memory, ["lineless", None, None, None, None], found)


# ---- What cannot be written -----------------------------------------------------------------------------------------


def write_both(fd):
    """What the two writers answer."""
    return json_lines.write_json(dumps.guarded, fd, 0), json_lines.write_json_threads(dumps.guarded, fd)


def check_failures():
    refused = (pyunw.PYUNW_ERR_WRITE, pyunw.PYUNW_ERR_WRITE)
    reader, writer = os.pipe()
    os.close(reader)
    checks.equal("a pipe without a reader", refused, write_both(writer))
    os.close(writer)
    checks.equal("a closed descriptor", refused, write_both(writer))
    checks.equal("no descriptor", refused, write_both(-1))
    with open(os.devnull, "rb") as file:
        checks.equal("a descriptor for reading", refused, write_both(file.fileno()))
    with open("/dev/full", "wb") as file:
        checks.equal("a full device", refused, write_both(file.fileno()))
    for room in (0, 4096, 8192):
        with StandingThreads(20):
            pipe = Pipe(room)
            # So long that it does not fit, in whatever pieces it is written.
            results = with_names("f" * 9000, "n" * 9000)(lambda: write_both(pipe.writer))
            written = pipe.close()
            checks.equal("a pipe with room for %d" % room, refused, results)
            checks.equal("a pipe with room for %d" % room, True, written[:2] in (b"", b'{"') and len(written) <= room)
    checks.equal("after all that", "complete", json_lines.write(dumps.guarded)["status"])


def main():
    check_own_thread("the own thread")
    check_constructs()
    check_deep()
    check_threads()
    check_native_ids()
    check_without_gil()
    check_handlers()
    check_collecting()
    check_collecting_with_gil()
    check_finalizing()
    check_fork()
    check_interpreters()
    check_images()
    check_lineless()
    check_failures()
    return checks.finish()


if __name__ == "__main__":
    if sys.argv[1:] == ["collecting"]:
        check_collecting()
        sys.exit(checks.finish())
    sys.exit(main())
