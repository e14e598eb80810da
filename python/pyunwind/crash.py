"""
A report of how the process died (docs/crash.md).

    import pyunwind.crash
    pyunwind.crash.install()

From now on a fatal signal leaves a report, and the process dies as it would have died. `pyunwind report` shows it.
"""

import ctypes
import os
from typing import Any, Iterable, Optional, Union

from . import _library, _threads

__all__ = ["CrashError", "attach_thread", "install", "remove", "report_now"]

_install = _library.holding_gil("pyunw_crash_install")
_remove = _library.holding_gil("pyunw_crash_remove")
_attach_thread = _library.holding_gil("pyunw_crash_attach_thread")
_report_now = _library.releasing_gil("pyunw_crash_report_now")

# enum pyunw_crash_flags
_NO_NATIVE, _NO_COMMAND, _LOCALS, _ONLY_CRASHED, _TEXT = 1, 2, 4, 8, 16

_Path = Union[str, bytes, "os.PathLike[Any]"]


class CrashError(OSError):
    """What the system refuses or has not got; code is the enum pyunw_err of pyunwind.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _raise(code: int, message: str = "") -> None:
    message = message or _library.describe(code)
    if code == _library.ERR_ARGUMENT:
        raise ValueError(message)
    if code == _library.ERR_NOT_OPEN:
        raise RuntimeError("pyunwind.crash is not installed")
    raise CrashError(code, message)


def _path(path: Optional[_Path]) -> Optional[bytes]:
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _signal_bits(signals: Optional[Iterable[int]]) -> int:
    bits = 0
    for number in signals or ():
        if not 1 <= number <= 64:
            raise ValueError("signal number out of range: %d" % number)
        bits |= 1 << (int(number) - 1)
    return bits


def _descriptor(file: Any) -> int:
    if file is None:
        return 0
    fd = file if isinstance(file, int) else file.fileno()
    if fd < 3:
        raise ValueError("report_fd has to be 3 or more, not %d" % fd)
    return fd


def install(
    report_dir: Optional[_Path] = None,
    signals: Optional[Iterable[int]] = None,
    time_limit: Optional[float] = None,
    native: bool = True,
    locals: bool = False,
    command: bool = True,
    all_threads: bool = True,
    text: bool = False,
    hook: Optional[str] = None,
    report_size: Optional[int] = None,
    reports_kept: Optional[int] = None,
    report_fd: Any = None,
    helper: Optional[_Path] = None,
    threads: bool = True,
    report_signal: Optional[int] = None,
) -> None:
    """
    Take the fatal signals, in every thread and in children that fork() makes. Called again, it changes the options.

    report_dir    folder for the reports; default: PYUNWIND_REPORT_DIR, else ~/.local/state/pyunwind
    signals       default: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP
    time_limit    seconds from the fault until the process dies, whatever hangs; default: 10
    native        tell C frames, too
    locals        tell arguments and local variables, which may hold secrets
    command       tell the command line, which may hold secrets
    all_threads   tell all threads, not only the one that crashed
    text          write the report for people to standard error, too
    hook          command for /bin/sh, run on each finished report, whose path is $1
    report_size   bytes of a report at most; default: 16 MiB
    reports_kept  the newest of a folder that are kept; default: 100; less than 0: all
    report_fd     a descriptor, or a file that has one, which reports are written to as well
    helper        the command pyunwind, which completes reports; default: PYUNWIND_HELPER, else the one beside the
                  library, else the one in PATH
    threads       give threads that are started later by threading an alternate signal stack each, so that the overflow
                  of a stack can be reported; the calling thread has one in any case
    report_signal  a signal that asks for a report of the process, which goes on

    Raises ValueError for an argument that is none, CrashError (an OSError) where the folder, the command or a stack is
    not to be had.
    """
    flags = (
        (0 if native else _NO_NATIVE)
        | (0 if command else _NO_COMMAND)
        | (_LOCALS if locals else 0)
        | (0 if all_threads else _ONLY_CRASHED)
        | (_TEXT if text else 0)
    )
    if time_limit is not None and not 0 < time_limit < 1e6:
        raise ValueError("a time limit of %r seconds" % (time_limit,))
    message = ctypes.create_string_buffer(1024)
    options = _library.CrashOptions(
        size=ctypes.sizeof(_library.CrashOptions),
        report_dir=_path(report_dir),
        helper=_path(helper),
        signals=_signal_bits(signals),
        time_limit=0 if time_limit is None else max(1, round(time_limit * 1000)),
        flags=flags,
        hook=_path(hook),
        report_size=report_size or 0,
        reports_kept=reports_kept or 0,
        report_fd=_descriptor(report_fd),
        report_signal=report_signal or 0,
        message=ctypes.cast(message, ctypes.c_char_p),
        message_size=len(message),
    )
    result = _install(ctypes.byref(options))
    if result < 0:
        _raise(result, os.fsdecode(message.value))
    if threads:
        _threads.watch("crash")
    else:
        _threads.unwatch("crash")


def remove() -> None:
    """Give the signals back to the handlers that were there before. Without effect where it is not installed."""
    _threads.unwatch("crash")
    result = _remove()
    if result < 0:
        _raise(result)


def report_now() -> None:
    """
    Write a report of the process as it is now; it goes on. Other threads run on meanwhile.

    Raises RuntimeError where nothing is installed, CrashError where no report came about before the time limit.
    """
    result = _report_now()
    if result < 0:
        _raise(result)


def attach_thread() -> None:
    """
    Give the calling thread an alternate signal stack, so that an overflow of its own stack can be reported: for threads
    that run already, or that another library started. One that has such a stack keeps it.

    Raises CrashError where there is no memory.
    """
    result = _attach_thread()
    if result < 0:
        _raise(result)
