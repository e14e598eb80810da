# Measures one interpreter; run by bench/run under each. Prints one JSON object.
import ctypes
import faulthandler
import gc
import json
import os
import sys
import threading
import time
import traceback
import tracemalloc

WALK, CAPTURE, DESCRIBE, CURRENT, CURSOR, IDENTIFY = range(6)
MEMORIES = {"direct": 1, "trapped": 2, "guarded": 3}
DEPTHS = (5, 20, 50, 100, 1000)

held = ctypes.PyDLL(sys.argv[1])  # keeps the GIL
released = ctypes.CDLL(sys.argv[1])  # gives it up for the call
for library in (held, released):
    library.bench_run.restype = library.bench_by_hand.restype = ctypes.c_double
    library.bench_by_hand.argtypes = [ctypes.c_uint64, ctypes.c_int, ctypes.c_int]

FREE_THREADED = "t" in sys.abiflags
thread_state = ctypes.pythonapi.PyThreadState_Get
thread_state.restype = ctypes.c_uint64

sys.setrecursionlimit(5000)


def at_depth(depth, function):
    """Call function with depth Python frames on the stack, its own included."""
    if depth > 1:
        return at_depth(depth - 1, function)
    return function()


def median(values):
    return sorted(values)[len(values) // 2]


def time_python(function, calls, rounds=9):
    """Nanoseconds for one call of a Python function: the median of several rounds."""
    results = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for _ in range(calls):
            function()
        results.append((time.perf_counter_ns() - begin) / calls)
    return median(results)


def walk_with_getframe():
    frame = sys._getframe()
    while frame is not None:
        frame.f_code, frame.f_lineno
        frame = frame.f_back


def time_tracemalloc(depth):
    """What tracemalloc adds to one small allocation while it keeps the whole stack."""

    def allocate():
        bytearray(100)

    bare = at_depth(depth, lambda: time_python(allocate, 500))
    tracemalloc.start(depth)
    try:
        return at_depth(depth, lambda: time_python(allocate, 500)) - bare
    finally:
        tracemalloc.stop()


def measure_depth(depth, devnull):
    calls = max(1, 4000 // depth)
    rows = {}
    for name, memory in MEMORIES.items():
        few = calls if name != "guarded" else max(1, calls // 20)
        for operation, label in ((WALK, "walk"), (CAPTURE, "capture"), (DESCRIBE, "describe"), (CURSOR, "cursor"),
                                 (IDENTIFY, "identify")):
            rows[label + " " + name] = at_depth(depth, lambda: held.bench_run(operation, memory, few))
    if sys.version_info >= (3, 12) and not FREE_THREADED:
        tstate = thread_state()
        rows["by hand"] = at_depth(depth, lambda: held.bench_by_hand(tstate, sys.version_info[1], calls))
    frames = at_depth(depth, lambda: held.bench_depth())
    peer_calls = max(1, 400 // depth)
    rows["faulthandler"] = at_depth(
        min(depth, 100),  # it prints no more
        lambda: time_python(lambda: faulthandler.dump_traceback(devnull, all_threads=False), peer_calls))
    rows["faulthandler"] *= frames / min(frames, 100)
    rows["extract_stack"] = at_depth(depth, lambda: time_python(traceback.extract_stack, peer_calls))
    rows["sys._getframe"] = at_depth(depth, lambda: time_python(walk_with_getframe, calls))
    rows["tracemalloc"] = time_tracemalloc(depth)
    return {"frames": frames, "nanoseconds": rows}


def measure_current(threads):
    """The current thread's lookup, with the GIL held and given up, beside so many threads."""
    stop = threading.Event()
    started = threading.Semaphore(0)

    def wait():
        started.release()
        stop.wait()

    others = [threading.Thread(target=wait) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    for _ in others:
        started.acquire()
    # The main thread is found without its list; so the lookup is made from a thread of its own beside it.
    results = {}

    def look():
        for name, memory in MEMORIES.items():
            few = 2000 if threads == 1 else 20
            results["held " + name] = held.bench_run(CURRENT, memory, 2000)
            results["released " + name] = released.bench_run(CURRENT, memory, few)

    look()
    results = {"main " + key: value for key, value in results.items()}
    if threads > 1:
        # The oldest thread but the main one: last in the list but one, the longest way.
        looker = others[0]
        stop.set()
        for thread in others:
            thread.join()
        stop.clear()
        gate = threading.Event()
        looker = threading.Thread(target=lambda: (gate.wait(), look()))
        looker.start()
        others = [threading.Thread(target=wait) for _ in range(threads - 2)]
        for thread in others:
            thread.start()
        for _ in others:
            started.acquire()
        gate.set()
        looker.join()
    stop.set()
    for thread in others:
        thread.join()
    return results


def main():
    err = held.bench_open()
    if err != 0:
        sys.exit("pyunwind does not open: %d" % err)
    gc.disable()
    threading.stack_size(256 * 1024)
    depths = {}
    with open(os.devnull, "w") as devnull:
        for depth in DEPTHS:
            depths[depth] = measure_depth(depth, devnull)
    current = {threads: measure_current(threads) for threads in (1, 1000)}
    print(json.dumps({"version": sys.version.split()[0], "depths": depths, "current": current}))


main()
