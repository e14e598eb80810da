# interpreters: each
# weight: heavy
"""
What pyunwind.faulthandler writes, raises and does against the interpreter's own module, byte for byte: each program
below is run twice, with the module's own functions and with pyunwind's in their place. Addresses, which no two
processes have in common, are replaced; of the C stack of a crash (3.14) CPython begins with frames of its own handler.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

from package import PACKAGES, environment

VERSION = sys.version_info[:2]

# Both import the package, so that the same modules are loaded. What is run has a name and lines of its own.
START = """
import sys
sys.path.insert(0, %r)
import pyunwind.faulthandler
if sys.argv[1] == "pyunwind":
    pyunwind.faulthandler.replace()
exec(compile(sys.argv[2], "program.py", "exec"), {"__name__": "program", "folder": sys.argv[3]})
""" % PACKAGES

CASES = {
    # ---- At once ----
    "dump": "import faulthandler\ndef f():\n faulthandler.dump_traceback()\nf()",
    "dump, one thread": "import faulthandler\ndef f():\n faulthandler.dump_traceback(all_threads=False)\nf()",
    "dump, positional": "import faulthandler, sys\nfaulthandler.dump_traceback(sys.stderr, False)",
    "dump, descriptor": "import faulthandler\n[faulthandler.dump_traceback(2, all_threads=False) for _ in 'a']",
    "dump, bool": "import faulthandler, os, sys\nos.close(1)\nos.dup2(2, 1)\nfaulthandler.dump_traceback(True)",
    "dump, generator": "import faulthandler\ndef g():\n yield faulthandler.dump_traceback(all_threads=False)\nlist(g())",
    "dump, names": "import faulthandler\nexec('def \\u00e9\\u6f22():\\n faulthandler.dump_traceback()\\n\\u00e9\\u6f22()')",
    "dump, long name": "import faulthandler\nn = 'x' * 600\nexec('def %s():\\n faulthandler.dump_traceback()\\n%s()' % (n, n))",
    "dump, threads": """
import faulthandler, threading
stand, standing = threading.Lock(), threading.Event()
def wait():
    standing.set()
    stand.acquire()
stand.acquire()
thread = threading.Thread(target=wait)
thread.start()
standing.wait()
while len(sys._current_frames()) < 2 or sys._current_frames()[thread.ident].f_code.co_name != "wait":
    pass
faulthandler.dump_traceback()
stand.release()
thread.join()
""",
    "dump, collecting": """
import faulthandler, gc
class Dying:
    def __del__(self):
        faulthandler.dump_traceback()
dying = Dying()
dying.cycle = dying
del dying
gc.collect()
""",
    "dump, finalizing": """
import faulthandler, sys
class Dying:
    def __del__(self, dump=faulthandler.dump_traceback, file=sys.__stderr__):
        dump(2)
dying = Dying()
""",
    "dump to a closed descriptor": "import faulthandler\nprint(faulthandler.dump_traceback(77), file=sys.stderr)",
    "file flushed": "import faulthandler\nfile = open(folder + '/f', 'w')\nfile.write('before\\n')\n"
    "faulthandler.dump_traceback(file)\nfile.close()\nsys.stderr.write(open(folder + '/f').read())",
    # ---- Later ----
    "later, exit": "import faulthandler, time\nfaulthandler.dump_traceback_later(0.05, exit=True); time.sleep(100)",
    "later, long header": "import faulthandler, time\nfaulthandler.dump_traceback_later(1e-6, exit=True); time.sleep(100)",
    "later, cancelled": "import faulthandler\nfaulthandler.dump_traceback_later(1000)\n"
    "faulthandler.cancel_dump_traceback_later()\nfaulthandler.cancel_dump_traceback_later()",
    # ---- Signals that ask ----
    "register": "import faulthandler, signal\nfaulthandler.register(signal.SIGUSR1)\n"
    "def f():\n signal.raise_signal(signal.SIGUSR1)\nf()\nfaulthandler.register(signal.SIGUSR1, all_threads=False)\nf()\n"
    "print(faulthandler.unregister(signal.SIGUSR1), faulthandler.unregister(signal.SIGUSR1), file=sys.stderr)\nf()",
    "register, chain to Python": "import faulthandler, signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('called', "
    "file=sys.stderr))\nfaulthandler.register(signal.SIGUSR1, chain=True)\nsignal.raise_signal(signal.SIGUSR1)\n"
    "signal.raise_signal(signal.SIGUSR1)",
    "register, chain to the default": "import faulthandler, signal\nfaulthandler.register(signal.SIGTERM, chain=True)\n"
    "signal.raise_signal(signal.SIGTERM)",
    "register, chain to nothing": "import faulthandler, signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
    "faulthandler.register(signal.SIGUSR1, chain=True)\nsignal.raise_signal(signal.SIGUSR1)\n"
    "signal.raise_signal(signal.SIGUSR1)",
    # ---- Deaths ----
    "disabled": "import faulthandler\nfaulthandler.enable()\nprint(faulthandler.is_enabled(), faulthandler.disable(), "
    "faulthandler.disable(), faulthandler.is_enabled(), file=sys.stderr)\nfaulthandler._sigsegv()",
    "enabled for good": "import faulthandler\nfaulthandler.enable()\nfaulthandler.enable(all_threads=False)",
    "previous handler": "import faulthandler, signal\nsignal.signal(signal.SIGSEGV, lambda *_: print('called', "
    "file=sys.stderr))\nfaulthandler.enable()\nsignal.raise_signal(signal.SIGSEGV)",
    "in __del__ of a collection": """
import faulthandler, gc
faulthandler.enable()
class Dying:
    def __del__(self):
        faulthandler._sigsegv()
dying = Dying()
dying.cycle = dying
del dying
gc.collect()
""",
    "thread": """
import faulthandler, threading
faulthandler.enable()
main, lock = threading.get_ident(), threading.Lock()
def die():
    while sys._current_frames()[main].f_code.co_name != "stand":
        pass
    faulthandler._sigsegv()
def stand():
    lock.acquire()
lock.acquire()
threading.Thread(target=die).start()
stand()
""",
    "to a file": "import faulthandler, os\nfile = open(folder + '/f', 'w')\nfaulthandler.enable(file)\n"
    "if os.fork() == 0:\n faulthandler._sigsegv()\nos.wait()\nsys.stderr.write(open(folder + '/f').read())",
    "after sys.stderr is replaced": "import faulthandler, io\nfaulthandler.enable()\nsys.stderr = io.StringIO()\n"
    "faulthandler._sigsegv()",
    "Py_FatalError": "import ctypes, faulthandler\nfaulthandler.enable()\nctypes.pythonapi.Py_FatalError(b'words')",
    "Py_FatalError, not enabled": "import ctypes\nctypes.pythonapi.Py_FatalError(b'words')",
    "fatal error of a C thread": "import faulthandler\nfaulthandler.enable()\nfaulthandler._fatal_error_c_thread()",
    "extension modules": "import faulthandler, json, array\nsys.stdlib_module_names = frozenset(['_json'])\n"
    "faulthandler.enable()\nfaulthandler._sigsegv()",
    "extension modules, imported later": "import faulthandler\nsys.stdlib_module_names = frozenset()\n"
    "faulthandler.enable()\nimport array, unicodedata\nsys.modules['name \\u00e9'] = array\nfaulthandler._sigsegv()",
    "no extension modules": "import faulthandler\nsys.modules.clear()\nfaulthandler.enable(2)\nfaulthandler._sigsegv()",
}

for function in ("_sigsegv()", "_sigsegv(True)", "_sigabrt()", "_sigfpe()", "_read_null()", "_stack_overflow()"):
    CASES["enable, " + function] = "import faulthandler\nfaulthandler.enable()\ndef f():\n faulthandler.%s\nf()" % function
for number in ("SIGBUS", "SIGILL", "SIGSEGV", "SIGFPE", "SIGABRT"):
    CASES["enable, " + number] = (
        "import faulthandler, signal\nfaulthandler.enable(all_threads=False)\nsignal.raise_signal(signal.%s)" % number
    )

# Where CPython writes more: the stacks of a thread that it does not know twice (3.14), or crashes on its way to the end.
MORE = {"fatal error of a C thread"}

# Each is evaluated, and what comes of it is printed.
EXPRESSIONS = """
enable(-1); enable(2**70); enable("x"); enable(1.5); enable(2, "x"); enable(2, 1.5); enable(all_threads=None)
enable(Bad(-1)); enable(Bad("x")); enable(Bad(2**40)); enable(Bad(2)); enable(object()); enable(None); is_enabled()
dump_traceback(-1); dump_traceback(2**70); dump_traceback("x"); dump_traceback(2, []); dump_traceback(Bad(-1))
dump_traceback_later("x"); dump_traceback_later(None); dump_traceback_later(float("nan")); dump_traceback_later(1e300)
dump_traceback_later(10**30); dump_traceback_later(0); dump_traceback_later(1e10); dump_traceback_later(-1)
dump_traceback_later(1, "x"); dump_traceback_later(1, file=-1); dump_traceback_later(50.0, file=Bad(2))
dump_traceback_later(1j); dump_traceback_later(1, exit=None)
register(0); register(-1); register(65); register(11); register(6); register(9); register(2**40); register("s")
register(32); register(1.5); register(10, -1); register(10, all_threads="x"); register(10, chain=[]); register(10)
unregister(0); unregister(9); unregister(10); unregister(11); unregister("s"); unregister(2**40); unregister(65)
cancel_dump_traceback_later(); disable()
""".replace("\n", ";")
if VERSION >= (3, 14):
    EXPRESSIONS += "dump_c_stack(-1); dump_c_stack(Bad(-1)); enable(c_stack=None); enable(2, 1, 0);"
if VERSION >= (3, 15):
    EXPRESSIONS += "dump_traceback(max_threads='x'); dump_traceback(max_threads=2**70); dump_traceback(max_threads=-1);"
    EXPRESSIONS += "dump_traceback(max_threads=0); dump_traceback(max_threads=1); register(10, max_threads=2);"
    EXPRESSIONS += "dump_traceback_later(9, max_threads=3); enable(max_threads=4); enable(max_threads=None);"
ARGUMENTS = """
import faulthandler

class Bad:
    def __init__(self, number):
        self.number = number
    def fileno(self):
        return self.number

def evaluate(expression):
    try:
        said = repr(eval("faulthandler." + expression))
    except Exception as error:
        said = "%%s: %%s" %% (type(error).__name__, error)
    print("%%s -> %%s" %% (expression, said), file=sys.stderr, flush=True)

for expression in %r.split(";"):
    if expression.strip():
        evaluate(expression.strip())
for sys.stderr in (None, sys.stderr):
    pass
for function in ("enable()", "dump_traceback()", "dump_traceback_later(1)", "register(10)"):
    stderr, sys.stderr = sys.stderr, None
    try:
        eval("faulthandler." + function)
    except Exception as error:
        said = "%%s: %%s" %% (type(error).__name__, error)
    sys.stderr = stderr
    print("no sys.stderr, %%s -> %%s" %% (function, said), file=sys.stderr)
""" % EXPRESSIONS
CASES["arguments"] = ARGUMENTS


def run(whose, program, folder):
    command = [sys.executable, "-c", "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n" + START]
    done = subprocess.run(command + [whose, "import sys\n" + program, folder], env=environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return done.returncode, normalise(done.stdout.decode("utf-8", "backslashreplace"))


def normalise(text):
    text = re.sub(r"hread 0x[0-9a-f]{16}", "hread 0x(address)", text)
    text = text.replace("  <truncated rest of calls>\n", "")
    text = re.sub(r"(Binary file .*) \[0x[0-9a-f]+\]", r"\1", text)
    return re.sub(r"object at 0x[0-9a-f]+", "object at 0x(address)", text)


def split_c_stack(text):
    """The text without the lines of C frames, and those lines."""
    lines = text.splitlines(keepends=True)
    is_frame = [line.startswith("  Binary file ") for line in lines]
    return ("".join(line for line, frame in zip(lines, is_frame) if not frame),
            [line for line, frame in zip(lines, is_frame) if frame])


def compare(name):
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        (status, expected), (own_status, own) = run("original", CASES[name], one), run("pyunwind", CASES[name], two)
    expected, frames = split_c_stack(expected)
    own, own_frames = split_c_stack(own)
    if name in MORE and expected.startswith(own) and status < 0 and own_status < 0:
        return None
    if (status, expected) != (own_status, own):
        return "%s: exit status %d and\n%s\nnot %d and\n%s" % (name, own_status, own, status, expected)
    # CPython shows 32 frames at the most.
    frames = [line for line in frames if "Binary file" in line]
    depth = len(frames)
    bare = [line for line in own_frames if "libpyunwind" in line]
    if bool(frames) != bool(own_frames) or bare or (depth < 32 and frames[depth - len(own_frames):] != own_frames):
        return "%s: the C stack\n%s\nis no end of\n%s" % (name, "".join(own_frames), "".join(frames))
    return None


def main():
    names = [name for name in CASES if VERSION < (3, 15) or "_read_null" not in name]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [text for text in pool.map(compare, names) if text is not None]
    print("\n----\n".join(wrong))
    print("%d programs with the module's own functions and with pyunwind's, %d differ" % (len(names), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
