# interpreters: each
# weight: heavy
"""
pyunwind.crash: what it installs reports the deaths of a Python program, overflows in threads that threading starts
among them; a report on demand; every option; the errors; and that nothing else of the program changes.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

SOURCE = os.environ["PYUNWIND_SOURCE"]
BUILD = os.environ["PYUNWIND_BUILD"]
START = """
import sys
sys.path.insert(0, %r)
import pyunwind.crash as crash
import ctypes, os, resource, signal, threading, traceback
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
NATIVE = ctypes.CDLL(None)
folder = sys.argv[1]
def say(*words):
    print(*words, flush=True)
""" % os.path.join(SOURCE, "python")

checks = []


def check(function):
    checks.append(function)
    return function


def run(program, folder, status, **variables):
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **variables)
    done = subprocess.run([sys.executable, "-c", START + program, folder], env=environment, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    assert done.returncode == status, "exit status %d, not %d:\n%s" % (done.returncode, status, text)
    return text


def reports_in(folder):
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    reports = []
    for name in names:
        with open(os.path.join(folder, name)) as file:
            reports.append(json.load(file))
    return reports


def crashed_names(report):
    crashed = [thread for thread in report["threads"] if thread["crashed"]]
    assert len(crashed) == 1, report["threads"]
    return [frame["name"] for frame in crashed[0]["frames"] if frame["kind"] == "python"]


@check
def a_null_read(folder):
    run("crash.install(report_dir=folder)\ndef die():\n    NATIVE.strlen(None)\ndie()\n", folder, -signal.SIGSEGV)
    (report,) = reports_in(folder)
    assert report["schema"] == "pyunwind.crash/1" and report["status"] == "complete", report["notes"]
    assert report["diagnosis"]["cause"] == "null_read", report["diagnosis"]
    assert crashed_names(report) == ["die", "<module>"], crashed_names(report)
    assert any(frame["kind"] == "native" for frame in report["threads"][0]["frames"])
    assert report["command"][1] == "-c", report["command"]


@check
def overflow_in_threads(folder):
    """Of a subclass that overrides what can be overridden, and of a thread that attaches itself."""
    for start in ("Own().start()", "_thread.start_new_thread(attach_and_overflow, ())"):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            run("""
import _thread, faulthandler
crash.install(report_dir=folder)
def overflow():
    faulthandler._stack_overflow()
class Own(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
    def run(self):
        overflow()
def attach_and_overflow():
    crash.attach_thread()
    overflow()
%s
signal.pause()
""" % start, own, -signal.SIGSEGV)
            (report,) = reports_in(own)
            assert "overflow" in crashed_names(report), crashed_names(report)


@check
def threads_false(folder):
    """Who has an alternate stack: threads that are started after install(), unless threads=False."""
    text = run("""
class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
def tell():
    stack = Stack()
    NATIVE.sigaltstack(None, ctypes.byref(stack))
    say("none" if stack.flags & 2 else "one")
def tell_of_thread():
    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()
tell_of_thread()
crash.install(report_dir=folder)
tell()
tell_of_thread()
crash.install(report_dir=folder, threads=False)
tell_of_thread()
""", folder, 0)
    assert text.split() == ["none", "one", "one", "none"], text


@check
def threads_give_back(folder):
    """A thread's stack goes with it, and none of this shows in a traceback."""
    text = run("""
def stacks():
    with open("/proc/self/maps") as file:
        return len(file.readlines())
def frames():
    return [frame.name for frame in traceback.extract_stack()]
before, after = [], []
thread = threading.Thread(target=lambda: before.extend(frames()))
thread.start()
thread.join()
method = threading.Thread._set_ident
crash.install(report_dir=folder)
thread = threading.Thread(target=lambda: after.extend(frames()))
thread.start()
thread.join()
say(before == after, len(before) > 2)
def many():
    threads = [threading.Thread(target=int) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
many()
count = stacks()
for _ in range(4):
    many()
say(stacks() < count + 60)
crash.remove()
say(threading.Thread._set_ident is method, signal.getsignal(signal.SIGSEGV) == signal.SIG_DFL)
""", folder, 0)
    assert text.split() == ["True"] * 5, text


@check
def removed(folder):
    run("crash.install(report_dir=folder)\ncrash.remove()\ncrash.remove()\nNATIVE.strlen(None)\n", folder,
        -signal.SIGSEGV)
    assert reports_in(folder) == []


@check
def on_demand(folder):
    text = run("""
crash.install(report_dir=folder, report_signal=signal.SIGUSR2)
def ask():
    crash.report_now()
    signal.raise_signal(signal.SIGUSR2)
ask()
say("alive")
""", folder, 0)
    assert text == "alive\n", text
    reports = reports_in(folder)
    assert [report["diagnosis"]["cause"] for report in reports] == ["on_demand"] * 2
    for report in reports:
        names = [frame["name"] for thread in report["threads"] for frame in thread["frames"]
                 if frame["kind"] == "python"]
        assert "ask" in names and report["signal"] is None, names


@check
def options(folder):
    other = os.path.join(folder, "hooked")
    run("""
file = open(folder + "/also", "w+")
crash.install(report_dir=folder, signals=[signal.SIGFPE], time_limit=20, native=False, locals=True, command=False,
              all_threads=False, hook='cp "$1" %s', report_size=1 << 20, reports_kept=-1, report_fd=file,
              helper=%r)
def die(secret):
    signal.raise_signal(signal.SIGFPE)
thread = threading.Thread(target=signal.pause, daemon=True)
thread.start()
die("a local variable")
""" % (other, os.path.join(BUILD, "pyunwind")), folder, -signal.SIGFPE)
    (report,) = reports_in(folder)
    with open(os.path.join(folder, "also")) as file:
        assert json.load(file)["fingerprint"] == report["fingerprint"]
    with open(other) as file:
        assert json.load(file) == report
    (thread,) = report["threads"]
    assert all(frame["kind"] == "python" for frame in thread["frames"]), thread
    assert report["command"] is None and report["signal"]["name"] == "SIGFPE", report
    assert any("a local variable" in variable["value"] for frame in thread["frames"] for variable in frame["locals"])


@check
def text_for_people(folder):
    text = run("crash.install(report_dir=folder, text=True)\ndef die():\n    NATIVE.strlen(None)\ndie()\n", folder,
               -signal.SIGSEGV)
    assert "SIGSEGV" in text and "die" in text, text


@check
def a_child(folder):
    text = run("""
crash.install(report_dir=folder)
child = os.fork()
if child == 0:
    NATIVE.strlen(None)
say(os.waitpid(child, 0)[1])
""", folder, 0)
    (report,) = reports_in(folder)
    assert text == "11\n" and report["ppid"] != os.getpid(), text


@check
def errors(folder):
    text = run("""
def attempt(function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except Exception as error:
        say(type(error).__name__, isinstance(error, OSError), "|", error)
    else:
        say("nothing")
attempt(crash.report_now)
attempt(crash.install, report_dir="/proc/nowhere")
attempt(crash.install, report_dir="a\\0b")
attempt(crash.install, report_dir=folder, signals=[signal.SIGKILL])
attempt(crash.install, report_dir=folder, signals=[70])
attempt(crash.install, report_dir=folder, time_limit=0)
attempt(crash.install, report_dir=folder, report_fd=1)
attempt(crash.install, report_dir=folder, report_fd=777)
attempt(crash.install, report_dir=folder, report_signal=signal.SIGSEGV)
attempt(crash.install, report_dir=folder, helper="/no/helper")
attempt(crash.report_now)
attempt(crash.remove)
os.environ["PYUNWIND_SIGNALS"] = "WINCH"
attempt(crash.install, report_dir=folder)
""", folder, 0)
    lines = text.splitlines()
    kinds = [line.split(" |")[0] for line in lines]
    value = "ValueError False"
    assert kinds == ["RuntimeError False", "CrashError True", value, value, value, value, value, value, value,
                     "CrashError True", "RuntimeError False", "nothing", value], text
    assert "/proc/nowhere" in lines[1] and "SIGKILL" in lines[3] and "777" in lines[7] and "/no/helper" in lines[9], text
    assert "WINCH" in lines[12], text


def main():
    wrong = []
    for function in checks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                function(folder)
            except Exception as error:
                wrong.append("%s: %s: %s" % (function.__name__, type(error).__name__, error))
    if wrong:
        print("\n----\n".join(wrong))
        return 1
    print("%d uses of pyunwind.crash, each as documented" % len(checks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
