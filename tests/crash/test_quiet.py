# interpreters: each
"""
What the report path does in the crashed process: it allocates nothing (a preloaded allocator ends a process that uses it
in the handler, and the kernel one that maps memory), and it shows nobody a child. A report of a process that goes on leaves errno, the signal mask, the alternate
stack and the handlers as they were.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import Corpus, Crash, code_of, compile_shared, crashed_of, files_of, preloading, python_frames, run  # noqa: E402

# Who has nearly all signals blocked but not those of faults is in the handler, or behaves as if it were.
ALLOCATOR = r"""
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
extern void *__libc_memalign(size_t, size_t);

static int is_in_handler(void)
{
    unsigned long mask = 0;
    (void)syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    const unsigned long blocked = 1ul << (SIGHUP - 1) | 1ul << (SIGUSR1 - 1) | 1ul << (SIGALRM - 1) |
                                  1ul << (SIGCHLD - 1) | 1ul << (SIGWINCH - 1) | 1ul << (40 - 1);
    const unsigned long open = 1ul << (SIGILL - 1) | 1ul << (SIGFPE - 1);
    return (mask & blocked) == blocked && (mask & open) == 0;
}

static void refuse(const char *function)
{
    if (!is_in_handler())
        return;
    (void)!write(2, function, strlen(function));
    (void)!write(2, " in the handler\n", 16);
    _exit(99);
}

void *malloc(size_t size)
{
    refuse("malloc");
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    refuse("calloc");
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    refuse("realloc");
    return __libc_realloc(block, size);
}

void free(void *block)
{
    refuse("free");
    __libc_free(block);
}

void *memalign(size_t alignment, size_t size)
{
    refuse("memalign");
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    refuse("aligned_alloc");
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    refuse("posix_memalign");
    *block = __libc_memalign(alignment, size);
    return *block != NULL ? 0 : 12;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    refuse("mmap");
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
"""

PROGRAM = """\
from program import *
install()

def crash():
    %s  # HERE

crash()
"""

# As the handler would, if it allocated.
CANARY = """\
from program import *
import signal
fatal = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
signal.pthread_sigmask(signal.SIG_SETMASK, set(range(1, 65)) - {32, 33} - fatal)
ctypes.CDLL(None).malloc(1)
"""

# mmap, brk, mremap, mprotect and munmap end the process from now on; the sidecar, too, which has to map its libraries.
FORBIDDEN = (9, 12, 25, 10, 11)
NO_MAPPING = """\
from program import *
install()

def crash():
    held.null_read()  # HERE

for number in %r:
    released.forbid(number, -1)
crash()
""" % (FORBIDDEN,)

CHILDREN = """\
from program import *
released.print_child_signals()
released.wait_for_any_child()
install()

def crash():
    released.null_read()  # HERE

crash()
"""


# The process goes on; bare there is nothing to ask.
ON_DEMAND = """\
from program import *
tracker = install(report_signal=10)
result = 0
if tracker is not None:
    result = %s  # HERE
print("changed:", result)
"""
CALL = "released.report_and_compare(tracker.pyunw_crash_report_now)"


def is_of_main_thread(corpus, outcome, document):
    if document is None:
        return
    corpus.check(document["signal"] is None, "a signal is told:", document["signal"])
    corpus.check(not crashed_of(document), "a thread is said to have crashed")
    main = [thread for thread in document["threads"] if thread["native_id"] == document["pid"]]
    frames = python_frames(main[0]) if main else []
    corpus.check(frames and frames[0]["lineno"] == corpus.case.line(), "the line is not told:", frames[:1])


def has_two_records(corpus, outcome, document):
    if document is not None:
        corpus.check(document["threads"] and document["registers"] is not None, "a record is missing")


def has_reports(count):
    def check(corpus, outcome, document):
        files = files_of(corpus.folder("tracked"))
        corpus.check(len(files) == count and all(name.endswith(".json") for name in files), "there is", files)
    return check


def test_canary(corpus, preloaded):
    """The allocator does end a process that allocates so."""
    case = Crash("canary", CANARY, ends=99, kind="none", environment={"LD_PRELOAD": preloading(preloaded)})
    if corpus.is_wanted(case):
        corpus.case = case
        outcome = run(case, corpus.folder("bare"), False, corpus.crasher)
        corpus.check(code_of(outcome.status) == 99 and b"in the handler" in outcome.errors, "the allocator sees nothing:",
                     outcome.status, outcome.errors[-500:])


def main():
    preloaded = compile_shared("allocator", ALLOCATOR)
    quiet = {"environment": {"LD_PRELOAD": preloading(preloaded)}}
    on_demand = {"signal": None, "causes": ("on_demand",), "ends": 0, "python": None}
    corpus = Corpus()
    test_canary(corpus, preloaded)
    for case in [
        Crash("no heap, GIL held", PROGRAM % "held.null_read()", function="null_read", **quiet),
        Crash("no heap, GIL released", PROGRAM % "released.null_read()", function="null_read", **quiet),
        Crash("no heap, abort", PROGRAM % "os.abort()", ("abort",), signal.SIGABRT, **quiet),
        Crash("no heap, no helper", PROGRAM.replace("install()", "install(helper='/bin/false')") % "held.null_read()",
              kind="unfinished", status="partial", **quiet),
        Crash("no heap, a copy", PROGRAM.replace("install()", "install(); released.forbid(101, 1)") % "held.null_read()",
              function="null_read", status=None, **quiet),
        Crash("no mapping", NO_MAPPING, kind="unfinished", status="partial", check=has_two_records),
        Crash("who waits for any child", CHILDREN, function="null_read"),
        Crash("on demand", ON_DEMAND % CALL, check=is_of_main_thread, **on_demand),
        Crash("on demand, with the GIL", ON_DEMAND % CALL.replace("released", "held"), check=is_of_main_thread,
              **on_demand),
        Crash("on demand, by a signal", ON_DEMAND % "released.raise_and_compare(10)", check=is_of_main_thread, **on_demand),
        Crash("on demand, three times", ON_DEMAND % (CALL + "; " + CALL + "; " + CALL), **{**on_demand, "kind": None},
              check=has_reports(3)),
    ]:
        corpus.test(case)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
