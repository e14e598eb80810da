"""
How the tests run against a build with AddressSanitizer and UndefinedBehaviorSanitizer (tests/run --sanitized).

A Python that loads a sanitized library by ctypes needs the sanitizers' runtime before libc: it is preloaded into every
process of a test. What they find goes into files, since a test may swallow the output, or the exit status, of a process
that it started. Runs on the Python that runs tests/run.
"""

import contextlib
import fnmatch
import functools
import os
import shlex
import shutil
import subprocess
from pathlib import Path

COMPILER = os.environ.get("SANITIZED_CC", "clang-14").split()  # as the Makefile
FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-shared-libsan",
         "-Wno-ignored-optimization-argument"]  # what gcc compiled an interpreter with

OPTIONS = {
    "verify_asan_link_order": 0,  # a test preloads libraries of its own, too, and they may come first
    # Faults and alternate stacks belong to the program under test, as they do without sanitizers.
    "handle_segv": 0,
    "handle_sigbus": 0,
    "handle_sigfpe": 0,
    "handle_sigill": 0,
    "handle_abort": 0,
    "allow_user_segv_handler": 1,
    "use_sigaltstack": 0,
    "disable_coredump": 0,
    # An interpreter frees little of what it allocated when it ends. Programs that free all are asked below.
    "detect_leaks": 0,
    "exitcode": 86,
}

# Programs that are to give back all they allocated, by the name of their file.
LEAK_CHECKED = ["pyunwind"]

# Programs that start or trace others, and do not work with the runtime in them. They and what they start run without.
WITHOUT_RUNTIME = ["gdb", "gcore", "llvm-symbolizer"]

# Tests that would show nothing more, or cannot run, and why.
SKIPPED = {
    "cross/aarch64": "it compiles for another machine and runs nothing",
    "demo/minimal": "it shows the README's command, which preloads what was built without the runtime",
    "examples/allocation_profiler": "it stands in for malloc, as the sanitizer does",
    "symbols/symbols": "it is about symbols, of which the sanitizers ask for their own",
    "promise/stack_bound": "a function that is sanitized needs more stack",
    "valgrind/command": "valgrind does not run what is sanitized",
    "threads/threads": "it is sanitized already, by ThreadSanitizer",
    "promise/heap_lock": "the heap that it locks is not the sanitizer's",
    "promise/hooks": "it closes all foreign code, the sanitizers' included",
    "promise/state": "its address where nothing lies is in the sanitizer's shadow, which also maps what it likes",
    "faults/*": "the system calls that are failed are the sanitizers', too",
    "fuzz/*": "it is sanitized already",
    "lint/lint": "it reads sources and runs nothing",
}


def reason_to_skip(name):
    """Why a test is not run sanitized, or None."""
    return next((reason for pattern, reason in SKIPPED.items() if fnmatch.fnmatchcase(name, pattern)), None)


def environment(build, reports):
    """What is set for every process of a test; a process writes what it finds to reports/found.PID."""
    folder = Path(build) / "tests" / "sanitizers"
    options = dict(OPTIONS, log_path=Path(reports) / "found", include_if_exists=folder / "%b")
    options["external_symbolizer_path"] = folder / "bin" / "llvm-symbolizer"
    library = runtime()
    return {
        "PYUNWIND_SANITIZED": " ".join([*COMPILER, *FLAGS, "-Wl,-rpath," + os.path.dirname(library)]),
        "LD_PRELOAD": library,
        "PATH": "%s:%s" % (folder / "bin", os.environ["PATH"]),
        "ASAN_OPTIONS": ":".join("%s=%s" % option for option in options.items()),
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def prepare(build):
    """Write what environment() names: options of single programs, and programs that start others without the runtime."""
    folder = Path(build) / "tests" / "sanitizers"
    shutil.rmtree(folder / "found", ignore_errors=True)
    (folder / "found").mkdir(parents=True)
    (folder / "bin").mkdir(exist_ok=True)
    for name in LEAK_CHECKED:
        (folder / name).write_text("detect_leaks=1\n")
    for name in WITHOUT_RUNTIME:
        path = shutil.which(name)
        if path is not None:
            wrapper = folder / "bin" / name
            wrapper.write_text('#!/bin/sh\nunset LD_PRELOAD\nexec %s "$@"\n' % shlex.quote(path))
            wrapper.chmod(0o755)


@functools.lru_cache(maxsize=None)
def runtime():
    """The path of the sanitizers' runtime library, as the compiler knows it."""
    name = "libclang_rt.asan-%s.so" % os.uname().machine
    printed = subprocess.run([*COMPILER, "-print-file-name=" + name], stdout=subprocess.PIPE, check=True, text=True)
    return os.path.realpath(printed.stdout.strip())


def take_stray_reports(build, folder):
    """
    Move what was found in processes that have only the options of tests/support/sanitizer_defaults.c into a test's
    folder. Of which test they were is not known: this one, or one that ran beside it.
    """
    for path in (Path(build) / "tests" / "sanitizers" / "found").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another test took it
            path.rename(folder / path.name)


def read_reports(folder):
    """What was found, as a list of texts. That a process in a sandbox cannot be looked at for leaks is no finding."""
    texts = [path.read_text(encoding="utf-8", errors="backslashreplace") for path in sorted(folder.iterdir())]
    return [text for text in texts if "LeakSanitizer has encountered a fatal error" not in text]
