"""
include/pyunwind_crash.h for tests in Python, by ctypes; pyunw.py is the other header. test_pyunw.py compares it with the
header. The library is loaded when it is first asked for: a program that runs bare has it not at all. Runs on CPython
3.8 to 3.15.
"""

import ctypes
import os
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p

PATH = os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind.so")

# enum pyunw_crash_flags
PYUNW_CRASH_NO_NATIVE = 1
PYUNW_CRASH_NO_COMMAND = 2
PYUNW_CRASH_LOCALS = 4
PYUNW_CRASH_ONLY_CRASHED = 8
PYUNW_CRASH_TEXT = 16


class pyunw_crash_options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("report_dir", c_char_p),
        ("helper", c_char_p),
        ("signals", c_uint64),
        ("time_limit", c_int),
        ("flags", c_uint32),
        ("hook", c_char_p),
        ("report_size", c_uint64),
        ("reports_kept", c_int),
        ("report_fd", c_int),
        ("report_signal", c_int),
        ("message", c_void_p),  # char *: written by the library, so no Python bytes
        ("message_size", c_size_t),
    ]


PROTOTYPES = {
    "pyunw_crash_install": (c_int, [POINTER(pyunw_crash_options)]),
    "pyunw_crash_remove": (c_int, []),
    "pyunw_crash_attach_thread": (c_int, []),
    "pyunw_crash_detach_thread": (c_int, []),
    "pyunw_crash_report_now": (c_int, []),
}


def load():
    library = ctypes.CDLL(PATH)
    for name, (result, arguments) in PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def install(**options):
    """pyunw_crash_install() with these options; the library, or an OSError with its message."""
    library = load()
    message = ctypes.create_string_buffer(1024)
    asked = pyunw_crash_options(size=ctypes.sizeof(pyunw_crash_options), message=ctypes.addressof(message),
                                message_size=len(message))
    for name, value in options.items():
        setattr(asked, name, os.fsencode(value) if isinstance(value, str) else value)
    result = library.pyunw_crash_install(asked)
    if result < 0:
        raise OSError("pyunw_crash_install: %d %s" % (result, message.value.decode(errors="replace")))
    return library
