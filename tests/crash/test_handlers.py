# interpreters: each
"""
Handlers of the program's own, before the tracker's and after them: each does what it did, a fault that is recovered from
leaves no report, and one that is not is told as it was, also where the signal was raised again.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import Corpus, Crash, files_of, run  # noqa: E402

# %s: what comes before the installation, what after it, what dies
PROGRAM = """\
from program import *
import faulthandler
import signal
%s
install()
%s

def crash():
    %s  # HERE

crash()
print("it goes on", flush=True)
"""


def case(name, before="", after="", call="held.null_read()", **more):
    return Crash(name, PROGRAM % (before, after, call), **more)


def both(name, handler, **more):
    """The handler installed before the tracker's, and after them."""
    yield case(name + ", before", before=handler, **more)
    yield case(name + ", after", after=handler, **more)


def cases():
    null_read = {"function": "null_read"}
    yield from both("faulthandler", "faulthandler.enable()", **null_read)
    yield from both("faulthandler of another descriptor", "faulthandler.enable(open('faults', 'w'))", **null_read)
    yield from both("faulthandler, abort", "faulthandler.enable()", call="os.abort()", causes=("abort",),
                    signal=signal.SIGABRT)
    yield case("raises again, before", "held.handle_by_raising(11)", **null_read)
    yield case("raises again, with siginfo, before", "held.handle_by_raising_with_info(11)", **null_read)
    # It is gone before its handler comes back: without a report, and as without the tracker.
    yield case("raises at once, with SA_NODEFER, before", "held.handle_by_raising_at_once(11)", kind="none")
    yield case("raises a division again, before", "held.handle_by_raising_with_info(8)", call="held.divide()",
               causes=("division_by_zero",), signal=signal.SIGFPE, function="divide")
    yield case("passes on the number alone, after", after="held.handle_by_number(11)", causes=("sent_signal",),
               same_instruction=False)
    yield case("once, before", before="held.handle_once(11)", **null_read)
    yield from both("recovers by mprotect", "held.handle_by_mprotect()", call="print(held.fault_and_recover(1000))",
                    ends=0, kind="none")
    yield from both("recovers by siglongjmp", "held.handle_by_jump()", call="print(held.fault_and_recover(1000))",
                    ends=0, kind="none")
    yield from both("recovers by longjmp, with SA_NODEFER", "held.handle_by_jump_without_mask()",
                    call="print(held.fault_and_recover(1000))", ends=0, kind="none")
    yield from both("recovers by longjmp, with SA_NODEFER, then dies", "held.handle_by_jump_without_mask()",
                    call="held.fault_and_recover(100); held.null_read()", **null_read)
    for name, recovering in (("mprotect", "handle_by_mprotect"), ("siglongjmp", "handle_by_jump")):
        yield from both("recovers by %s, then dies" % name, "held.%s()" % recovering,
                        call="held.fault_and_recover(100); held.null_read()", **null_read)
    yield from both("ignored when it is sent", "signal.signal(signal.SIGSEGV, signal.SIG_IGN)",
                    call="os.kill(os.getpid(), 11)", ends=0, kind="none")
    yield case("ignored, but a fault, before", "signal.signal(signal.SIGSEGV, signal.SIG_IGN)", **null_read)
    yield from both("handler in Python of a signal that is sent",
                    "signal.signal(signal.SIGABRT, lambda *_: print('handled', flush=True))",
                    call="os.kill(os.getpid(), 6)", ends=0, kind="none")
    yield from both("handler in Python that ends the program",
                    "signal.signal(signal.SIGABRT, lambda *_: sys.exit(3))",
                    call="os.kill(os.getpid(), 6)", ends=3, kind="none")
    # Handlers that displace the tracker's: the monitor (pyunwind run) is who tells of such a death.
    yield case("faulthandler disabled afterwards", "faulthandler.enable()", "faulthandler.disable()", kind="none")
    yield case("raises again by default, after", after="held.handle_by_raising(11)", kind="none")
    yield case("once, after", after="held.handle_once(11)", kind="none")
    yield case("set to the default afterwards", after="signal.signal(signal.SIGSEGV, signal.SIG_DFL)", kind="none")
    yield case("removed", after="tracker = install(); tracker and tracker.pyunw_crash_remove()", kind="none")
    yield case("installed twice", after="install()", **null_read)
    yield case("faulthandler between two installations", after="faulthandler.enable(); install()", **null_read)


LOOP = """\
from program import *
import signal
%s
install()
%s
print("it begins", flush=True)
held.null_read()
"""


def seconds_of(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def watch_loop(process, folder):
    """Until it has begun, and then has worked for a while without an end."""
    deadline = time.monotonic() + 120
    output = os.path.join(folder, "output")
    while time.monotonic() < deadline and os.path.getsize(output) == 0:
        time.sleep(0.01)
    begun = seconds_of(process.pid)
    while time.monotonic() < deadline and seconds_of(process.pid) < begun + 0.3:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.01)
    process.kill()


def test_loop(corpus, name, before, after):
    """A handler in Python of its own faults never runs, since the fault comes again at once: for ever."""
    loop = Crash(name, LOOP % (before, after), kind="none", ends=-signal.SIGKILL)
    if not corpus.is_wanted(loop):
        return
    corpus.case = loop
    corpus.made += 1
    bare = run(loop, corpus.folder("bare"), False, corpus.crasher, watch=watch_loop)
    outcome = run(loop, corpus.folder("tracked"), True, corpus.crasher, watch=watch_loop)
    corpus.compare(bare, outcome)
    files = files_of(corpus.folder("tracked"))
    corpus.check(not files, "it goes on, and there is a report", files)


def main():
    corpus = Corpus()
    for crash in cases():
        corpus.test(crash)
    handler = "signal.signal(signal.SIGSEGV, lambda *_: None)"
    test_loop(corpus, "handler in Python that loops, before", handler, "")
    test_loop(corpus, "handler in Python that loops, after", "", handler)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
