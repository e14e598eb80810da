# interpreters: host
"""
What `pyunwind dump` and pyunw_open_pid() say of what they cannot read, and of what they are refused: each message names
the cause, and where there is one the cure. The oracle is how the process was made. Also that /proc/PID/mem serves where
process_vm_readv is refused.
"""

import ctypes
import errno
import json
import os
import re
import subprocess
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

import pyunw
from compile import CompileError, compile_program, compile_shared
from dumping import BUILD, Program, Subject, check, compare_subject, finish, run_dump
from refusing import FAKES, STANDS_STILL, fake_source

CAP_SYS_PTRACE = 19
PR_SET_DUMPABLE, PR_CAPBSET_DROP = 4, 24
NOBODY = 65534

REMOTE = ctypes.CDLL(os.path.join(BUILD, "libpyunwind-remote.so"))
REMOTE.pyunw_open_pid.argtypes = [ctypes.POINTER(pyunw.pyunw_target), ctypes.c_int,
                                  ctypes.POINTER(pyunw.pyunw_options)]


def open_pid(pid, **members):
    """(code, message) of pyunw_open_pid()"""
    message = ctypes.create_string_buffer(1024)
    options = pyunw.pyunw_options(size=ctypes.sizeof(pyunw.pyunw_options), message=ctypes.addressof(message),
                                  message_size=ctypes.sizeof(message))
    for name, value in members.items():
        setattr(options, name, value)
    code = REMOTE.pyunw_open_pid(pyunw.pyunw_target(), pid, options)
    return code, message.value.decode()


tried = []


def refused(what, pid, code, pattern, **options):
    """By the library with a code and a message, and by the command with the same message and exit status 1."""
    tried.append(what)
    if not options:
        got, message = open_pid(pid)
        check(got == code and re.search(pattern, message), what, "library:", got, message)
    status, output, errors = run_dump(pid, **options)
    good = (status, output) == (1, "") and re.match("pyunwind dump: .*(%s).*\n$" % pattern, errors)
    check(good, what, "command:", status, output, errors)


# ---- No process, no Python ------------------------------------------------------------------------------------------


def check_processes():
    refused("no such process", 2**31 - 1, pyunw.PYUNW_ERR_NO_PROCESS, "no process 2147483647")
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    refused("a zombie", ended.pid, pyunw.PYUNW_ERR_NO_PROCESS, "zombie")
    ended.wait()
    with Subject("lock", command=[sys.executable, os.path.join(SOURCE, "tests", "dump", "subject.py")]) as subject:
        task = next(told["native_id"] for told in subject.truth["threads"] if told["native_id"] != subject.pid)
        refused("a thread", task, pyunw.PYUNW_ERR_NO_PROCESS, "%d is a thread of process %d" % (task, subject.pid))


def refused_program(what, program, code, pattern):
    with Program([program]) as started:
        refused(what, started.pid, code, pattern)


def pretender(name, source, *flags):
    """A program that stands still, made of the parts of a CPython that fake_runtime.c can pretend."""
    return compile_program(name, STANDS_STILL, source, flags=list(flags) + ["-O0"])


def check_programs():
    still = compile_program("stands_still", STANDS_STILL)
    refused_program("not Python", still, pyunw.PYUNW_ERR_NO_PYTHON, "is not Python: %s and" % re.escape(still))
    pypy = compile_program("like_pypy", STANDS_STILL, "int pypy_main_startup(void);\nint pypy_main_startup(void)\n{\n"
                           "    return 0;\n}\n")
    refused_program("PyPy", pypy, pyunw.PYUNW_ERR_NO_PYTHON, "runs PyPy")
    for what, flags, pattern in FAKES:
        refused_program(what, pretender("pretender", fake_source(), *flags), pyunw.PYUNW_ERR_UNSUPPORTED, pattern)
    broken = pretender("pretender", fake_source(), "-DFAKE_COOKIE=0x030d00f0", "-DFAKE_FLAG=0", "-DFAKE_OFFSETS=0x7777")
    refused_program("a CPython 3.13 with nonsense in it", broken, pyunw.PYUNW_ERR_LAYOUT, "do not lie where")


def check_terminal():
    """A program whose name is an order to a terminal: in a message it is text."""
    still = compile_program("stands_still", STANDS_STILL)
    orders = os.path.abspath("a\x1b]0;b\x07\u009b2J\n")
    os.rename(still, orders)
    with Program([orders]) as started:
        status, output, errors = run_dump(started.pid)
        check((status, output) == (1, "") and "is not Python: " in errors and "/a\\x1b]0;b\\x07\\x9b2J\\x0a and" in errors and
              errors.rstrip("\n").isprintable(), "a name that is an order to a terminal", status, output, repr(errors))
    tried.append("a name that is an order to a terminal")


SMALL_PROGRAM = r"""
void _start(void);
static int call(int number, int first, const void *second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}
void _start(void)
{
    char byte = '\n';
    call(4, 1, &byte, 1);
    call(3, 0, &byte, 1);
    call(1, 0, 0, 0);
}
"""


def check_32_bit():
    if os.uname().machine != "x86_64":
        return
    try:
        program = compile_program("small", SMALL_PROGRAM, flags=["-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie",
                                                                 "-fno-stack-protector"])
        with Program([program]) as started:
            if started.line:
                refused("32 bits", started.pid, pyunw.PYUNW_ERR_UNSUPPORTED, "32-bit program")
                return
    except (CompileError, OSError):
        pass
    print("NOT TRIED: this machine makes or runs no 32-bit programs")


# ---- Permission -----------------------------------------------------------------------------------------------------


def without_ptrace():
    """For a child before its exec: root without the right to read everyone."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)


def forbid_reading():
    os.setuid(NOBODY)


SAYS_NO = "import ctypes, os\nctypes.CDLL(None).prctl(%d, 0, 0, 0, 0)\nos.write(1, b'\\n')\nos.read(0, 1)\n" % (
    PR_SET_DUMPABLE)


def check_permission():
    if os.geteuid() != 0:
        print("NOT TRIED: refusals of permission, which only root can arrange")
        return
    code = pyunw.PYUNW_ERR_PERMISSION
    still = ["cat"]
    with subprocess.Popen(still, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=forbid_reading) as other:
        refused("another user's", other.pid, code,
                r"not permitted: .*belongs to user 65534, and this is user 0 without CAP_SYS_PTRACE\. Either run as "
                r"root \(sudo\), or with CAP_SYS_PTRACE .*; or run as user 65534", preexec_fn=without_ptrace)
        status, output, errors = run_dump("--pause", other.pid, preexec_fn=without_ptrace)
        check((status, output) == (1, "") and "not permitted: process %d belongs to user 65534" % other.pid in errors,
              "another user's, paused:", status, output, errors)
        other.kill()
    with Program([sys.executable, "-c", SAYS_NO]) as program:
        refused("one that forbids it", program.pid, code,
                "not permitted: (.*belongs to the same user, but .*PR_SET_DUMPABLE.* Either .*; or |Yama)",
                preexec_fn=without_ptrace)


def refuse_readv(error):
    """What a sandbox does to process_vm_readv."""
    library = ctypes.CDLL(compile_shared("seccomp_refuse", os.path.join(SOURCE, "tests", "open", "seccomp_refuse.c")))
    number = ctypes.c_int.in_dll(library, "number_of_process_vm_readv").value
    return lambda: library.refuse((ctypes.c_int * 1)(number), 1, error)


def check_mem():
    frames = 0
    command = [sys.executable, os.path.join(SOURCE, "tests", "dump", "subject.py")]
    with Subject("lock", "deep", command=command) as subject:
        for error in (errno.EPERM, errno.ENOSYS):
            frames += compare_subject("without process_vm_readv", subject, preexec_fn=refuse_readv(error))
    return frames


# ---- Arguments ------------------------------------------------------------------------------------------------------


def check_arguments():
    argument = pyunw.PYUNW_ERR_ARGUMENT
    for pid in (0, -1, -2**31):
        check(open_pid(pid) == (argument, "asked for process %d, runtime 0" % pid), "pid", pid, open_pid(pid))
    check(open_pid(os.getpid(), runtime=4)[0] == argument, "a runtime that is not aligned")
    check(open_pid(os.getpid(), size=8) == (argument, ""), "options that are too short")
    check(REMOTE.pyunw_open_pid(None, os.getpid(), None) == argument, "no target")
    code, message = open_pid(os.getpid(), runtime=8)
    check(code == pyunw.PYUNW_ERR_NO_PYTHON and "at 0x8" in message, "a runtime that is none", code, message)
    check(open_pid(os.getpid()) == (0, ""), "the own process", open_pid(os.getpid()))


def check_several():
    """What can be read is, and the rest is named."""
    command = [sys.executable, os.path.join(SOURCE, "tests", "dump", "subject.py")]
    with Subject(command=command) as first, Subject(command=command) as second:
        status, output, errors = run_dump("--json", first.pid, 2**31 - 1, second.pid)
        pids = [process["pid"] for process in json.loads(output)["processes"]]
        check((status, pids) == (1, [first.pid, second.pid]), "several", status, pids)
        check(errors == "pyunwind dump: there is no process 2147483647\n", errors)
        status, output, errors = run_dump(first.pid, second.pid)
        check((status, errors) == (0, "") and output.count("Process ") == 2, "several", status, errors)


def main():
    check_processes()
    check_programs()
    check_terminal()
    check_32_bit()
    check_permission()
    frames = check_mem()
    check_arguments()
    check_several()
    return finish("refused as they should be: %s; %d frames by /proc/PID/mem" % (", ".join(tried), frames))


if __name__ == "__main__":
    sys.exit(main())
