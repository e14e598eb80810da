# interpreters: each
"""Crashes among threads and processes, and at the beginning and the end of an interpreter's life."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import Corpus, Crash, compile_shared, crashed_of, preloading, python_frames  # noqa: E402

THREAD = """\
from program import *
import threading
install()

def crash():
    %s  # HERE

thread = threading.Thread(target=crash)
thread.start()
thread.join()
"""

OVERFLOW_IN_THREAD = """\
from program import *
import threading
tracker = install()

def crash():
    if tracker is not None:
        assert tracker.pyunw_crash_attach_thread() == 0
    held.overflow_stack(0)  # HERE

thread = threading.Thread(target=crash)
thread.start()
thread.join()
"""

UNKNOWN_THREAD = """\
from program import *
install()

def crash():
    released.crash_in_thread()  # HERE

crash()
"""

TOGETHER = """\
from program import *
import threading
install()

def crash():
    released.read_null_together()  # HERE

threads = [threading.Thread(target=crash) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

FORK = """\
from program import *
install()

def crash():
    held.null_read()  # HERE

pid = os.fork()
if pid == 0:
    crash()
status = os.waitpid(pid, 0)[1]
print("the child ended with", status)
"""

FORK_OF_THREADS = """\
from program import *
import threading
install()
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(3)]
for thread in threads:
    thread.start()

def crash():
    released.null_read()  # HERE

pid = os.fork()
if pid == 0:
    crash()
status = os.waitpid(pid, 0)[1]
print("the child ended with", status)
stop.set()
"""

WORKER = """\
from program import *
import multiprocessing
install()

def crash():
    held.null_read()  # HERE

worker = multiprocessing.get_context("fork").Process(target=crash)
worker.start()
worker.join()
print("the worker ended with", worker.exitcode)
"""

FINALIZATION = """\
from program import *
install()

class Last:
    def __del__(self, crash=held.null_read):
        crash()  # HERE

sys.last_of_all = Last()
"""

COLLECTION = """\
from program import *
import gc
install()

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        held.null_read()  # HERE

Cycle()
gc.collect()
"""

MANY = """\
from program import *
import threading
install()
threading.stack_size(256 << 10)
ready = threading.Semaphore(0)
stop = threading.Lock()
stop.acquire()

def wait():
    ready.release()
    stop.acquire()

for _ in range(1000):
    threading.Thread(target=wait, daemon=True).start()
for _ in range(1000):
    ready.acquire()

def crash():
    held.null_read()  # HERE

crash()
"""

# The interpreter is not yet there, or not any more: the library is preloaded into it.
PRELOADED = """
#include <pyunwind_crash.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int *volatile null_pointer;

__attribute__((visibility("default"), noinline)) void read_null_outside(void)
{
    *null_pointer = 1;
}

static void install(void)
{
    const pyunw_crash_options options = {.size = sizeof options, .time_limit = 120000};
    if (getenv("CORPUS_TRACKED") != NULL && pyunw_crash_install(&options) != 0)
        _exit(90);
}

__attribute__((constructor)) static void begin(void)
{
    const char *when = getenv("CORPUS_WHEN");
    if (when == NULL)
        return;
    if (strcmp(when, "at once") == 0)
        install();
    if (strcmp(when, "at the end") == 0) {
        install();
        (void)atexit(read_null_outside);
    }
    if (strcmp(when, "before") == 0) {
        install();
        read_null_outside();
    }
}
"""

EMPTY = """\
pass  # HERE
"""

INSTALLED_EARLY = """\
from program import *

def crash():
    held.null_read()  # HERE

crash()
"""


def has_threads(count):
    def check(corpus, outcome, document):
        if document is not None:
            known = [thread for thread in document["threads"] if thread["thread_id"] is not None]
            corpus.check(len(known) == count, "%d threads are told as" % count, len(known))
            incomplete = [thread for thread in known if thread["status"] != "complete"]
            corpus.check(not incomplete, len(incomplete), "stacks are incomplete", incomplete[:1])
    return check


def is_unknown_thread(corpus, outcome, document):
    if document is None:
        return
    crashed = crashed_of(document)[0]
    corpus.check(crashed["native_id"] != document["pid"], "the main thread is said to have crashed")
    main = [thread for thread in document["threads"] if thread["native_id"] == document["pid"]]
    frames = python_frames(main[0]) if main else []
    corpus.check(frames and frames[0]["lineno"] == corpus.case.line(), "the main thread is not at its line", frames[:1])


def is_finalizing(corpus, outcome, document):
    if document is not None:
        corpus.check(document["finalizing"] is True, "finalizing is", document["finalizing"])


def is_collecting(corpus, outcome, document):
    if document is not None:
        # Without the GIL nothing tells which thread of several collects.
        right = (True, None) if document["python"]["free_threaded"] else (True,)
        told = crashed_of(document)[0]["collecting_garbage"]
        corpus.check(told in right, "collecting garbage:", told)


def main():
    preloaded = compile_shared("preloaded", PRELOADED, pyunwind=True, sanitized=False)

    def early(name, when, text, **more):
        return Crash(name, text, environment={"CORPUS_WHEN": when, "LD_PRELOAD": preloading(preloaded)}, **more)

    outside = {"causes": ("null_write",), "function": "read_null_outside", "python": False}
    corpus = Corpus()
    for case in [
        Crash("thread, GIL held", THREAD % "held.null_read()", function="null_read", check=has_threads(2)),
        Crash("thread, GIL released", THREAD % "released.null_read()", function="null_read", check=has_threads(2)),
        Crash("stack overflow of a thread", OVERFLOW_IN_THREAD, causes=("stack_overflow",), function="overflow_stack",
              same_instruction=False),
        Crash("thread that Python does not know", UNKNOWN_THREAD, function="null_read", python=False,
              check=is_unknown_thread),
        Crash("two threads", TOGETHER, function="read_null_together", check=has_threads(3)),
        Crash("child", FORK, ends=0, report_of="child", function="null_read", check=has_threads(1)),
        Crash("child of one with threads", FORK_OF_THREADS, ends=0, report_of="child", function="null_read",
              check=has_threads(1)),
        Crash("worker", WORKER, ends=0, report_of="child", function="null_read"),
        Crash("finalization", FINALIZATION, function="null_read", check=is_finalizing),
        Crash("garbage collection", COLLECTION, function="null_read", check=is_collecting),
        Crash("1,000 threads", MANY, function="null_read", check=has_threads(1001)),
        early("installed before there is an interpreter", "at once", INSTALLED_EARLY, function="null_read"),
        early("before there is an interpreter", "before", EMPTY, **outside),
        early("after there was an interpreter", "at the end", EMPTY, **outside),
    ]:
        corpus.test(case)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
