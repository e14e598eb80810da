"""
Find libpyunwind.so and bind what the package calls of it. The structures are those of include/pyunwind_crash.h and
include/pyunwind_faulthandler.h.
"""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64
from typing import Callable, Iterator, List

NAMES = ("libpyunwind.so.0", "libpyunwind.so")

# enum pyunw_err
ERR_ARGUMENT = -1
ERR_NOT_OPEN = -2
ERR_PERMISSION = -12
ERR_SYSTEM = -13
ERR_WRITE = -14


class CrashOptions(ctypes.Structure):
    """pyunw_crash_options"""

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
        ("message", c_char_p),
        ("message_size", c_size_t),
    ]


class FaulthandlerOptions(ctypes.Structure):
    """pyunw_faulthandler_options"""

    _fields_ = [
        ("size", c_size_t),
        ("fd", c_int),
        ("all_threads", c_int),
        ("max_threads", c_int),
        ("c_stack", c_int),
        ("chain", c_int),
    ]


class FaulthandlerModules(ctypes.Structure):
    """pyunw_faulthandler_modules"""

    _fields_ = [
        ("size", c_size_t),
        ("modules", c_uint64),
        ("module_type", c_uint64),
        ("type_offset", c_int),
        ("definition_offset", c_int),
        ("methods_offset", c_int),
        ("left_out", c_char_p),
    ]


_PROTOTYPES = {
    "pyunw_strerror": (c_char_p, [c_int]),
    "pyunw_crash_install": (c_int, [POINTER(CrashOptions)]),
    "pyunw_crash_remove": (c_int, []),
    "pyunw_crash_attach_thread": (c_int, []),
    "pyunw_crash_detach_thread": (c_int, []),
    "pyunw_crash_report_now": (c_int, []),
    "pyunw_faulthandler_enable": (c_int, [POINTER(FaulthandlerOptions)]),
    "pyunw_faulthandler_disable": (c_int, []),
    "pyunw_faulthandler_is_enabled": (c_int, []),
    "pyunw_faulthandler_dump_traceback": (c_int, [POINTER(FaulthandlerOptions)]),
    "pyunw_faulthandler_dump_c_stack": (c_int, [c_int]),
    "pyunw_faulthandler_dump_traceback_later": (c_int, [POINTER(FaulthandlerOptions), c_uint64, c_int, c_int]),
    "pyunw_faulthandler_cancel_dump_traceback_later": (c_int, []),
    "pyunw_faulthandler_register": (c_int, [c_int, POINTER(FaulthandlerOptions)]),
    "pyunw_faulthandler_unregister": (c_int, [c_int]),
    "pyunw_faulthandler_hide": (c_int, [POINTER(c_uint64), c_int]),
    "pyunw_faulthandler_name_modules": (c_int, [POINTER(FaulthandlerModules)]),
}


def _candidates() -> Iterator[str]:
    """Beside the package; in the build folder of the tree that it lies in; in the lib folders above it."""
    package = os.path.dirname(os.path.abspath(__file__))
    folders = [package, os.path.join(os.path.dirname(os.path.dirname(package)), "build")]
    above = package
    while os.path.basename(above) and os.path.basename(above) not in ("lib", "lib64"):
        above = os.path.dirname(above)
    if os.path.basename(above):
        folders.append(above)
    for folder in folders:
        for name in NAMES:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                yield path
    yield NAMES[0]  # where the dynamic loader looks: LD_LIBRARY_PATH, ldconfig's folders


def _load() -> str:
    """The name by which the library can be opened."""
    named = os.environ.get("PYUNWIND_LIBRARY")
    tried: List[str] = []
    for path in [named] if named else _candidates():
        try:
            # With the GIL held throughout a call: the stacks that it writes do not move.
            library = ctypes.PyDLL(path, use_errno=True)
            for name in _PROTOTYPES:
                getattr(library, name)
        except (OSError, AttributeError) as error:
            tried.append(str(error))
        else:
            return path
    raise ImportError(
        "libpyunwind.so cannot be loaded%s: %s; PYUNWIND_LIBRARY can name it"
        % (", as PYUNWIND_LIBRARY names it" if named else "", "; ".join(tried))
    )


def _bind(library: ctypes.CDLL, name: str) -> Callable:
    function = getattr(library, name)
    function.restype, function.argtypes = _PROTOTYPES[name]
    return function


PATH = _load()
_holding = ctypes.PyDLL(PATH, use_errno=True)
_releasing = ctypes.CDLL(PATH, use_errno=True)


def holding_gil(name: str) -> Callable:
    """A function of the library that is called with the GIL held."""
    return _bind(_holding, name)


def releasing_gil(name: str) -> Callable:
    """A function of the library that other threads do not wait for."""
    return _bind(_releasing, name)


_strerror = holding_gil("pyunw_strerror")


def describe(error: int) -> str:
    """An enum pyunw_err in words."""
    return _strerror(error).decode()
