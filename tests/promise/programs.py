"""
Stacks to be read by the tests of the promise and of damage, with what the interpreter itself says of them.

    descend(DEPTH, action)    calls action() at the end of a stack of functions, generators, coroutines, class bodies,
                              modules and callbacks from C, with names of every kind that pyunwind has to decode
    with BlockedThread(DEPTH) as thread:    another thread that rests at the end of such a stack
    with BusyThread() as thread:            another thread that calls and returns without end

Runs on CPython 3.8 to 3.15.
"""

import os
import platform
import sys
import threading
import time
import types

READ_NUMBER = {"x86_64": 0, "aarch64": 63}[platform.machine()]  # SYS_read

LONG_FILENAME = "/" + "/".join("folder%02d" % n for n in range(90)) + "/module.py"  # 900 bytes
LONG_NAME = "".join("name%03d_" % n for n in range(80))  # 640 bytes


def renamed(function, filename=None, name=None, qualname=None):
    code = function.__code__
    changes = {"co_filename": filename or code.co_filename, "co_name": name or code.co_name}
    if sys.version_info >= (3, 11):
        changes["co_qualname"] = qualname or name or code.co_qualname
    return types.FunctionType(code.replace(**changes), function.__globals__, name or function.__name__)


# Each step calls the next one of the chain; the last of the chain is the action.


def function(chain):
    return chain[0](chain[1:])


def generator(chain):
    def produce():
        yield chain[0](chain[1:])

    return sum(x or 0 for x in produce())


def coroutine(chain):
    async def inner():
        return chain[0](chain[1:])

    async def outer():
        return await inner()

    try:
        outer().send(None)
    except StopIteration as stop:
        return stop.value


def asynchronous_generator(chain):
    async def produce():
        yield chain[0](chain[1:])

    try:
        produce().__anext__().send(None)
    except StopIteration as stop:
        return stop.value


def class_body(chain):
    class Body:
        value = chain[0](chain[1:])

    return Body.value


def module_body(chain):
    exec(compile("value = chain[0](chain[1:])", "<module of a test>", "exec"), {"chain": chain})


def callback(chain):
    sorted([0], key=lambda _: chain[0](chain[1:]))


STEPS = [
    function,
    generator,
    renamed(function, filename=LONG_FILENAME, name=LONG_NAME, qualname=LONG_NAME + "." + LONG_NAME),
    coroutine,
    renamed(function, filename="/tmp/pr\xe9nom\xe9.py", name="\xe9t\xe9", qualname="Caf\xe9.\xe9t\xe9"),
    callback,
    renamed(function, filename="\u0436" * 700, name="\u0436" * 300, qualname="\u0436" * 600),
    class_body,
    renamed(function, filename="\U0001f40d" * 300, name="\U0001f40d" * 100, qualname="\U0001f40d" * 200),
    asynchronous_generator,
    renamed(function, filename="\udc80" * 200, name="a\udcff" * 60, qualname="\ud800.\udfff" * 60),
    module_body,
]


def descend(depth, action):
    """Call action() after depth steps, and return its result where the steps hand results on."""

    def last(_):
        return action()

    chain = [STEPS[n % len(STEPS)] for n in range(depth)] + [last]
    return chain[0](chain[1:])


def frames_from(frame):
    """What the interpreter says of a stack, innermost first: (code address, f_lasti, filename, name, line)."""
    found = []
    while frame is not None:
        code = frame.f_code
        found.append((id(code), frame.f_lasti, code.co_filename, code.co_name, frame.f_lineno))
        frame = frame.f_back
    return found


def depth_of_own_stack():
    """Frames on the caller's stack, with its own."""
    return len(frames_from(sys._getframe(1)))


class _Thread:
    def __init__(self, body):
        self.body = body
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.tstate = 0

    def _run(self):
        self.body()

    def __enter__(self):
        self.thread.start()
        self.ready.wait()
        return self

    def __exit__(self, *_):
        self.leave()
        self.thread.join()

    def find(self, threads):
        """Set and return the thread state, of what pyunw.threads() returned."""
        (self.tstate,) = [thread.tstate for thread in threads if thread.thread_id == self.thread.ident]
        return self.tstate

    def frames(self):
        return frames_from(sys._current_frames()[self.thread.ident])


class BlockedThread(_Thread):
    """Rests in a read of an empty pipe, so that nothing wakes it but its end."""

    def __init__(self, depth):
        self.ready = threading.Event()
        self.pipe = os.pipe()
        super().__init__(lambda: descend(depth, self._rest))

    def _rest(self):
        self.ready.set()
        os.read(self.pipe[0], 1)

    def __enter__(self):
        super().__enter__()
        while not self._is_in_read():
            time.sleep(0)
        return self

    def _is_in_read(self):
        """Does the kernel say that it sleeps in read(2) of the pipe? "running" or "number arguments...": proc(5)."""
        with open("/proc/self/task/%d/syscall" % self.thread.native_id) as file:
            return file.read().split()[:2] == [str(READ_NUMBER), hex(self.pipe[0])]

    def leave(self):
        os.write(self.pipe[1], b"x")

    def __exit__(self, *_):
        super().__exit__()
        for end in self.pipe:
            os.close(end)


class BusyThread(_Thread):
    """Calls, returns, makes code objects and generators without end."""

    def __init__(self):
        self.ready = threading.Event()
        self.stopped = False
        super().__init__(self._work)

    def _work(self):
        while not self.stopped:
            for depth in (3, 24, 11):
                descend(depth, self.ready.set)
            exec("def made(n):\n    return n and made(n - 1)\nmade(9)", {})

    def leave(self):
        self.stopped = True
