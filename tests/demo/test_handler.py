# interpreters: each
"""
The demo's signal handlers (examples/demo/handler.c) beside what the demo shows: a stack overflow, a handler that was
installed before or after them, a signal that was sent, a program that is not Python. The oracle for the text is the
interpreter's own faulthandler.
"""

import os
import platform
import re
import resource
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_shared, preloading

HANDLER = os.path.join(os.environ["PYUNWIND_BUILD"], "examples", "libdemo_handler.so")

OVERFLOW = """\
int dive(int depth)
{
    volatile char room[4096];
    if (depth < 0)
        return 0;
    room[0] = (char)depth;
    return dive(depth + 1) + room[0];
}
"""


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))


def run(*command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["LD_PRELOAD"] = preloading(HANDLER)
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=limit,
    )
    assert done.stdout == b"", done.stdout
    return done.returncode, done.stderr.decode()


def sections(report):
    match = re.fullmatch(r"(.*)\n\[frames\]\n(.*)\[text\]\n(.*)\[json\]\n(.*)\[end\]\n", report, re.S)
    assert match, report
    return match.groups()


def run_python(*command):
    status, written = run(sys.executable, *command)
    return (status,) + sections(written)


def test_stack_overflow():
    """No room is left on the thread's stack: the report is written on the alternate one."""
    library = compile_shared("overflow", OVERFLOW)
    program = "import ctypes\ndef overflow():\n    ctypes.CDLL(%r).dive(0)\noverflow()" % library
    status, heading, frames, text, lines = run_python("-c", program)
    assert status == -signal.SIGSEGV, status
    assert re.search(r", at address 0x[0-9a-f]+ \((not mapped|not allowed)\)$", heading), heading
    assert re.search(r"^  <string>:3(:5)? overflow\n  <string>:4(:1)? <module>\n$", frames, re.M), frames


def test_faulthandler_after():
    """It dumps first and gives the fault back to ours, which gives it to the default action."""
    program = "import ctypes\ndef crash():\n    ctypes.string_at(0)\ncrash()"
    status, written = run(sys.executable, "-X", "faulthandler", "-c", program)
    assert status == -signal.SIGSEGV, status
    before, mark, report = written.partition("SIGSEGV in CPython")
    text = sections(mark + report)[2]
    assert 'line 3 in crash\n  File "<string>", line 4 in <module>\n' in text, text
    wanted = "Fatal Python error: Segmentation fault\n\n" + text
    assert before.startswith(wanted), "%s\nnot the start of\n%s" % (wanted, before)


def test_previous_handler():
    """Where one was there before ours, it gets the fault, at the same address. Here: a program that loads ours late."""
    program = """if True:
        import ctypes, faulthandler, sys
        faulthandler.enable()
        ctypes.CDLL(%r)
        ctypes.string_at(16)
    """ % HANDLER
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
    environment["LD_PRELOAD"] = preloading()
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment, preexec_fn=limit)
    assert done.returncode == -signal.SIGSEGV, done.returncode
    report, mark, dump = done.stderr.decode().partition("[end]\n")
    heading, frames, text, lines = sections(report + mark)
    assert heading.endswith(", at address 0x10 (not mapped)"), heading
    assert dump.startswith("Fatal Python error: Segmentation fault\n\n" + text), dump


def test_fault_without_address():
    """Where the processor does not tell the address, none is shown: 0 would be a wrong one."""
    program = "import ctypes\nctypes.string_at(0x4141414141414141)"
    status, heading, frames, text, lines = run_python("-c", program)
    assert status == -signal.SIGSEGV, status
    known = ", at address 0x4141414141414141 (not mapped)"
    wanted = ", at an address that is not known" if platform.machine() == "x86_64" else known
    assert heading.endswith(wanted), heading


def test_sent_signal():
    """A SIGSEGV that was sent: no address, and the program dies of it all the same."""
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"
    status, heading, frames, text, lines = run_python("-c", program)
    assert status == -signal.SIGSEGV, status
    assert re.fullmatch(r"SIGSEGV in CPython \S+(, free-threaded)?, process \d+", heading), heading
    assert ", crashed here\n" in frames, frames


def test_program_goes_on():
    """SIGUSR1 from a program to itself, again and again; it ends as it would have ended."""
    program = """if True:
        import os, signal, sys
        def again(depth):
            os.kill(os.getpid(), signal.SIGUSR1)
            if depth:
                again(depth - 1)
        again(3)
        sys.exit(5)
    """
    status, written = run(sys.executable, "-c", program)
    assert status == 5, status
    reports = [sections(part + "[end]\n") for part in written.split("[end]\n")[:-1]]
    assert [frames.count(" again\n") for heading, frames, text, lines in reports] == [1, 2, 3, 4], written


def test_other_program():
    """Preloaded into what is not Python, it takes no signal."""
    status, written = run("/bin/sh", "-c", "kill -USR1 $$")
    assert (status, written) == (-signal.SIGUSR1, ""), (status, written)


def main():
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    for test in tests:
        test()
    print("%d situations" % len(tests))


if __name__ == "__main__":
    main()
