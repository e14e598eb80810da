"""
The program that is looked at. It starts the threads that $SUBJECT asks for (names of the functions of `kinds`, with
commas between them) and brings each to a known point. When those that stand still are on their way to it, it prints
their kernel ids as one line of JSON and reads a byte: who runs it sees to it that they have arrived. Then it starts
those that move, prints what the interpreter itself says of every stack as another line, and stands still until its
standard input ends. Runs as a file, by -c and -m, and inside a C program.
"""

import json
import os
import sys
import threading
import time

ready_end, ready = os.pipe()
never = threading.Lock()
never.acquire()
moving = {}  # thread id: the line that a thread which does not stand still keeps to
told_inside = []  # what a sub-interpreter said of its own stack


STACK_SOURCE = '''
def stack(frame):
    told = []
    while frame is not None:
        code = frame.f_code
        told.append([code.co_filename, code.co_name, getattr(code, "co_qualname", None), frame.f_lineno])
        frame = frame.f_back
    return told
'''

exec(STACK_SOURCE)  # a sub-interpreter is given it too


# ---- Threads: each stands on the line on which it says that it is ready ----------------------------------------------


def lock():
    os.write(ready, b"r"); never.acquire()  # noqa: E702


def deep(depth=500):
    if depth > 1:
        return deep(depth - 1)
    os.write(ready, b"r"); never.acquire()  # noqa: E702


def generator():
    def inner():
        yield (os.write(ready, b"r"), never.acquire())

    def outer():
        yield from inner()

    return sorted(outer(), key=lambda item: item)


class Method:
    def method(self):
        os.write(ready, b"r"); never.acquire()  # noqa: E702


def method():
    Method().method()


def names():
    """A function and a file whose names are not ASCII, and others that are long."""
    long_name, long_file = "f" * 5000, "/" + "x" * 3000 + "/" + "ж" * 2000 + ".py"
    source = "def %s(call):\n    call()\ndef größe_変数(call):\n    call()\n" % long_name
    made = {}
    exec(compile(source, long_file, "exec"), made)
    inner = {}
    exec(compile("def größe_𐐀(call):\n    call()\n", "crêpe_日本_😀.py", "exec"), inner)
    made[long_name](lambda: made["größe_変数"](lambda: inner["größe_𐐀"](lock)))


def sleep():
    os.write(ready, b"r"); time.sleep(1 << 20)  # noqa: E702


def deadlock():
    """Two threads, each of which holds the lock that the other waits for."""
    first, second = threading.Lock(), threading.Lock()
    held_end, held = os.pipe()

    def other():
        with second:
            os.write(held, b"h"); first.acquire()  # noqa: E702

    with first:
        threading.Thread(target=other, daemon=True).start()
        os.read(held_end, 1)
        os.write(ready, b"r"); second.acquire()  # noqa: E702


def coroutine():
    """A task of asyncio, which awaits a coroutine in another."""
    import asyncio

    async def inner():
        os.write(ready, b"r"); never.acquire()  # noqa: E702

    async def outer():
        async for item in numbers():
            await inner()

    async def numbers():
        yield 1

    async def both():
        await asyncio.gather(outer(), asyncio.sleep(0))

    asyncio.run(both())


mapped = []


def mapping():
    """10 GB that nothing is in."""
    import mmap  # not everywhere: a program that exports nothing loads no module of C

    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    mapped.append(mmap.mmap(-1, 10 << 30, flags=flags))
    os.write(ready, b"r"); never.acquire()  # noqa: E702


def busy():
    moving[threading.get_ident()] = sys._getframe().f_lineno + 1
    while True: pass  # noqa: E701


def nothing(item):
    return None


def calls():
    """Short calls without end: the innermost frame comes and goes."""
    moving[threading.get_ident()] = sys._getframe().f_lineno + 1
    while True: nothing(None)  # noqa: E701


INNER = """
import json, os, sys
%s
def tell():
    os.write(%d, (json.dumps(stack(sys._getframe(1))) + "\\n").encode())
def wait():
    tell(); os.read(%d, 1)
wait()
"""


def interpreter():
    """A sub-interpreter, which tells its own stack."""
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
    from_inside, inside = os.pipe()
    waits, _ = os.pipe()
    made = interpreters.create()
    told_inside.append([int(made), from_inside, threading.get_ident()])
    source = INNER % (STACK_SOURCE, inside, waits)
    run = "exec(compile(%r, 'inner.py', 'exec'), {'__name__': 'inner'})" % source
    os.write(ready, b"r"); interpreters.run_string(made, run)  # noqa: E702


kinds = {function.__name__: function for function in (
    lock, deep, generator, method, names, sleep, deadlock, coroutine, mapping, busy, calls, interpreter)}
MOVING = ("busy", "calls")


# ---- The truth ------------------------------------------------------------------------------------------------------


def read_line(fd):
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(fd, 1 << 16)
    return line


def told_by(thread, own_frame):
    thread_id = thread.ident
    frame = own_frame if thread_id == threading.get_ident() else sys._current_frames()[thread_id]
    told = {"thread_id": thread_id, "native_id": thread.native_id, "interpreter_id": 0, "moves": thread_id in moving}
    if thread_id in moving:
        while frame.f_lineno != moving[thread_id] or frame.f_code.co_name not in kinds:
            frame = sys._current_frames()[thread_id]
    told["stack"] = stack(frame)
    return told


def tell(**more):
    """Print the stacks; that of the calling thread without this function's frame."""
    own_frame = sys._getframe(1)
    threads = [told_by(thread, own_frame) for thread in threading.enumerate()]
    for number, _, thread_id, inner in told_inside:
        native_id = next(told["native_id"] for told in threads if told["thread_id"] == thread_id)
        threads.append({"thread_id": thread_id, "native_id": native_id, "interpreter_id": number, "moves": False,
                        "stack": inner})
    truth = dict(more, pid=os.getpid(), version=sys.version.split()[0], threads=threads)
    data = (json.dumps(truth) + "\n").encode()
    while data:
        data = data[os.write(1, data):]


def give_up(arguments):
    """A thread that fails will never be ready."""
    sys.__excepthook__(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(1)


def start_standing(kind):
    threading.Thread(target=kinds[kind], daemon=True).start()
    os.read(ready_end, 1)
    if kind == "interpreter":
        # One after the other: some versions crash where two are made at a time.
        told_inside[-1].append(json.loads(read_line(told_inside[-1][1]).decode()))


def start_moving(kind):
    before = len(moving)
    threading.Thread(target=kinds[kind], daemon=True).start()
    while len(moving) == before:
        os.sched_yield()


def main():
    threading.excepthook = give_up
    sys.setrecursionlimit(10000)
    threading.stack_size(int(os.environ.get("SUBJECT_STACK", 64 << 20)))
    wanted = [kind for kind in os.environ.get("SUBJECT", "").split(",") if kind]
    for kind in wanted:
        if kind not in MOVING:
            start_standing(kind)
    standing = [thread.native_id for thread in threading.enumerate() if thread.ident != threading.get_ident()]
    os.write(1, (json.dumps(standing) + "\n").encode())
    os.read(0, 1)
    for kind in wanted:
        if kind in MOVING:
            start_moving(kind)
    tell(); os.read(0, 1)  # noqa: E702


if __name__ in ("__main__", "subject"):
    main()
    os._exit(0)
