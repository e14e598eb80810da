"""
An alternate signal stack for each thread that threading starts, so that the overflow of its stack can be reported.

threading calls Thread._set_ident() in the new thread, before the program's own run(). Its frame is gone when run() is
called: no traceback shows it, whatever a subclass overrides. The stack is given back when the thread's locals are
cleared, which CPython does last.
"""

import threading
from _thread import get_ident

from . import _library

_attach = _library.holding_gil("pyunw_crash_attach_thread")
_detach = _library.holding_gil("pyunw_crash_detach_thread")
_set_ident = threading.Thread._set_ident  # type: ignore[attr-defined]
_local = threading.local()
_users = set()


class _Stack:
    """Belongs to the locals of its thread. At the end of the interpreter another thread clears those of all."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def __del__(self, get_ident=get_ident, detach=_detach) -> None:
        if get_ident() == self.thread:
            detach()


def _set_ident_and_stack(self) -> None:
    _set_ident(self)
    # The end of a thread that another library started, and of the main one, would not be known.
    if _users and not isinstance(self, (threading._DummyThread, threading._MainThread)):  # type: ignore[attr-defined]
        if _attach() == 0:
            _local.stack = _Stack()


def watch(user: str) -> None:
    """Threads are given a stack from now on, until every user has said unwatch()."""
    _users.add(user)
    if threading.Thread._set_ident is _set_ident:  # type: ignore[attr-defined]
        threading.Thread._set_ident = _set_ident_and_stack  # type: ignore[attr-defined]


def unwatch(user: str) -> None:
    """Threads that run keep their stacks. The method is given back unless another has been put in front of it."""
    _users.discard(user)
    if not _users and threading.Thread._set_ident is _set_ident_and_stack:  # type: ignore[attr-defined]
        threading.Thread._set_ident = _set_ident  # type: ignore[attr-defined]
