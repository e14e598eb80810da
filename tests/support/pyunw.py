"""
include/pyunwind.h for Python tests: its constants, its structures, and its functions by ctypes, with prototypes.

The library is $PYUNWIND_BUILD/libpyunwind.so. It is bound twice:

    pyunw.lib.pyunw_walk(...)           releases the GIL around the call (ctypes.CDLL)
    pyunw.lib_holding_gil.pyunw_walk(...)   calls with the GIL held (ctypes.PyDLL)

What captures the stack of the calling thread sees the Python function that makes the call as its innermost frame;
of the conveniences below (open_self, threads, capture, ...) those that take a thread state or the calling thread
stand on that stack too. Runs on CPython 3.8 to 3.15, with or without the GIL. test_pyunw.py compares it with the
header. A test finds it so:

    sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))
"""

import ctypes
import os
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint32
from ctypes import c_uint64, c_void_p

PATH = os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind.so")

# ---- Constants, as in the header ------------------------------------------------------------------------------------

PYUNW_VERSION_MAJOR = 0
PYUNW_VERSION_MINOR = 1

# enum pyunw_err
PYUNW_OK = 0
PYUNW_ERR_ARGUMENT = -1
PYUNW_ERR_NOT_OPEN = -2
PYUNW_ERR_NO_PYTHON = -3
PYUNW_ERR_UNSUPPORTED = -4
PYUNW_ERR_LAYOUT = -5
PYUNW_ERR_NOT_INITIALIZED = -6
PYUNW_ERR_FINALIZED = -7
PYUNW_ERR_NO_THREAD = -8
PYUNW_ERR_FAULT = -9
PYUNW_ERR_CORRUPT = -10
PYUNW_ERR_TORN = -11
PYUNW_ERR_PERMISSION = -12
PYUNW_ERR_SYSTEM = -13
PYUNW_ERR_WRITE = -14
PYUNW_ERR_NO_PROCESS = -15

# enum pyunw_memory
PYUNW_MEMORY_DEFAULT = 0
PYUNW_MEMORY_DIRECT = 1
PYUNW_MEMORY_TRAPPED = 2
PYUNW_MEMORY_GUARDED = 3
PYUNW_MEMORY_IMAGE = 4

# enum pyunw_guard
PYUNW_GUARD_DEFAULT = 0
PYUNW_GUARD_READV = 1
PYUNW_GUARD_PROC_MEM = 2
PYUNW_GUARD_PIPE = 3

# enum pyunw_thread_flags
PYUNW_THREAD_MAIN = 1
PYUNW_THREAD_CURRENT = 2
PYUNW_THREAD_HOLDS_GIL = 4
PYUNW_THREAD_FINALIZING = 8
PYUNW_THREAD_COLLECTING = 16
PYUNW_THREAD_ATTACHED = 32
PYUNW_THREAD_HAS_FRAMES = 64
PYUNW_THREAD_FRAMES_UNREADABLE = 128
PYUNW_THREAD_WAITS_FOR_GIL = 256

# enum pyunw_frame_kind
PYUNW_FRAME_FUNCTION = 0
PYUNW_FRAME_GENERATOR = 1
PYUNW_FRAME_COROUTINE = 2
PYUNW_FRAME_ASYNC_GENERATOR = 3
PYUNW_FRAME_MODULE = 4
PYUNW_FRAME_CLASS = 5
PYUNW_FRAME_UNKNOWN = 6

# enum pyunw_raw_frame_flags
PYUNW_FRAME_ENTRY = 1

# enum pyunw_end
PYUNW_COMPLETE = 0
PYUNW_TRUNCATED = 1
PYUNW_TORN = 2
PYUNW_CORRUPT = 3
PYUNW_NO_FRAME = 4

PYUNW_FILENAME_SIZE = 512
PYUNW_NAME_SIZE = 256
PYUNW_QUALNAME_SIZE = 512

# enum pyunw_frame_flags
PYUNW_FILENAME_TRUNCATED = 1
PYUNW_NAME_TRUNCATED = 2
PYUNW_QUALNAME_TRUNCATED = 4
PYUNW_FILENAME_UNREADABLE = 8
PYUNW_NAME_UNREADABLE = 16
PYUNW_QUALNAME_UNREADABLE = 32
PYUNW_POSITION_UNREADABLE = 64
PYUNW_QUALNAME_IS_NAME = 128

# enum pyunw_local_flags
PYUNW_LOCAL_ARGUMENT = 1
PYUNW_LOCAL_CELL = 2
PYUNW_LOCAL_FREE = 4
PYUNW_LOCAL_NAME_TRUNCATED = 8
PYUNW_LOCAL_NAME_UNREADABLE = 16
PYUNW_LOCAL_UNREADABLE = 32

PYUNW_VALUE_DEPTH_MAX = 6

# enum pyunw_value_flags
PYUNW_VALUE_TRUNCATED = 1
PYUNW_VALUE_UNREADABLE = 2

# enum pyunw_exception_flags
PYUNW_EXCEPTION_RAISED = 1
PYUNW_EXCEPTION_HANDLED = 2
PYUNW_EXCEPTION_NOT_MADE = 4

PYUNW_EXCEPTION_TYPE_SIZE = 512
PYUNW_EXCEPTION_MESSAGE_SIZE = 1024

# enum pyunw_exception_text_flags
PYUNW_EXCEPTION_TYPE_TRUNCATED = 1
PYUNW_EXCEPTION_TYPE_UNREADABLE = 2
PYUNW_EXCEPTION_MESSAGE_TRUNCATED = 4
PYUNW_EXCEPTION_MESSAGE_UNREADABLE = 8
PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS = 16

# ---- Structures -----------------------------------------------------------------------------------------------------

pyunw_addr = c_uint64


class pyunw_target(Structure):
    _fields_ = [("opaque", c_uint64 * 128)]


class pyunw_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("memory", c_int),
        ("guard", c_int),
        ("runtime", pyunw_addr),
        ("message", c_void_p),  # char *: written by the library, so no Python bytes
        ("message_size", c_size_t),
        ("room", c_void_p),
        ("room_size", c_size_t),
    ]


class pyunw_segment(Structure):
    _fields_ = [("address", pyunw_addr), ("size", c_uint64), ("bytes", c_void_p)]


# int (*)(void *context, pyunw_addr address, void *buffer, size_t size)
pyunw_read_function = ctypes.CFUNCTYPE(c_int, c_void_p, pyunw_addr, c_void_p, c_size_t)
# void (*)(void *context, int purpose)
pyunw_renew_function = ctypes.CFUNCTYPE(None, c_void_p, c_int)
# void (*)(void *context, pyunw_addr address, size_t size)
pyunw_expect_function = ctypes.CFUNCTYPE(None, c_void_p, pyunw_addr, c_size_t)
PYUNW_FOR_THREADS = 0
PYUNW_FOR_FRAMES = 1
PYUNW_FOR_TEXTS = 2
PYUNW_FOR_CHECK = 3


class pyunw_image(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("segments", POINTER(pyunw_segment)),
        ("segment_count", c_size_t),
        ("read", pyunw_read_function),
        ("context", c_void_p),
        ("may_change", c_int),
        ("runtime", pyunw_addr),
        ("version", c_uint32),
        ("free_threaded", c_int),
        ("code_type", pyunw_addr),
        ("renew", pyunw_renew_function),
        ("expect", pyunw_expect_function),
        ("text_type", pyunw_addr),
    ]


class pyunw_target_info(Structure):
    _fields_ = [
        ("version", c_uint32),
        ("free_threaded", c_int),
        ("memory", c_int),
        ("guard", c_int),
        ("runtime", pyunw_addr),
        ("code_type", pyunw_addr),
    ]


class pyunw_thread(Structure):
    _fields_ = [
        ("tstate", pyunw_addr),
        ("interpreter", pyunw_addr),
        ("interpreter_id", c_int64),
        ("thread_id", c_uint64),
        ("native_id", c_uint64),
        ("id", c_uint64),
        ("flags", c_uint32),
        ("reserved", c_uint32),
    ]


class pyunw_thread_cursor(Structure):
    _fields_ = [("opaque", c_uint64 * 32)]


class pyunw_raw_frame(Structure):
    _fields_ = [
        ("code", pyunw_addr),
        ("frame", pyunw_addr),
        ("offset", c_int32),
        ("kind", c_uint8),
        ("flags", c_uint8),
        ("reserved", c_uint16),
    ]


class pyunw_status(Structure):
    _fields_ = [
        ("end", c_int32),
        ("depth", c_int32),
        ("address", pyunw_addr),
        ("unconfirmed", c_int32),
        ("undescribed", c_int32),
    ]


class pyunw_frame_cursor(Structure):
    _fields_ = [("opaque", c_uint64 * 80)]


class pyunw_position(Structure):
    _fields_ = [("lineno", c_int32), ("end_lineno", c_int32), ("colno", c_int32), ("end_colno", c_int32)]


class pyunw_frame(Structure):
    _fields_ = [
        ("raw", pyunw_raw_frame),
        ("position", pyunw_position),
        ("flags", c_uint32),
        ("filename_length", c_uint16),
        ("name_length", c_uint16),
        ("qualname_length", c_uint16),
        ("reserved", c_uint16),
        ("filename", c_uint8 * PYUNW_FILENAME_SIZE),  # bytes, not c_char: a name may hold NULs. See text()
        ("name", c_uint8 * PYUNW_NAME_SIZE),
        ("qualname", c_uint8 * PYUNW_QUALNAME_SIZE),
    ]

    def text(self, field):
        """The text of "filename", "name" or "qualname" as a str; that it is UTF-8 and ends with a NUL is checked."""
        length = getattr(self, field + "_length")
        at = ctypes.addressof(self) + getattr(pyunw_frame, field).offset
        data = ctypes.string_at(at, length + 1)
        if length >= getattr(pyunw_frame, field).size or data[length] != 0:
            raise ValueError("%s of %d bytes does not end with a NUL inside its buffer" % (field, length))
        return data[:length].decode("utf-8")


class pyunw_text(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t), ("length", c_size_t), ("whole", c_size_t)]


class pyunw_description(Structure):
    _fields_ = [
        ("filename", pyunw_text),
        ("name", pyunw_text),
        ("qualname", pyunw_text),
        ("position", pyunw_position),
        ("flags", c_uint32),
    ]


class pyunw_code_identity(Structure):
    _fields_ = [
        ("code", pyunw_addr),
        ("filename", pyunw_addr),
        ("name", pyunw_addr),
        ("table", pyunw_addr),
        ("check", c_uint64),
        ("firstlineno", c_int32),
        ("version", c_uint32),
    ]


class pyunw_local(Structure):
    _fields_ = [
        ("object", pyunw_addr),
        ("flags", c_uint32),
        ("name_length", c_uint16),
        ("reserved", c_uint16),
        ("name", c_uint8 * PYUNW_NAME_SIZE),
    ]

    def text(self):
        """The name as a str; that it is UTF-8 and ends with a NUL is checked."""
        data = bytes(self.name)
        if self.name_length >= len(data) or data[self.name_length] != 0:
            raise ValueError("a name of %d bytes does not end with a NUL inside its buffer" % self.name_length)
        return data[:self.name_length].decode("utf-8")


class pyunw_local_cursor(Structure):
    _fields_ = [("opaque", c_uint64 * 80)]


class pyunw_value_limits(Structure):
    _fields_ = [("size", c_size_t), ("depth", c_int), ("items", c_int), ("characters", c_int)]


class pyunw_exception(Structure):
    _fields_ = [("object", pyunw_addr), ("type", pyunw_addr), ("flags", c_uint32), ("reserved", c_uint32)]


class pyunw_exception_text(Structure):
    _fields_ = [
        ("flags", c_uint32),
        ("type_length", c_uint16),
        ("message_length", c_uint16),
        ("type", c_uint8 * PYUNW_EXCEPTION_TYPE_SIZE),
        ("message", c_uint8 * PYUNW_EXCEPTION_MESSAGE_SIZE),
    ]

    def text(self, field):
        """The text of "type" or "message" as a str; that it is UTF-8 and ends with a NUL is checked."""
        data, length = bytes(getattr(self, field)), getattr(self, field + "_length")
        if length >= len(data) or data[length] != 0:
            raise ValueError("%s of %d bytes does not end with a NUL inside its buffer" % (field, length))
        return data[:length].decode("utf-8")


class pyunw_text_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("hidden", POINTER(pyunw_addr)),
        ("hidden_count", c_int),
        ("max_threads", c_int),
        ("interpreter", pyunw_addr),
        ("current", pyunw_addr),
    ]


# ---- Functions ------------------------------------------------------------------------------------------------------

_TARGET = POINTER(pyunw_target)
_STATUS = POINTER(pyunw_status)

PROTOTYPES = {
    "pyunw_strerror": (c_char_p, [c_int]),
    "pyunw_open_self": (c_int, [_TARGET, POINTER(pyunw_options)]),
    "pyunw_open_image": (c_int, [_TARGET, POINTER(pyunw_image), POINTER(pyunw_options)]),
    "pyunw_close": (None, [_TARGET]),
    "pyunw_is_finalizing": (ctypes.c_int, [_TARGET]),
    "pyunw_target_describe": (c_int, [_TARGET, POINTER(pyunw_target_info)]),
    "pyunw_trap_install": (c_int, []),
    "pyunw_trap_remove": (c_int, []),
    "pyunw_threads_begin": (c_int, [_TARGET, POINTER(pyunw_thread_cursor)]),
    "pyunw_threads_next": (c_int, [POINTER(pyunw_thread_cursor), POINTER(pyunw_thread)]),
    "pyunw_current_thread": (c_int, [_TARGET, POINTER(pyunw_addr)]),
    "pyunw_thread_find": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_thread)]),
    "pyunw_end_name": (c_char_p, [c_int]),
    "pyunw_walk": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_raw_frame), c_int, _STATUS]),
    "pyunw_frames_begin": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_frame_cursor)]),
    "pyunw_frames_next": (c_int, [POINTER(pyunw_frame_cursor), POINTER(pyunw_raw_frame)]),
    "pyunw_frames_end": (c_int, [POINTER(pyunw_frame_cursor), _STATUS]),
    "pyunw_describe": (c_int, [_TARGET, POINTER(pyunw_raw_frame), POINTER(pyunw_frame)]),
    "pyunw_describe_into": (c_int, [_TARGET, POINTER(pyunw_raw_frame), POINTER(pyunw_description)]),
    "pyunw_find_position": (c_int, [_TARGET, POINTER(pyunw_raw_frame), POINTER(pyunw_position)]),
    "pyunw_identify_code": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_code_identity)]),
    "pyunw_locals_begin": (c_int, [_TARGET, POINTER(pyunw_raw_frame), POINTER(pyunw_local_cursor)]),
    "pyunw_namespace_begin": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_local_cursor)]),
    "pyunw_locals_next": (c_int, [POINTER(pyunw_local_cursor), POINTER(pyunw_local)]),
    "pyunw_locals_end": (c_int, [POINTER(pyunw_local_cursor)]),
    "pyunw_describe_value": (
        c_int,
        [_TARGET, pyunw_addr, POINTER(pyunw_value_limits), c_void_p, c_size_t, POINTER(c_uint32)],
    ),
    "pyunw_exception_find": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_exception)]),
    "pyunw_describe_exception": (c_int, [_TARGET, POINTER(pyunw_exception), POINTER(pyunw_exception_text)]),
    "pyunw_capture": (c_int, [_TARGET, pyunw_addr, POINTER(pyunw_frame), c_int, _STATUS]),
    "pyunw_capture_current": (c_int, [_TARGET, POINTER(pyunw_frame), c_int, _STATUS]),
    "pyunw_write_text": (c_int, [_TARGET, c_int, pyunw_addr]),
    "pyunw_write_text_threads": (c_int, [_TARGET, c_int, pyunw_addr, pyunw_addr, c_int]),
    "pyunw_write_text_with": (c_int, [_TARGET, c_int, pyunw_addr, POINTER(pyunw_text_options)]),
    "pyunw_write_text_threads_with": (c_int, [_TARGET, c_int, POINTER(pyunw_text_options)]),
    "pyunw_write_json": (c_int, [_TARGET, c_int, pyunw_addr]),
    "pyunw_write_json_threads": (c_int, [_TARGET, c_int]),
}


class Library:
    """The functions of the header as attributes, each bound when it is first asked for."""

    def __init__(self, dll):
        self.dll = dll

    def __getattr__(self, name):
        if name not in PROTOTYPES:
            raise AttributeError(name)
        function = self.dll[name]  # by item: a function object of our own, not shared with other users of the dll
        function.restype, function.argtypes = PROTOTYPES[name]
        setattr(self, name, function)
        return function


lib = Library(ctypes.CDLL(PATH))
lib_holding_gil = Library(ctypes.PyDLL(PATH))

# ---- Conveniences ---------------------------------------------------------------------------------------------------


class Error(Exception):
    """A function of the library failed: .code is its enum pyunw_err."""

    def __init__(self, code, message=""):
        words = lib.pyunw_strerror(code).decode()
        super().__init__("%s (%d)%s" % (words, code, ": " + message if message else ""))
        self.code = code


def check(result, message=""):
    """Return a result that is not negative; raise Error for one that is."""
    if result < 0:
        raise Error(result, message)
    return result


def open_self(memory=PYUNW_MEMORY_DEFAULT, guard=PYUNW_GUARD_DEFAULT, runtime=0):
    """Open the own process: a pyunw_target, to be passed as it is."""
    target = pyunw_target()
    message = ctypes.create_string_buffer(512)
    options = pyunw_options(
        size=ctypes.sizeof(pyunw_options),
        memory=memory,
        guard=guard,
        runtime=runtime,
        message=ctypes.addressof(message),
        message_size=ctypes.sizeof(message),
    )
    check(lib.pyunw_open_self(target, options), message.value.decode())
    return target


def describe_target(target):
    info = pyunw_target_info()
    check(lib.pyunw_target_describe(target, info))
    return info


def threads(target, library=lib):
    """All thread states, as a list of pyunw_thread, in the order of pyunw_threads_next()."""
    cursor = pyunw_thread_cursor()
    check(library.pyunw_threads_begin(target, cursor))
    found = []
    while True:
        thread = pyunw_thread()
        if check(library.pyunw_threads_next(cursor, thread)) == 0:
            return found
        found.append(thread)


def current_thread(target, library=lib):
    """The address of the calling thread's thread state."""
    tstate = pyunw_addr()
    check(library.pyunw_current_thread(target, tstate))
    return tstate.value


def capture(target, tstate=0, max=256, library=lib):
    """(list of pyunw_frame, pyunw_status) of one thread; of the calling one, with this function's frame innermost."""
    frames = (pyunw_frame * max)()
    status = pyunw_status()
    count = check(library.pyunw_capture(target, tstate, frames, max, status))
    return frames[:count], status


def bytes_at(address, size):
    """
    The bytes there of the own process, whatever they are of. AddressSanitizer forbids a load (ctypes.string_at) beside
    what was allocated.
    """
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        data = os.pread(memory.fileno(), size, address)
    if len(data) != size:
        raise ValueError("%d of %d bytes are at %#x" % (len(data), size, address))
    return data


def describe_value(target, object, limits=None, size=1 << 16):
    """(text, flags) of the object at an address."""
    room, flags = ctypes.create_string_buffer(size), c_uint32()
    length = check(lib.pyunw_describe_value(target, object, limits, room, size, flags))
    if length >= size or room.raw[length] != 0:
        raise ValueError("a value of %d bytes does not end with a NUL inside its buffer" % length)
    return room.raw[:length].decode("utf-8"), flags.value


def walk(target, tstate=0, max=256, library=lib):
    """(list of pyunw_raw_frame, pyunw_status) of one thread, as capture() is."""
    frames = (pyunw_raw_frame * max)()
    status = pyunw_status()
    count = check(library.pyunw_walk(target, tstate, frames, max, status))
    return frames[:count], status
