# interpreters: each
"""
pyunw_exception_find() against sys.exc_info(), at every place where an exception may be handled: except, finally, with,
generators, coroutines, destructors, deep recursion, threads; of the own thread in every memory, and of another. And
with every read refused in turn, and words of the stack of handled exceptions overwritten.
"""

import asyncio
import contextlib
import ctypes
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "damage"))

import exceptions
import pyunw
import snapshots

TARGETS = [pyunw.open_self(memory) for memory in
           (pyunw.PYUNW_MEMORY_DEFAULT, pyunw.PYUNW_MEMORY_DIRECT, pyunw.PYUNW_MEMORY_GUARDED)]
checked = found_some = 0


def find(target, tstate=0, library=pyunw.lib):
    """The pyunw_exception, or None."""
    exception = pyunw.pyunw_exception(flags=77)
    found = pyunw.check(library.pyunw_exception_find(target, tstate, exception))
    assert found == 1 or exception.flags == 77
    return exception if found else None


def check():
    """Called by a thread at a place of interest."""
    global checked, found_some
    error = sys.exc_info()[1]
    for target in TARGETS:
        for library in (pyunw.lib, pyunw.lib_holding_gil):
            exception = find(target, 0, library)
            assert (exception is None) == (error is None), (exception, error)
            if error is not None:
                assert (exception.object, exception.type) == (id(error), id(type(error))), error
                assert exception.flags == pyunw.PYUNW_EXCEPTION_HANDLED and exception.reserved == 0
                assert exceptions.describe(target, exception) == (exceptions.type_of(error), str(error), 0)
                found_some += 1
            checked += 1
    return error


# ---- Places ---------------------------------------------------------------------------------------------------------


def in_except():
    assert check() is None
    try:
        raise ValueError("outer")
    except ValueError as outer:
        assert check() is outer
        try:
            raise KeyError("inner")
        except KeyError as inner:
            assert check() is inner
        assert check() is outer
        with contextlib.suppress(OSError):
            os.stat("/no such file")
        assert check() is outer
    assert check() is None


def in_finally():
    seen = []
    try:
        try:
            raise RuntimeError("passing")
        finally:
            seen.append(check())
    except RuntimeError as error:
        assert seen == [error]
    try:
        pass
    finally:
        assert check() is None


class Context:
    def __enter__(self):
        assert check() is None

    def __exit__(self, kind, error, traceback):
        assert check() is error
        return True


def in_with():
    with Context():
        pass
    with Context():
        raise LookupError("in with")
    with contextlib.ExitStack() as stack:
        stack.push(Context())
        stack.callback(check)
        raise OSError(5, "text", "file")


def generator():
    check()
    yield 1
    try:
        raise ValueError("of the generator")
    except ValueError:
        check()
        yield 2
        check()
    check()
    try:
        yield 3
    except TypeError:
        check()
        yield 4


def delegating():
    yield from generator()


def in_generators():
    for make in (generator, delegating):
        made = make()
        next(made)
        assert check() is None
        next(made)  # it stands in its except block
        assert check() is None
        try:
            raise KeyError("of the caller")
        except KeyError as error:
            next(made)
            assert check() is error
            made.throw(TypeError("thrown in"))
            assert check() is error
            assert list(check() for _ in range(3)) == [error] * 3
            assert sorted([1, 2], key=lambda _: check() is error) == [1, 2]
        made.close()


async def in_coroutines():
    async def numbers():
        try:
            raise ValueError("of the asynchronous generator")
        except ValueError as error:
            assert check() is error
            yield 1
            assert check() is error

    async def other():
        assert check() is None
        await asyncio.sleep(0)
        assert check() is None

    task = asyncio.ensure_future(other())
    try:
        raise OSError("of the coroutine")
    except OSError as error:
        async for _ in numbers():
            check()
        await asyncio.sleep(0)
        assert check() is error
    await task


class Dying:
    def __del__(self):
        check()


def in_destructors():
    def leave(made):
        raise ValueError(made and "left")

    try:
        leave(Dying())
    except ValueError:
        Dying()
        check()
    check()


def deep(depth):
    """Generators within each other, of which only the outermost handles one."""
    check() if depth % 50 == 0 else None
    if depth:
        yield from deep(depth - 1)
    yield


def in_depth():
    try:
        raise ValueError("far outward")
    except ValueError:
        for _ in deep(200):
            check()


def in_excepthook():
    """Raised, told by the hook, handled no more."""
    seen = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: seen.append((check(), unraisable.exc_value))

    class Failing:
        def __del__(self):
            raise ValueError("in a destructor")

    Failing()
    sys.unraisablehook = hook
    assert len(seen) == 1


# ---- Another thread -------------------------------------------------------------------------------------------------


def of_another_thread():
    ready, go = threading.Event(), threading.Event()
    shared = {}

    def stand():
        shared["tstate"] = pyunw.current_thread(TARGETS[0])
        try:
            raise ValueError("of another thread")
        except ValueError as error:
            shared["error"] = error
            ready.set()
            go.wait()
            del shared["error"]

    thread = threading.Thread(target=stand)
    thread.start()
    ready.wait()
    assert check() is None
    for target in TARGETS:
        exception = find(target, shared["tstate"])
        assert exception.object == id(shared["error"])
        assert exceptions.describe(target, exception) == ("ValueError", "of another thread", 0)
    go.set()
    thread.join()


def of_a_running_thread():
    """Its exceptions come and go: what is told is one of them, none, or that it ran on."""
    stop, began = threading.Event(), threading.Event()
    names = {}
    errors = [ValueError("first"), KeyError("second")]

    def run():
        names["tstate"] = pyunw.current_thread(TARGETS[0])
        while not stop.is_set():
            for error in errors:
                try:
                    raise error
                except (ValueError, KeyError):
                    began.set()

    thread = threading.Thread(target=run)
    thread.start()
    began.wait()
    counts = {}
    exception = pyunw.pyunw_exception()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    deadline = time.monotonic() + 60  # to meet one may take longer, where the other thread seldom runs
    while sum(counts.values()) < 3000 or (1 not in counts and time.monotonic() < deadline):
        result = pyunw.lib.pyunw_exception_find(TARGETS[0], names["tstate"], exception)
        assert result in (0, 1, pyunw.PYUNW_ERR_TORN, pyunw.PYUNW_ERR_CORRUPT, pyunw.PYUNW_ERR_FAULT), result
        assert result != 1 or exception.object in [id(error) for error in errors], hex(exception.object)
        counts[result] = counts.get(result, 0) + 1
    sys.setswitchinterval(interval)
    stop.set()
    thread.join()
    assert counts.get(1, 0) > 0, counts


# ---- Damage ---------------------------------------------------------------------------------------------------------

READ_ERRORS = (pyunw.PYUNW_ERR_FAULT, pyunw.PYUNW_ERR_CORRUPT)


def ask(target, tstate):
    """(result, type, message, flags)"""
    exception, text = pyunw.pyunw_exception(), pyunw.pyunw_exception_text()
    result = pyunw.lib.pyunw_exception_find(target, tstate, exception)
    if result != 1:
        return result, None, None, 0
    result = pyunw.lib.pyunw_describe_exception(target, exception, text)
    return result if result < 0 else 1, text.text("type"), text.text("message"), text.flags


def refuse_reads(error, kind, message):
    """Each read, and all reads from it on: an error, or words of which those that are not true are marked."""
    info = pyunw.describe_target(TARGETS[0])
    reader, target = snapshots.Reader(), pyunw.pyunw_target()
    image = snapshots.image_of(info, reader)
    pyunw.check(pyunw.lib.pyunw_open_image(target, image, None))
    tstate = pyunw.current_thread(TARGETS[0])
    answers = 0
    for last in (0, 2**64 - 1):
        number = 0
        while True:
            number += 1
            reader.begin(number, max(last, number))
            result, type_told, message_told, flags = ask(target, tstate)
            answers += 1
            what = number, result, type_told, message_told, flags
            if not reader.refused():
                assert (result, type_told, message_told, flags) == (1, kind, message, 0), what
                break
            if result != 1:
                assert result in READ_ERRORS, what
                continue
            assert type_told == kind or flags & pyunw.PYUNW_EXCEPTION_TYPE_UNREADABLE, what
            assert message_told == message or flags & (
                pyunw.PYUNW_EXCEPTION_MESSAGE_UNREADABLE | pyunw.PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS), what
            assert type_told == kind or "<unreadable>" in type_told, what
    reader.begin()
    return answers


class Mine(KeyError):
    __module__ = "some.where"


def refused():
    answers = 0
    for error, kind, message in (
            (ValueError("plain"), "ValueError", "plain"), (Mine("key", 2), "some.where.Mine", "('key', 2)"),
            (RuntimeError(Mine("key")), "RuntimeError", "'key'"),
            (OSError(2, "größe", "file"), "FileNotFoundError", "[Errno 2] größe: 'file'"),
            (SyntaxError("text", ("a/b", 3, 1, "x")), "SyntaxError", "text (b, line 3)")):
        try:
            raise error
        except Exception:
            answers += refuse_reads(error, kind, message)
    return answers


def overwritten():
    """Copies of the thread state whose words are damaged: one that is right, or an error, but never a crash."""
    tstate = pyunw.current_thread(TARGETS[0])
    copy = ctypes.create_string_buffer(pyunw.bytes_at(tstate, 288), 4096)
    words = (ctypes.c_uint64 * 36).from_buffer(copy)
    values = (1, 8, 4096, 1 << 46, 2**64 - 1, ctypes.addressof(copy), id(None), id(5), id(ValueError), id("text"))
    errors = results = 0
    try:
        raise ValueError("here")
    except ValueError as error:
        ctypes.memmove(copy, pyunw.bytes_at(tstate, 288), 288)
        for index in range(36):
            for value in values:
                kept, words[index] = words[index], value
                exception = pyunw.pyunw_exception()
                result = pyunw.lib.pyunw_exception_find(TARGETS[0], ctypes.addressof(copy), exception)
                assert result in READ_ERRORS + (0, 1), result
                assert result != 1 or exception.object == id(error) or exception.type == id(ValueError), (index, value)
                errors += result < 0
                results += result == 1
                words[index] = kept
    assert errors >= 10 and results >= 100, (errors, results)
    return errors


def main():
    for place in (in_except, in_finally, in_with, in_generators, in_destructors, in_depth, in_excepthook,
                  of_another_thread, of_a_running_thread):
        place()
    asyncio.run(in_coroutines())
    answers = refused()
    errors = overwritten()
    assert found_some > 100
    print("%d times as sys.exc_info() says, %d of them an exception; %d answers with reads refused; %d errors of damage"
          % (checked, found_some, answers, errors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
