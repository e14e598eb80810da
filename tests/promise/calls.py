"""
Every signal-safe function of the public headers, called in every memory: for the tests that watch those calls.

A test hands in call(name, *arguments), which makes the call under its watch and returns its int result. Arguments are
ints, or ctypes objects whose address is meant. Runs on CPython 3.8 to 3.15.
"""

import ctypes
import hashlib
import os
import re
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import pyunw
from programs import BlockedThread, depth_of_own_stack, descend

ROOM = 128  # frames
UNMAPPED = 1 << 40  # Linux maps nothing here of itself: above the heap of a program at 0x400000, below all others
NOT_FOR_HANDLERS = {
    "pyunw_open_self",
    "pyunw_trap_install",
    "pyunw_trap_remove",
    "pyunw_init",
    "pyunw_crash_install",
    "pyunw_crash_remove",
    "pyunw_crash_attach_thread",
    "pyunw_crash_detach_thread",
    # It is, on a stack of its own, and starts a process: tests/crash shows it.
    "pyunw_crash_report_now",
    "pyunw_faulthandler_enable",
    "pyunw_faulthandler_disable",
    "pyunw_faulthandler_dump_traceback",
    "pyunw_faulthandler_dump_traceback_later",
    "pyunw_faulthandler_cancel_dump_traceback_later",
    "pyunw_faulthandler_dump_c_stack",
    "pyunw_faulthandler_register",
    "pyunw_faulthandler_unregister",
    "pyunw_faulthandler_hide",
    "pyunw_faulthandler_name_modules",
}


def declared_functions():
    """{name: what it returns} of the functions of libpyunwind's headers; libpyunwind-remote is not for handlers."""
    found = {}
    for header in sorted(set(os.listdir(os.path.join(SOURCE, "include"))) - {"pyunwind_remote.h"}):
        with open(os.path.join(SOURCE, "include", header), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for result, name in re.findall(r"^PYUNW_API ([^;(]*?)(\w+)\(", text, flags=re.M):
            found[name] = result.strip()
    assert NOT_FOR_HANDLERS <= set(found), "a function has gone: %s" % sorted(NOT_FOR_HANDLERS - set(found))
    return found


DECLARED = declared_functions()
SIGNAL_SAFE = set(DECLARED) - NOT_FOR_HANDLERS
RETURNS_INT = {name for name, result in DECLARED.items() if result == "int"}
RETURNS_COMPLAINT = {"pyunw_python_dump", "pyunw_python_dump_threads"}  # a string, or NULL


def words_of(arguments):
    """The six words that arguments are handed over in."""
    values = [argument % 2**64 if isinstance(argument, int) else ctypes.addressof(argument) for argument in arguments]
    return (ctypes.c_uint64 * 6)(*values)


def result_of(name, word):
    """The int that a function returned in a word; an error that no caller here expects is raised."""
    value = ctypes.c_int(word).value
    if name in RETURNS_COMPLAINT and word != 0:
        raise AssertionError("%s: %s" % (name, ctypes.string_at(word).decode()))
    return value


def core_flags():
    """For helpers in C that include headers of the core: where these are, and what they are, for compile.py's hash."""
    folder = os.path.join(SOURCE, "src", "core")
    digest = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name.endswith(".h"):
            with open(os.path.join(folder, name), "rb") as file:
                digest.update(file.read())
    return ["-I" + folder, "-DCORE_HEADERS=0x" + digest.hexdigest()[:8]]


class Room:
    """What the calls write to: allocated before, so that nothing is done for it in a call."""

    def __init__(self):
        self.frames = (pyunw.pyunw_frame * ROOM)()
        self.raw = (pyunw.pyunw_raw_frame * ROOM)()
        self.status = pyunw.pyunw_status()
        self.thread = pyunw.pyunw_thread()
        self.tstate = pyunw.pyunw_addr()
        self.thread_cursor = pyunw.pyunw_thread_cursor()
        self.frame_cursor = pyunw.pyunw_frame_cursor()
        self.position = pyunw.pyunw_position()
        self.identity = pyunw.pyunw_code_identity()
        self.local_cursor = pyunw.pyunw_local_cursor()
        self.local = pyunw.pyunw_local()
        self.value = ctypes.create_string_buffer(1 << 14)
        self.value_flags = ctypes.c_uint32()
        self.value_limits = pyunw.pyunw_value_limits(ctypes.sizeof(pyunw.pyunw_value_limits), 6, 100, 1000)
        self.exception = pyunw.pyunw_exception()
        self.exception_text = pyunw.pyunw_exception_text()
        self.info = pyunw.pyunw_target_info()
        self.description = pyunw.pyunw_description()
        self.texts = ctypes.create_string_buffer(3 * 4096)
        for number, field in enumerate(("filename", "name", "qualname")):
            text = getattr(self.description, field)
            text.data, text.size = ctypes.addressof(self.texts) + 4096 * number, 4096
        self.python_frames = ctypes.create_string_buffer(ROOM * 1024)
        self.null = os.open(os.devnull, os.O_WRONLY)
        self.hidden = (pyunw.pyunw_addr * 1)(id(Targets.__init__.__code__))
        self.text_options = pyunw.pyunw_text_options(
            ctypes.sizeof(pyunw.pyunw_text_options), ctypes.cast(self.hidden, ctypes.POINTER(pyunw.pyunw_addr)), 1)


class Targets:
    """The own process, open in every memory."""

    def __init__(self, read_function):
        """read_function: address of a pyunw_read_function over the own process."""
        self.opened = {
            "direct": pyunw.open_self(pyunw.PYUNW_MEMORY_DIRECT),
            "trapped": pyunw.open_self(pyunw.PYUNW_MEMORY_TRAPPED),
        }
        for name in ("READV", "PROC_MEM", "PIPE"):
            guard = getattr(pyunw, "PYUNW_GUARD_" + name)
            self.opened["guarded " + name.lower()] = pyunw.open_self(pyunw.PYUNW_MEMORY_GUARDED, guard)
        info = pyunw.describe_target(self.opened["direct"])
        self.image = pyunw.pyunw_image(
            size=ctypes.sizeof(pyunw.pyunw_image),
            read=ctypes.cast(read_function, pyunw.pyunw_read_function),
            may_change=1,
            runtime=info.runtime,
            version=info.version,
            free_threaded=info.free_threaded,
            code_type=info.code_type,
        )
        self.opened["image"] = pyunw.pyunw_target()
        pyunw.check(pyunw.lib.pyunw_open_image(self.opened["image"], self.image, None))

    def __iter__(self):
        """(label, target)"""
        return iter(self.opened.items())

    def own_process(self):
        """(label, target) of those that know the calling thread."""
        return [(label, target) for label, target in self if label != "image"]


def good(call, name, *arguments):
    """A call that must not fail."""
    value = call(name, *arguments)
    if name in RETURNS_INT and value < 0:
        raise AssertionError("%s: %s" % (name, pyunw.lib.pyunw_strerror(value).decode()))
    return value


def about_target(call, room, target, own_process=True):
    good(call, "pyunw_target_describe", target, room.info)
    if own_process:
        good(call, "pyunw_current_thread", target, room.tstate)
    good(call, "pyunw_threads_begin", target, room.thread_cursor)
    while good(call, "pyunw_threads_next", room.thread_cursor, room.thread) == 1:
        good(call, "pyunw_thread_find", target, room.thread.tstate, room.thread)
    good(call, "pyunw_write_text_threads", target, room.null, 0, 0, 0)
    good(call, "pyunw_write_text_threads_with", target, room.null, room.text_options)
    good(call, "pyunw_write_json_threads", target, room.null)


def about_thread(call, room, target, tstate, expected):
    """expected: the count of frames; 0 where the thread runs, and has any number of them."""
    count = good(call, "pyunw_walk", target, tstate, room.raw, ROOM, room.status)
    assert count == expected or not expected, (count, expected)
    for raw in room.raw[:count] if expected else []:
        good(call, "pyunw_describe", target, raw, room.frames[0])
        good(call, "pyunw_describe_into", target, raw, room.description)
        good(call, "pyunw_find_position", target, raw, room.position)
        good(call, "pyunw_identify_code", target, raw.code, room.identity)
        about_variables(call, room, target, raw)
    count = good(call, "pyunw_capture", target, tstate, room.frames, ROOM, room.status)
    assert count == expected or not expected, (count, expected)
    good(call, "pyunw_capture", target, tstate, room.frames, 3, room.status)
    good(call, "pyunw_walk", target, tstate, room.raw, 3, room.status)
    good(call, "pyunw_frames_begin", target, tstate, room.frame_cursor)
    while good(call, "pyunw_frames_next", room.frame_cursor, room.raw) == 1:
        pass
    good(call, "pyunw_frames_end", room.frame_cursor, room.status)
    good(call, "pyunw_write_text", target, room.null, tstate)
    good(call, "pyunw_write_text_with", target, room.null, tstate, room.text_options)
    good(call, "pyunw_write_json", target, room.null, tstate)


def about_variables(call, room, target, raw):
    """Of the own thread the innermost frame was call() itself, which has moved on."""
    if call("pyunw_locals_begin", target, raw, room.local_cursor) == pyunw.PYUNW_ERR_TORN:
        return
    while good(call, "pyunw_locals_next", room.local_cursor, room.local) == 1:
        if room.local.object != 0:
            good(call, "pyunw_describe_value", target, room.local.object, 0, room.value, 100, room.value_flags)
            good(call, "pyunw_describe_value", target, room.local.object, room.value_limits, room.value,
                 len(room.value), room.value_flags)
    call("pyunw_locals_end", room.local_cursor)


# One that needs most of each: digits, halves, quotes, depth, types.
VALUES = [10**342 - 1, -(2**5000), 5e-324, 1.7976931348623157e308, "größe'\U0001f600" * 100, b"\xff'" * 1000,
          [{(1, "x"): [frozenset([2.5, "\ud800"])]}], {n: [n] for n in range(200)}, pyunw.pyunw_frame,
          type("Größe" * 100, (), {})()]


def about_values(call, room, target):
    for value in VALUES + [VALUES]:
        good(call, "pyunw_describe_value", target, id(value), room.value_limits, room.value, len(room.value),
             room.value_flags)


NAMESPACE = {"name_%d" % n: n for n in range(1000)}


def about_namespaces(call, room, target):
    count = 0
    good(call, "pyunw_namespace_begin", target, id(NAMESPACE), room.local_cursor)
    while good(call, "pyunw_locals_next", room.local_cursor, room.local) == 1:
        count += 1
    assert count == len(NAMESPACE), count


# One that needs most of each way to a message.
EXCEPTIONS = [
    ValueError("größe'\U0001f600" * 100), KeyError(VALUES), RuntimeError(RuntimeError(KeyError(tuple(VALUES)))),
    OSError(2, "größe", "\ud800" * 100, None, VALUES[5]), SyntaxError("ä", ("/x/ö.py", 2**5000, 1, "x")),
    type("Größe" * 100, (LookupError,), {"__str__": repr})(*VALUES),
]


def about_exceptions(call, room, target):
    for error in EXCEPTIONS:
        try:
            raise error
        except Exception:
            value = call("pyunw_exception_find", target, 0, room.exception)
            assert value == 1 and room.exception.object == id(error), value
            good(call, "pyunw_describe_exception", target, room.exception, room.exception_text)


def about_own_thread(call, room, target, own_depth):
    good(call, "pyunw_is_finalizing", target)
    about_thread(call, room, target, 0, own_depth)
    about_values(call, room, target)
    about_namespaces(call, room, target)
    about_exceptions(call, room, target)
    good(call, "pyunw_capture_current", target, room.frames, ROOM, room.status)


def with_cpython_names(call, room, tstate):
    good(call, "_Py_GetTracebackFrames", tstate, room.python_frames, ROOM)
    count = good(call, "pyunw_python_collect", tstate, room.python_frames, ROOM)
    call("pyunw_python_print", room.null, room.python_frames, count, 1)
    call("pyunw_python_dump", room.null, tstate)
    call("pyunw_python_dump_quietly", room.null, tstate)
    call("pyunw_python_dump_threads", room.null, 0, tstate, 0)


def without_target(call, image):
    target = pyunw.pyunw_target()
    good(call, "pyunw_open_image", target, image, 0)
    call("pyunw_close", target)
    call("pyunw_strerror", -9)
    call("pyunw_faulthandler_is_enabled")
    call("pyunw_end_name", 3)


def at_unmapped_address(call, room, target):
    """Calls that have to fail; not for the memory `direct`, where the caller vouches for a raw frame."""
    bad = UNMAPPED
    raw = pyunw.pyunw_raw_frame(code=bad, frame=bad)
    for result in (
        call("pyunw_describe", target, raw, room.frames[0]),
        call("pyunw_describe_into", target, raw, room.description),
        call("pyunw_find_position", target, raw, room.position),
        call("pyunw_locals_begin", target, raw, room.local_cursor),
        call("pyunw_identify_code", target, bad, room.identity),
        call("pyunw_walk", target, bad, room.raw, ROOM, room.status),
        call("pyunw_capture", target, bad, room.frames, ROOM, room.status),
        call("pyunw_exception_find", target, bad, room.exception),
        call("pyunw_describe_exception", target, pyunw.pyunw_exception(bad, bad), room.exception_text),
        call("pyunw_frames_begin", target, bad, room.frame_cursor),
        call("pyunw_thread_find", target, bad, room.thread),
        call("pyunw_write_text", target, room.null, bad),
        call("pyunw_write_text_with", target, room.null, bad, room.text_options),
        call("pyunw_namespace_begin", target, bad, room.local_cursor),
        call("pyunw_write_json", target, room.null, bad),
    ):
        assert result < 0, "%#x was read as if it were something" % bad


def everything(call, targets, room, depth):
    """All of the above: of a thread that rests at the end of such a stack (programs.descend), and of the calling one."""
    with BlockedThread(depth) as blocked:
        blocked.find(pyunw.threads(targets.opened["direct"]))
        frames = len(blocked.frames())
        for label, target in targets:
            about_target(call, room, target, label != "image")
            about_thread(call, room, target, blocked.tstate, frames)
            if label != "direct":
                at_unmapped_address(call, room, target)
        for label, target in targets.own_process():
            # Above the lambda: about_own_thread, about_thread, good, and the call's __call__.
            descend(depth, lambda: about_own_thread(call, room, target, depth_of_own_stack() + 4))
        for tstate in (pyunw.current_thread(targets.opened["direct"]), blocked.tstate):
            with_cpython_names(call, room, tstate)
        without_target(call, targets.image)
