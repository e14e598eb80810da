# interpreters: each
"""
What a capture calls: nothing. Every signal-safe function is called in a window in which no text but libpyunwind's can
be executed, so that a call of malloc, of a lock, of the interpreter (PyGILState_Ensure), of the dynamic linker
(__tls_get_addr) or of anything else of another's ends the process and is named; memcpy, memset and memcmp are given by
the test. In every memory, with and without the GIL, of the own thread and of another, of what is there and of what is
not. That the window finds such calls out is shown with each of those that matter most.
"""

import ctypes
import mmap
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

import calls
import pyunw
from compile import compile_shared, preloading

FLAGS = calls.core_flags() + ["-fno-builtin", "-Wl,-z,now"]
HELPER = compile_shared("no_foreign_code", "no_foreign_code.c", flags=FLAGS, pyunwind=True)
DEPTH = 24
OFFENCES = [
    "malloc", "calloc", "realloc", "free", "posix_memalign", "pthread_mutex_lock", "pthread_mutex_trylock",
    "pthread_getspecific", "__tls_get_addr", "snprintf", "write", "strlen", "dl_iterate_phdr",
    "PyGILState_Ensure", "PyGILState_Release", "PyEval_SaveThread", "PyEval_RestoreThread", "PyMem_Malloc",
    "PyMem_RawMalloc", "PyObject_Malloc", "PyUnicode_AsUTF8", "Py_IncRef", "PyThreadState_Get",
]
ALLOWED = ["memcpy", "memset", "memcmp"]


class Window:
    def __init__(self, dll):
        self.call_in_window = dll["call_in_window"]
        self.calls = {}

    def __call__(self, name, *arguments):
        words, result = calls.words_of(arguments), ctypes.c_long()
        made = self.call_in_window(ctypes.cast(pyunw.lib.dll[name], ctypes.c_void_p), words, ctypes.byref(result))
        assert made == 0, "the window could not be made"
        self.calls[name] = self.calls.get(name, 0) + 1
        return calls.result_of(name, result.value)


def close_foreign_text(helper):
    """Tell the helper all executable mappings but libpyunwind's and its own: how many, and how many bytes."""
    kept = (os.path.realpath(HELPER), os.path.realpath(pyunw.PATH), "[vdso]", "[vsyscall]")
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            words = line.split(None, 5)
            if "x" not in words[1] or (len(words) > 5 and words[5].strip() in kept):
                continue
            begin, end = (int(word, 16) for word in words[0].split("-"))
            protection = sum({"r": mmap.PROT_READ, "w": mmap.PROT_WRITE, "x": mmap.PROT_EXEC}.get(letter, 0)
                             for letter in words[1])
            assert helper.foreign_text(ctypes.c_void_p(begin), ctypes.c_void_p(end), protection) > 0
            found.append(end - begin)
    assert found, "no foreign text was found"
    return len(found), sum(found)


def check_window(helper):
    """Each offence is found out at its first instruction, and what is allowed is let pass; how many there were."""
    symbols = ctypes.CDLL(None)
    helper.offend.restype = ctypes.c_void_p
    tried = []
    for name in OFFENCES + ALLOWED:
        try:
            address = ctypes.cast(symbols[name], ctypes.c_void_p)
        except AttributeError:  # no version has all of them
            continue
        found_out = helper.offend(address) or 0
        assert found_out == (0 if name in ALLOWED else address.value), "%s: %#x was found out" % (name, found_out)
        tried.append(name)
    assert {"malloc", "pthread_mutex_lock", "PyGILState_Ensure", "__tls_get_addr"} | set(ALLOWED) <= set(tried), tried
    return len(tried) - len(ALLOWED)


def run():
    holding, releasing = Window(ctypes.PyDLL(HELPER)), Window(ctypes.CDLL(HELPER))
    helper = ctypes.PyDLL(HELPER)
    assert helper.watch_faults() == 0
    pyunw.check(pyunw.lib.pyunw_trap_install())
    targets = calls.Targets(ctypes.cast(helper["read_own_memory"], ctypes.c_void_p))
    room = calls.Room()
    mappings, size = close_foreign_text(helper)
    offences = check_window(helper)
    calls.everything(holding, targets, room, DEPTH)
    calls.everything(releasing, targets, room, DEPTH)
    assert set(holding.calls) == set(releasing.calls) == calls.SIGNAL_SAFE, (
        "not called, or not declared: %s" % sorted(set(holding.calls) ^ calls.SIGNAL_SAFE))
    count = sum(holding.calls.values()) + sum(releasing.calls.values())
    print("%d calls of %d signal-safe functions ran with %d mappings (%d MiB) of foreign code closed; %d calls of what "
          "must not be called were found out" % (count, len(holding.calls), mappings, size >> 20, offences))
    return 0


def main():
    if "--preloaded" in sys.argv:
        return run()
    environment = dict(os.environ, LD_PRELOAD=preloading(HELPER))
    return subprocess.run([sys.executable, os.path.abspath(__file__), "--preloaded"], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
