"""
Threads that stand still while their stacks are written. They change hands only where one blocks (the switch interval
is endless), so that nothing moves while a test holds the GIL. Runs on CPython 3.8 to 3.15, also in a sub-interpreter.
"""

import _thread
import ctypes
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import pyunw

PR_SET_NAME = 15

sys.setswitchinterval(1e6)
target = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED)
prctl = ctypes.PyDLL(None).prctl

# Asked of the interpreter, so that the order of the threads and which is the current one are not pyunwind's word.
own_tstate = ctypes.pythonapi["PyThreadState_Get"]
own_tstate.restype, own_tstate.argtypes = ctypes.c_void_p, []


def set_kernel_name(name):
    assert prctl(PR_SET_NAME, name) == 0


def stand(ready, gate, depth):
    if depth > 0:
        return stand(ready, gate, depth - 1)
    ready.release(), gate.acquire()


class StandingThreads:
    """Threads blocked in a lock, at depths that differ, until the `with` block is left; every other has a name."""

    def __init__(self, count, names=()):
        self.count = count
        self.names = names
        self.gates = []
        self.ended = []

    def __enter__(self):
        self.before = listed()
        for number in range(self.count):
            ready, gate, ended = (_thread.allocate_lock() for _ in range(3))
            for lock in (ready, gate, ended):
                lock.acquire()
            arguments = (number, ready, gate, ended)
            if number % 2:
                threading.Thread(target=self.run, args=arguments, name="worker-%d" % number, daemon=True).start()
            else:
                _thread.start_new_thread(self.run, arguments)
            ready.acquire()
            self.gates.append(gate)
            self.ended.append(ended)
        wait_until_detached(self.count)
        return self

    def run(self, number, ready, gate, ended):
        if number < len(self.names):
            set_kernel_name(self.names[number])
        stand(ready, gate, number % 7)
        ended.release()

    def __exit__(self, *_):
        for gate, ended in zip(self.gates, self.ended):
            gate.release()
            ended.acquire()
        # Without the GIL a thread has its thread state still when it has said that it ends.
        while not listed() <= self.before:
            os.sched_yield()


def listed():
    return {(thread.interpreter, thread.id) for thread in pyunw.threads(target)}


def wait_until_detached(count):
    """Without the GIL a thread runs on to its lock after it said that it is there."""
    while True:
        others = [thread for thread in pyunw.threads(target) if not thread.flags & pyunw.PYUNW_THREAD_CURRENT]
        standing = [thread for thread in others if not thread.flags & pyunw.PYUNW_THREAD_ATTACHED]
        if len(standing) == len(others) >= count:
            return
        os.sched_yield()


class MovingThread:
    """A thread that stands still in inner(), and after move() in other(), at a line of the same frame beneath."""

    def __init__(self):
        self.moved = False
        self.ready, self.gate, self.ended = (_thread.allocate_lock() for _ in range(3))
        for lock in (self.ready, self.gate, self.ended):
            lock.acquire()
        _thread.start_new_thread(self.run, ())
        self.ready.acquire()
        wait_until_detached(1)
        (self.tstate,) = (thread.tstate for thread in pyunw.threads(target) if thread.tstate != own_tstate())
        self.frames = pyunw.walk(target, self.tstate)[0]

    def run(self):
        self.outer()
        self.ended.release()

    def outer(self):
        self.inner()
        self.other()

    def inner(self):
        self.ready.release(), self.gate.acquire()

    def other(self):
        self.ready.release(), self.gate.acquire()

    def move(self):
        self.moved = True
        self.gate.release()
        self.ready.acquire()

    def end(self):
        if not self.moved:
            self.move()
        self.gate.release()
        self.ended.acquire()


def make_interpreter():
    """(the module of sub-interpreters, the id of a new one that shares the GIL)"""
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters as module
    else:
        return _interpreters, _interpreters.create("legacy")
    return module, module.create(isolated=False) if sys.version_info >= (3, 9) else module.create()
