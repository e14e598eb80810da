# interpreters: each
# weight: heavy
"""
What pyunwind.faulthandler does where the interpreter's own module stops early, crashes, hangs or shows nothing: deep
stacks, many threads, overflows in threads, damaged objects, two deaths at once, handlers before and after it, fork; and
that the package's own frames never show.
"""

import json
import inspect
import os
import re
import subprocess
import sys
import tempfile
import threading

from package import PACKAGES, environment, make_environment

START = """
import sys
sys.path.insert(0, %r)
import pyunwind.faulthandler as faulthandler
import ctypes, os, resource, signal, threading, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler.enable()
NATIVE = ctypes.CDLL(None)
""" % PACKAGES

checks = []


def check(function):
    checks.append(function)
    return function


def run(program, *, start=START, flags=(), status=None, executable=sys.executable, **variables):
    """What the program writes to standard error and output."""
    done = subprocess.run([executable, *flags, "-c", start + program], env=environment(**variables), timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "backslashreplace")
    assert status is None or done.returncode == status, "exit status %d, not %d:\n%s" % (done.returncode, status, text)
    assert PACKAGES not in text, text
    return text


def frames_of(text):
    return re.findall(r'^  File "(.*?)", line (\d+) in (.*)$', text, flags=re.M)


@check
def deep_stacks():
    text = run("def descend(n):\n    descend(n - 1) if n else NATIVE.strlen(None)\ndescend(300)\n", status=-11)
    assert [name for _, _, name in frames_of(text)] == ["descend"] * 301 + ["<module>"], text


@check
def many_threads():
    text = run("""
stop = threading.Lock()
stop.acquire()
threads = [threading.Thread(target=stop.acquire, daemon=True) for _ in range(120)]
for thread in threads:
    thread.start()
NATIVE.strlen(None)
""" if sys.version_info < (3, 15) else """
faulthandler.enable(max_threads=0)
stop = threading.Lock()
stop.acquire()
threads = [threading.Thread(target=stop.acquire, daemon=True) for _ in range(120)]
for thread in threads:
    thread.start()
NATIVE.strlen(None)
""", status=-11)
    assert len(re.findall("^Thread 0x", text, flags=re.M)) == 120, text
    assert len(re.findall("^Current thread 0x", text, flags=re.M)) == 1, text


@check
def overflow_in_a_thread():
    text = run("""
import faulthandler as original
class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
class Own(threading.Thread):
    def run(self):
        stack = Stack()
        NATIVE.sigaltstack(None, ctypes.byref(stack))
        if stack.flags & 2:
            os._exit(3)  # it has none: whether the overflow can be reported is a matter of luck
        original._stack_overflow()
thread = Own()
thread.start()
thread.join()
""", status=-11)
    assert text.startswith("Fatal Python error: Segmentation fault\n\nCurrent thread"), text
    assert frames_of(text)[0][2] == "run" and frames_of(text)[1][2] == "_bootstrap_inner", text


@check
def a_damaged_code_object():
    """Its name is no object any more: CPython's own handler crashes, and nothing is written."""
    text = run("""
def damaged():
    NATIVE.strlen(None)
code, name = damaged.__code__, id(damaged.__code__.co_name)
words = (ctypes.c_size_t * (type(code).__basicsize__ // 8)).from_address(id(code))
for n, word in enumerate(words):
    if word == name:
        words[n] = 0x10
damaged()
""", status=-11)
    assert re.search(r'^  File "<string>", line \d+ in \?\?\?\n  File "<string>", line \d+ in <module>$', text, re.M), text


@check
def two_threads_die_at_once():
    text = run("""
ready = threading.Barrier(3)
def die(n=900):
    if n > 0:
        return die(n - 1)  # so that there is much to write
    ready.wait()
    NATIVE.strlen(None)
threads = [threading.Thread(target=die) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""", status=-11)
    parts = text.split("Fatal Python error: Segmentation fault\n\n")
    assert parts[0] == "" and len(parts) >= 2, text
    # The first has written all threads before another got its turn.
    assert len(re.findall("hread 0x", parts[1])) == 4 and parts[1].count("in die") >= 1, text
    assert frames_of(parts[1])[-1][2] == "<module>", text


@check
def own_frames_of_a_thread_in_the_package():
    """A dump into a pipe that is full stands still in the package; the stack is asked for meanwhile, from outside."""
    text = run("""
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(writer, True)
faulthandler.register(signal.SIGUSR1, all_threads=False)
parent = os.getpid()
def is_standing():
    with open("/proc/%d/status" % parent) as file:
        fields = dict(line.split(":\\t", 1) for line in file if ":\\t" in line)
    return fields["State"][0] == "S" and not int(fields["SigPnd"], 16) and not int(fields["ShdPnd"], 16)
def wait_until_it_stands():
    while not is_standing():
        time.sleep(0.001)
if os.fork() == 0:
    try:
        wait_until_it_stands()
        os.kill(parent, signal.SIGUSR1)
        wait_until_it_stands()
    finally:
        while len(os.read(reader, 1 << 16)) == 1 << 16:
            pass
        os._exit(0)
def stand():
    faulthandler.dump_traceback(writer)
stand()
os.wait()
""", status=0)
    assert text.startswith("Stack (most recent call first):\n"), text
    assert [name for _, _, name in frames_of(text)] == ["stand", "<module>"], text


@check
def fork_with_a_watchdog():
    if "PYUNWIND_SANITIZED" in os.environ:
        return  # its allocator is locked for ever in the child where the watchdog's thread is allocating as it begins
    text = run("""
faulthandler.dump_traceback_later(0.2)
if os.fork() == 0:
    faulthandler.cancel_dump_traceback_later()
    faulthandler.dump_traceback_later(0.01, exit=True)
    time.sleep(60)
print("child:", os.waitstatus_to_exitcode(os.wait()[1]) if hasattr(os, "waitstatus_to_exitcode") else 1, flush=True)
faulthandler.cancel_dump_traceback_later()
""", status=0)
    assert "child: 1" in text and text.count("Timeout (0:00:00.010000)!") == 1, text


def report_in(folder):
    names = [name for name in os.listdir(folder) if name.endswith(".json")]
    assert len(names) == 1, names
    with open(os.path.join(folder, names[0])) as file:
        return json.load(file)


def check_with_crash_tracker(order):
    """The tracker is given the fault as it was, whoever was there first; the text is written once."""
    with tempfile.TemporaryDirectory() as folder:
        start = START.replace("faulthandler.enable()\n", "import pyunwind.crash\n")
        text = run(order + "\ndef die():\n    NATIVE.strlen(None)\ndie()\n", start=start, status=-11,
                   PYUNWIND_REPORT_DIR=folder)
        report = report_in(folder)
    assert text.count("Fatal Python error: Segmentation fault\n") == 1, text
    assert frames_of(text)[0][2] == "die", text
    signal = report["signal"]
    assert (signal["number"], signal["code_name"], signal["address"]) == (11, "SEGV_MAPERR", "0x0"), signal
    assert report["diagnosis"]["cause"] == "null_read", report["diagnosis"]
    crashed = [thread for thread in report["threads"] if thread["crashed"]]
    names = [frame["name"] for frame in crashed[0]["frames"] if frame["kind"] == "python"]
    assert len(crashed) == 1 and names == ["die", "<module>"], names
    modules = [os.path.basename(frame["module"] or "") for frame in crashed[0]["frames"] if frame["kind"] == "native"]
    assert modules[0].startswith("libc.") and not any("pyunwind" in module for module in modules), modules


@check
def crash_tracker_before():
    check_with_crash_tracker("pyunwind.crash.install()\nfaulthandler.enable()")


@check
def crash_tracker_after():
    check_with_crash_tracker("faulthandler.enable()\npyunwind.crash.install()")


@check
def original_enabled_too():
    for order in ("original.enable()\nfaulthandler.enable()", "faulthandler.enable()\noriginal.enable()"):
        start = START.replace("faulthandler.enable()\n", "import faulthandler as original\n" + order + "\n")
        text = run("def die():\n    NATIVE.strlen(None)\ndie()\n", start=start, status=-11)
        assert text.count("Fatal Python error: Segmentation fault\n") == 2, text


@check
def a_storm_of_dumps():
    """All threads, from handlers in any of them, while they push and pop frames. CPython's own handler crashes soon."""
    text = run("""
import itertools
faulthandler.disable()
sys.setswitchinterval(1e-4)
import tempfile
file = tempfile.TemporaryFile("w+")
faulthandler.register(signal.SIGUSR1, file)
go_on = True
def leaf(n):
    return n
def generate(n):
    yield from (leaf(i) for i in range(n))
def work():
    while go_on:
        sum(generate(20))
        sorted(range(9), key=lambda n: leaf(n))
threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
identities = itertools.cycle([thread.ident for thread in threads])
for _ in range(150):
    signal.pthread_kill(next(identities), signal.SIGUSR1)
    time.sleep(0)
go_on = False
for thread in threads:
    thread.join()
file.seek(0)
names = {line.rpartition(" in ")[2].strip() for line in file if line.startswith("  File")}
print(sorted(names))
""", status=0)
    names = set(re.findall(r"'(.*?)'", text))
    known = {"leaf", "generate", "<genexpr>", "<lambda>", "work", "run", "_bootstrap", "_bootstrap_inner", "<module>"}
    own = set(re.findall(r"def (\w+)", inspect.getsource(threading)))
    assert "work" in names and names <= known | own, text


@check
def children_waited_for():
    """The copy that writes the C stack (3.14) is no child that another waits for; what has been started stays."""
    text = run("""
faulthandler.disable()
signal.signal(signal.SIGBUS, lambda *_: None)
faulthandler.enable()
def wait():
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    print("no child", flush=True)
signal.raise_signal(signal.SIGBUS)
wait()
""", status=0)
    assert text.startswith("Fatal Python error: Bus error") and text.endswith("no child\n"), text


@check
def replaced_and_restored():
    text = run("""
import faulthandler as module
before = module.enable
faulthandler.replace()
faulthandler.replace()
print(module.enable is faulthandler.enable, module.register is faulthandler.register)
faulthandler.restore()
print(module.enable is before)
""", status=0)
    assert text.split() == ["True"] * 3, text


@check
def replaced_at_the_start():
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(os.path.join(folder, "environment"))
        program = "import faulthandler\nprint(faulthandler.is_enabled(), faulthandler.enable.__module__)\n" \
                  "def die():\n    faulthandler._sigsegv()\ndie()\n"
        text = run(program, start="", flags=["-X", "faulthandler", "-I", "-u"], executable=python, status=-11,
                   PYUNWIND_REPLACE_FAULTHANDLER="1")
        assert text.startswith("True pyunwind.faulthandler\nFatal Python error: Segmentation fault\n"), text
        assert text.count("Fatal") == 1 and frames_of(text)[0][2] == "die", text
        text = run("print(__import__('sys').modules.get('pyunwind'))", start="", executable=python, status=0)
        assert text == "None\n", text


@check
def no_library():
    text = run("", PYUNWIND_LIBRARY_NAME="", start="import os, sys\nos.environ['PYUNWIND_LIBRARY'] = '/no/library.so'\n"
               "sys.path.insert(0, %r)\ntry:\n    import pyunwind.crash\nexcept ImportError as error:\n"
               "    print(error)\n" % PACKAGES, status=0)
    assert "/no/library.so" in text and "PYUNWIND_LIBRARY" in text, text


def main():
    wrong = []
    for function in checks:
        try:
            function()
        except Exception as error:
            wrong.append("%s: %s: %s" % (function.__name__, type(error).__name__, error))
    if wrong:
        print("\n----\n".join(wrong))
        return 1
    print("%d kinds of deaths and dumps, each as documented" % len(checks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
