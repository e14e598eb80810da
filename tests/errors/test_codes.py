# interpreters: host
"""
Every code of enum pyunw_err is provoked at least once, most of them in a tiny image of a CPython 3.8: a runtime, an
interpreter and two thread states. The oracle is what the header says of each code.
"""

import ctypes
import os
import re
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import pyunw
from compile import compile_program, compile_shared

VERSION_3_8 = 0x030812f0

# ---- A CPython 3.8 with two threads: addresses, and offsets of its headers (pycore_pystate.h, pystate.h) -------------

RUNTIME, INTERPRETER, NEWER, OLDER = 0x100000, 0x200000, 0x300000, 0x301000
SIZES = {RUNTIME: 1464, INTERPRETER: 4096, NEWER: 264, OLDER: 264}
RUNTIME_HEAD, RUNTIME_MAIN, RUNTIME_NEXT_ID = RUNTIME + 32, RUNTIME + 40, RUNTIME + 48
INTERPRETER_NEXT, INTERPRETER_THREADS, INTERPRETER_ID = INTERPRETER, INTERPRETER + 8, INTERPRETER + 16
PREV, NEXT, INTERP, FRAME, THREAD_ID, ID = 0, 8, 16, 24, 176, 256


class Image:
    """Memory as a dict of words; whole structures are zero where no word was put."""

    def __init__(self):
        self.words = {
            RUNTIME_HEAD: INTERPRETER, RUNTIME_MAIN: INTERPRETER, RUNTIME_NEXT_ID: 1,
            INTERPRETER_THREADS: NEWER,
            NEWER + NEXT: OLDER, NEWER + INTERP: INTERPRETER, NEWER + THREAD_ID: 0x7000, NEWER + ID: 2,
            OLDER + PREV: NEWER, OLDER + INTERP: INTERPRETER, OLDER + THREAD_ID: 0x8000, OLDER + ID: 1,
        }
        self.turning = {}  # address: values that it holds in turn
        self.reads = 0
        self.callback = pyunw.pyunw_read_function(self.read)

    def read(self, context, address, buffer, size):
        base = max((start for start in SIZES if start <= address), default=None)
        if base is None or address + size > base + max(SIZES[base], 4096):
            return pyunw.PYUNW_ERR_FAULT
        self.reads += 1
        data = bytearray(size)
        for place, value in self.words.items():
            if place in self.turning:
                value = self.turning[place][self.reads % len(self.turning[place])]
            for index, byte in enumerate(value.to_bytes(8, "little")):
                if 0 <= place + index - address < size:
                    data[place + index - address] = byte
        ctypes.memmove(buffer, bytes(data), size)
        return 0

    def open(self, **more):
        """(code, target, message)"""
        fields = {"size": ctypes.sizeof(pyunw.pyunw_image), "read": self.callback, "runtime": RUNTIME,
                  "version": VERSION_3_8}
        fields.update(more)
        message = ctypes.create_string_buffer(256)
        options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), message=ctypes.addressof(message),
                                      message_size=256)
        target = pyunw.pyunw_target()
        code = pyunw.lib.pyunw_open_image(target, pyunw.pyunw_image(**fields), options)
        return code, target, message.value.decode()


def list_threads(target):
    """(thread states told, what ended the list)"""
    cursor, thread, told = pyunw.pyunw_thread_cursor(), pyunw.pyunw_thread(), []
    result = pyunw.lib.pyunw_threads_begin(target, cursor)
    while result >= 0:
        result = pyunw.lib.pyunw_threads_next(cursor, thread)
        if result != 1:
            break
        told.append(thread.tstate)
    if result < 0 and told:
        assert pyunw.lib.pyunw_threads_next(cursor, thread) == 0, "the cursor goes on after an error"
    return told, result


def list_with(may_change=0, turning=None, **words):
    """list_threads() of an image with some words changed after it was opened."""
    image = Image()
    code, target, message = image.open(may_change=may_change)
    assert code == 0, (code, message)
    assert list_threads(target) == ([NEWER, OLDER], 0)
    image.words.update({globals()[name] if name in globals() else int(name[1:], 16): value
                        for name, value in words.items()})
    image.turning = turning or {}
    return list_threads(target)


# ---- One provocation or more for each code --------------------------------------------------------------------------


def argument():
    return [pyunw.lib.pyunw_open_self(None, None)]


def not_open():
    return [pyunw.lib.pyunw_threads_begin(pyunw.pyunw_target(), pyunw.pyunw_thread_cursor())]


def no_python():
    program = compile_program(
        "no_python", '#include <pyunwind.h>\nint main(void)\n{\n    pyunw_target target;\n'
        '    return -pyunw_open_self(&target, NULL);\n}\n', pyunwind=True)
    return [-subprocess.call([program])]


def unsupported():
    codes = [Image().open(version=version)[0] for version in (0x030710f0, 0x03060ff0, 0x02071200)]
    for version in (0x031000a0, 0x04000000):  # told by the runtime itself, as 3.13 and later do
        image = Image()
        image.words.update({RUNTIME: int.from_bytes(b"xdebugpy", "little"), RUNTIME + 8: version})
        codes.append(image.open(version=0)[0])
    return codes


def layout():
    codes = []
    for place, value in ((INTERPRETER_ID, 7), (RUNTIME_HEAD, 0x200004), (RUNTIME_MAIN, 1 << 60),
                         (NEWER + INTERP, OLDER), (INTERPRETER_THREADS, 12)):
        image = Image()
        image.words[place] = value
        code, _, message = image.open()
        assert pyunw.lib.pyunw_strerror(code).decode() in message, message
        codes.append(code)
    code, _, message = Image().open(version=0)  # only 3.13 and later tell their version themselves
    assert "_Py_DebugOffsets" in message, message
    return codes + [code]


def all_capture_codes(target):
    """What the functions answer that need a living interpreter."""
    lib = pyunw.lib
    is_finalizing = lib.dll["pyunw_is_finalizing"]
    is_finalizing.argtypes = [ctypes.POINTER(pyunw.pyunw_target)]
    return [
        is_finalizing(target),
        lib.pyunw_threads_begin(target, pyunw.pyunw_thread_cursor()),
        lib.pyunw_thread_find(target, NEWER, None),
        lib.pyunw_walk(target, NEWER, None, 0, None),
        lib.pyunw_frames_begin(target, NEWER, pyunw.pyunw_frame_cursor()),
        lib.pyunw_capture(target, NEWER, None, 0, None),
        lib.pyunw_write_text(target, 1, NEWER),
        lib.pyunw_write_text_threads(target, 1, 0, 0, 0),
        lib.pyunw_write_json(target, 1, NEWER),
        lib.pyunw_write_json_threads(target, 1),
    ]


def not_initialized():
    image = Image()
    image.words.clear()
    code, target, _ = image.open()
    assert code == 0, "an image is opened before there is an interpreter"
    return all_capture_codes(target)


def finalized():
    image = Image()
    code, target, _ = image.open()
    assert code == 0 and list_threads(target) == ([NEWER, OLDER], 0)
    image.words[RUNTIME_HEAD] = image.words[RUNTIME_MAIN] = 0
    return all_capture_codes(target)


def no_thread():
    code, target, _ = Image().open()
    assert code == 0
    return [pyunw.lib.pyunw_current_thread(target, pyunw.pyunw_addr()),
            pyunw.lib.pyunw_capture_current(target, None, 0, None),
            pyunw.lib.pyunw_thread_find(target, INTERPRETER, None),
            pyunw.lib.pyunw_write_text_threads(target, 1, OLDER, 0, 0)]


def fault():
    code, target, _ = Image().open()
    assert code == 0
    told, damaged = list_with(x300008=1 << 46)  # the newer one's next
    assert told == [NEWER], told
    return [pyunw.lib.pyunw_identify_code(target, 1 << 46, pyunw.pyunw_code_identity()),
            pyunw.lib.pyunw_capture(target, 1 << 46, None, 0, None),
            Image().open(runtime=0x8000000)[0],
            damaged]


def corrupt():
    code, target, _ = Image().open()
    assert code == 0
    codes = [pyunw.lib.pyunw_identify_code(target, NEWER, pyunw.pyunw_code_identity()),
             pyunw.lib.pyunw_identify_code(target, NEWER + 4, pyunw.pyunw_code_identity())]
    # Lists that are damaged and stay so: a misaligned link, a wrong back link, another interpreter's thread, a cycle.
    for words in ({"x300008": OLDER + 4}, {"x301000": INTERPRETER}, {"x301010": OLDER}, {"x301008": NEWER}):
        told, code = list_with(**words)
        assert told in ([NEWER], [NEWER, OLDER]), (words, told)
        codes.append(code)
    return codes


def torn():
    # The older thread state's back link is another one each time it is read.
    told, code = list_with(may_change=1, turning={OLDER + PREV: [INTERPRETER, RUNTIME]})
    assert told == [NEWER], told
    return [code]


def in_child(refused, call):
    """-result of call() in a child to which these system calls are refused."""
    sandbox = ctypes.CDLL(compile_shared("seccomp_refuse", os.path.join(SOURCE, "tests", "open", "seccomp_refuse.c")))
    pid = os.fork()
    if pid == 0:
        numbers = [ctypes.c_int.in_dll(sandbox, "number_of_" + name).value for name in refused]
        failed = sandbox.refuse((ctypes.c_int * len(numbers))(*numbers), len(numbers), 1)
        os._exit(99 if failed else -call())
    return -os.WEXITSTATUS(os.waitpid(pid, 0)[1])


def permission():
    return [in_child(["process_vm_readv", "openat", "pipe2"],
                     lambda: pyunw.lib.pyunw_open_self(pyunw.pyunw_target(), None))]


def system():
    return [in_child(["rt_sigaction"], pyunw.lib.pyunw_trap_install)]


def write():
    target = pyunw.open_self()
    return [pyunw.lib.pyunw_write_text(target, -1, 0), pyunw.lib.pyunw_write_json_threads(target, -1)]


def no_process():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    remote = ctypes.CDLL(os.path.join(os.environ["PYUNWIND_BUILD"], "libpyunwind-remote.so"))
    zombie = remote.pyunw_open_pid(ctypes.byref(pyunw.pyunw_target()), child, None)
    os.waitpid(child, 0)
    return [zombie, remote.pyunw_open_pid(ctypes.byref(pyunw.pyunw_target()), 2**31 - 1, None)]


def main():
    with open(os.path.join(SOURCE, "include", "pyunwind.h"), encoding="utf-8") as file:
        codes = dict(re.findall(r"^    PYUNW_ERR_(\w+) = (-\d+),", file.read(), flags=re.M))
    failed, count = [], 0
    for name, code in codes.items():
        provoke = globals().get(name.lower())
        if provoke is None:
            failed.append("%s is provoked by nothing" % name)
            continue
        answers = provoke()
        count += len(answers)
        if set(answers) != {int(code)}:
            failed.append("%s (%s): %s" % (name, code, answers))
    if failed:
        print("\n".join(failed))
        return 1
    print("%d codes, provoked in %d ways" % (len(codes), count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
