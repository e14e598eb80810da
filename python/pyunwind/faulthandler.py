"""
The module faulthandler of the standard library, without its crashes and limits.

    import pyunwind.faulthandler as faulthandler
    faulthandler.enable()

Functions, arguments, errors and texts are those of the interpreter's own module. What is dumped are all frames and all
threads; a damaged process is read without crashing. replace() puts these functions in place of the module's own, for
programs and libraries that import that.
"""

import ctypes
import errno
import faulthandler as _module
import os
import sys
import types
import warnings
from operator import index
from typing import Any, Dict, Optional

from . import _library, _threads

__all__ = [
    "cancel_dump_traceback_later",
    "disable",
    "dump_traceback",
    "dump_traceback_later",
    "enable",
    "is_enabled",
    "register",
    "replace",
    "restore",
    "unregister",
]

_enable = _library.holding_gil("pyunw_faulthandler_enable")
_disable = _library.holding_gil("pyunw_faulthandler_disable")
_is_enabled = _library.holding_gil("pyunw_faulthandler_is_enabled")
_dump_traceback = _library.holding_gil("pyunw_faulthandler_dump_traceback")
_dump_c_stack = _library.holding_gil("pyunw_faulthandler_dump_c_stack")
_dump_later = _library.holding_gil("pyunw_faulthandler_dump_traceback_later")
_cancel_later = _library.holding_gil("pyunw_faulthandler_cancel_dump_traceback_later")
_register = _library.holding_gil("pyunw_faulthandler_register")
_unregister = _library.holding_gil("pyunw_faulthandler_unregister")
_hide = _library.holding_gil("pyunw_faulthandler_hide")
_name_modules = _library.holding_gil("pyunw_faulthandler_name_modules")

_INT_MAX = 2**31 - 1
_HAS_C_STACK = hasattr(_module, "dump_c_stack")  # 3.14

# Files that are written to later: they have to stay open, as CPython keeps them.
_files: Dict[Any, Any] = {}


class _Original:
    """The functions of the interpreter's own module, also when they have been replaced."""

    def __init__(self) -> None:
        for name in __all__ + ["dump_c_stack"]:
            function = getattr(_module, name, None)
            setattr(self, name, getattr(function, "_original", function))


_original: Any = _Original()

# ---- Arguments ------------------------------------------------------------------------------------------------------


class _Accepted(Exception):
    pass


class _Probe:
    """
    A file that is asked for its descriptor when CPython has checked all arguments before it, and then refuses. So it is
    CPython that checks them, and says what is wrong in the words of its version.
    """

    def fileno(self) -> int:
        raise _Accepted


def _check(function: Any, *arguments: Any, **keywords: Any) -> None:
    try:
        function(*arguments, file=_Probe(), **keywords)
    except _Accepted:
        pass


def _fileno(file: Any) -> int:
    """The descriptor of a file, which is flushed; what is none is handed to CPython, which says why."""
    if isinstance(file, int):
        if not 0 <= file <= _INT_MAX:
            _original.enable(file)
        if isinstance(file, bool) and sys.version_info >= (3, 13):
            warnings.warn("bool is used as a file descriptor", RuntimeWarning, stacklevel=3)
        return int(file)
    if file is None:
        file = getattr(sys, "stderr", None)
        if file is None:
            _original.enable()
    fd = file.fileno()
    if not isinstance(fd, int) or not 0 <= fd < _INT_MAX:
        raise RuntimeError("file.fileno() is not a valid file descriptor")
    try:
        file.flush()
    except Exception:
        pass
    return int(fd)


def _kept(file: Any) -> Any:
    """What is to stay alive: the file itself, of standard error as it is now."""
    return sys.stderr if file is None else file


def _options(fd: int, all_threads: Any = True, max_threads: int = 0, c_stack: Any = False, chain: Any = False) -> Any:
    # 0 is no limit, where CPython means 100; with less than 0 there is no thread.
    limit = max(-1, min(max_threads, _INT_MAX))
    return ctypes.byref(
        _library.FaulthandlerOptions(
            size=ctypes.sizeof(_library.FaulthandlerOptions),
            fd=fd,
            all_threads=_is_true(all_threads),
            max_threads=limit,
            c_stack=_is_true(c_stack),
            chain=_is_true(chain),
        )
    )


def _is_true(value: Any) -> bool:
    return bool(value) if sys.version_info >= (3, 12) else index(value) != 0


def _raise(result: int) -> None:
    number = ctypes.get_errno()
    if result == _library.ERR_SYSTEM and number:
        raise OSError(number, os.strerror(number))
    raise RuntimeError(_library.describe(result))


def _succeed(result: int) -> int:
    if result < 0:
        _raise(result)
    return result


# ---- Extension modules ----------------------------------------------------------------------------------------------

_get_definition = ctypes.PyDLL(None).PyModule_GetDef
_get_definition.restype = ctypes.c_void_p
_get_definition.argtypes = [ctypes.py_object]

_WORD = ctypes.sizeof(ctypes.c_void_p)


def _word_at(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _find_definition() -> Optional[int]:
    """Where a module has the address of its PyModuleDef: where one of which CPython tells it has it."""
    definition = _get_definition(sys)
    for offset in range(object.__basicsize__, types.ModuleType.__basicsize__, _WORD):
        if definition and _word_at(id(sys) + offset) == definition:
            return offset
    return None


def _tell_modules() -> None:
    """What Python/pylifecycle.c, _Py_DumpExtensionModules(), looks at when the process dies."""
    offset = _find_definition()
    if offset is None:
        _name_modules(None)
        return
    names = [name for name in getattr(sys, "stdlib_module_names", ()) if isinstance(name, str) and name]
    described = _library.FaulthandlerModules(
        size=ctypes.sizeof(_library.FaulthandlerModules),
        modules=id(sys.modules),
        module_type=id(types.ModuleType),
        type_offset=object.__basicsize__ - _WORD,
        definition_offset=offset,
        methods_offset=object.__basicsize__ + 6 * _WORD,  # m_base, m_name, m_doc, m_size, m_methods
        left_out="".join(name + "\0" for name in names).encode("utf-8", "replace") + b"\0",
    )
    _succeed(_name_modules(ctypes.byref(described)))
    _files["modules"] = sys.modules


# ---- The functions --------------------------------------------------------------------------------------------------


def _enable_on(file: Any, all_threads: Any, c_stack: Any, max_threads: int, fd: int) -> None:
    _tell_modules()
    _succeed(_enable(_options(fd, all_threads, max_threads, c_stack)))
    _files["enable"] = _kept(file)
    _threads.watch("faulthandler")


def disable() -> bool:
    """Disable the fault handler."""
    _threads.unwatch("faulthandler")
    _files.pop("enable", None)
    return bool(_disable())


def is_enabled() -> bool:
    """Check if the handler is enabled."""
    return bool(_is_enabled())


def _dump_on(fd: int, all_threads: Any, max_threads: int) -> None:
    result = _dump_traceback(_options(fd, all_threads, max_threads))
    # CPython says nothing of a descriptor that cannot be written to.
    if result < 0 and result != _library.ERR_WRITE:
        _raise(result)


def _dump_later_on(timeout: Any, repeat: Any, file: Any, exit: Any, max_threads: int, fd: int) -> None:
    result = _dump_later(_options(fd, True, max_threads), _microseconds(timeout), _is_true(repeat), _is_true(exit))
    if result == _library.ERR_SYSTEM:
        raise RuntimeError("unable to start watchdog thread")
    _succeed(result)
    _files["later"] = _kept(file)


def _microseconds(timeout: Any) -> int:
    """Rounded up, as CPython rounds timeouts."""
    if isinstance(timeout, float):
        nanoseconds = timeout * 1e9
        whole = int(nanoseconds)
        whole += whole < nanoseconds
    else:
        try:
            whole = index(timeout) * 10**9
        except TypeError:  # 3.15: whatever is a real number
            return _microseconds(float(timeout))
    return -(-whole // 1000)


def cancel_dump_traceback_later() -> None:
    """Cancel the previous call to dump_traceback_later()."""
    _cancel_later()
    _files.pop("later", None)


def _register_on(signum: int, file: Any, all_threads: Any, chain: Any, max_threads: int, fd: int) -> None:
    _succeed(_register(index(signum), _options(fd, all_threads, max_threads, chain=chain)))
    _files[index(signum)] = _kept(file)


def unregister(signum: int, /) -> bool:
    """Unregister the handler of the signal 'signum' registered by register()."""
    _check(_original.register, signum)
    _files.pop(index(signum), None)
    return bool(_unregister(index(signum)))


if sys.version_info >= (3, 15):

    def enable(file: Any = None, all_threads: bool = True, c_stack: bool = True, *, max_threads: int = 100) -> None:
        """Enable the fault handler."""
        _check(_original.enable, all_threads=all_threads, c_stack=c_stack, max_threads=max_threads)
        _enable_on(file, all_threads, c_stack, index(max_threads), _fileno(file))

    def dump_traceback(file: Any = None, all_threads: bool = True, *, max_threads: int = 100) -> None:
        """Dump the traceback of the current thread, or of all threads if all_threads is true, into file."""
        _check(_original.dump_traceback, all_threads=all_threads, max_threads=max_threads)
        _dump_on(_fileno(file), all_threads, index(max_threads))

    def dump_traceback_later(
        timeout: float, repeat: bool = False, file: Any = None, exit: bool = False, *, max_threads: int = 100
    ) -> None:
        """
        Dump the traceback of all threads in timeout seconds.

        If repeat is true, the tracebacks of all threads are dumped every timeout seconds. If exit is true, call
        _exit(1) which is not safe.
        """
        _check(_original.dump_traceback_later, timeout, repeat=repeat, exit=exit, max_threads=max_threads)
        _dump_later_on(timeout, repeat, file, exit, index(max_threads), _fileno(file))

    def register(
        signum: int, file: Any = None, all_threads: bool = True, chain: bool = False, *, max_threads: int = 100
    ) -> None:
        """
        Register a handler for the signal 'signum'.

        Dump the traceback of the current thread, or of all threads if all_threads is true, into file.
        """
        _check(_original.register, signum, all_threads=all_threads, chain=chain, max_threads=max_threads)
        _register_on(signum, file, all_threads, chain, index(max_threads), _fileno(file))

else:
    if _HAS_C_STACK:

        def enable(file: Any = None, all_threads: bool = True, c_stack: bool = True) -> None:
            """Enable the fault handler."""
            _check(_original.enable, all_threads=all_threads, c_stack=c_stack)
            _enable_on(file, all_threads, c_stack, 0, _fileno(file))

    else:

        def enable(file: Any = None, all_threads: bool = True) -> None:  # type: ignore[misc]
            """Enable the fault handler."""
            _check(_original.enable, all_threads=all_threads)
            _enable_on(file, all_threads, False, 0, _fileno(file))

    def dump_traceback(file: Any = None, all_threads: bool = True) -> None:  # type: ignore[misc]
        """Dump the traceback of the current thread, or of all threads if all_threads is true, into file."""
        _check(_original.dump_traceback, all_threads=all_threads)
        _dump_on(_fileno(file), all_threads, 0)

    def dump_traceback_later(  # type: ignore[misc]
        timeout: float, repeat: bool = False, file: Any = None, exit: bool = False
    ) -> None:
        """
        Dump the traceback of all threads in timeout seconds, or each timeout seconds if repeat is true. If exit is
        true, call _exit(1) which is not safe.
        """
        _check(_original.dump_traceback_later, timeout, repeat=repeat, exit=exit)
        _dump_later_on(timeout, repeat, file, exit, 0, _fileno(file))

    def register(  # type: ignore[misc]
        signum: int, file: Any = None, all_threads: bool = True, chain: bool = False
    ) -> None:
        """
        Register a handler for the signal 'signum': dump the traceback of the current thread, or of all threads if
        all_threads is true, into file.
        """
        _check(_original.register, signum, all_threads=all_threads, chain=chain)
        _register_on(signum, file, all_threads, chain, 0, _fileno(file))


if _HAS_C_STACK:

    def dump_c_stack(file: Any = None) -> None:
        """Dump the C stack of the current thread."""
        _dump_c_stack(_fileno(file))

    __all__.append("dump_c_stack")


# ---- In place of the module's own -----------------------------------------------------------------------------------

_REPLACED = [name for name in __all__ if name not in ("replace", "restore")]


def replace() -> None:
    """
    Put these functions in place of those of the module faulthandler. Whoever has imported one of its functions by name
    before keeps that. Where the module is enabled already (-X faulthandler), these functions are instead, and write to
    sys.stderr. PYUNWIND_REPLACE_FAULTHANDLER=1 does this when an interpreter starts.
    """
    was_enabled = _original.is_enabled()
    for name in _REPLACED:
        setattr(_module, name, globals()[name])
    if was_enabled and getattr(sys, "stderr", None) is not None:
        _original.disable()
        enable()


def restore() -> None:
    """Undo replace(), where no other functions have been put there since. What is enabled stays enabled."""
    for name in _REPLACED:
        if getattr(_module, name) is globals()[name]:
            setattr(_module, name, getattr(_original, name))


def _hide_own_frames() -> None:
    """No dump shows the frames of this package."""
    functions = [
        value
        for namespace in (globals(), vars(_threads), vars(_threads._Stack), vars(_Probe))
        for value in namespace.values()
        if isinstance(value, types.FunctionType) and value.__module__ in (__name__, _threads.__name__)
    ]
    codes = [id(function.__code__) for function in functions]
    _succeed(_hide((ctypes.c_uint64 * len(codes))(*codes), len(codes)))
    # They stay alive, whatever becomes of this module.
    _hidden.extend(functions)
    for name in _REPLACED:
        globals()[name]._original = getattr(_original, name)


_hidden: Any = sys.modules[_library.__name__].__dict__.setdefault("_hidden", [])
_hide_own_frames()
