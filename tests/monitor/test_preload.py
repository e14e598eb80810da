# interpreters: each
"""
The preloaded library: what it needs (readelf), that a process without Python has nothing of it (/proc/self: handlers,
alternate stack, descriptors), that an interpreter which a host loads later is found, that threads have alternate stacks,
however they end, and that a descriptor of reports is never another file.
"""

import json
import os
import signal
import subprocess
import sys
import sysconfig

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program, compile_shared  # noqa: E402
from running import BUILD, SANITIZED, check, environment, finish, python, reports, run, under  # noqa: E402

LIBRARY = os.path.join(BUILD, "libpyunwind-preload.so")

HOST = r"""
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    struct sigaction before;
    sigaction(SIGSEGV, NULL, &before);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (argc < 3 || library == NULL)
        return puts(dlerror()), 1;
    void (*initialize)(int) = (void (*)(int))dlsym(library, "Py_InitializeEx");
    int (*execute)(const char *) = (int (*)(const char *))dlsym(library, "PyRun_SimpleString");
    initialize(0);
    return execute(argv[2]);
}
"""

THREADS = r"""
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>
static int has_stack, looked;
static void look(void)
{
    stack_t stack;
    if (sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0)
        has_stack++;
    __atomic_add_fetch(&looked, 1, __ATOMIC_SEQ_CST);
}
static void *leave(void *how)
{
    look();
    if (how == (void *)1)
        pthread_exit((void *)11);
    while (how == (void *)2)
        pause();
    return (void *)12;
}
/* The sum of the three results, + 1000 for each alternate stack. */
long threads(void)
{
    long sum = 0;
    for (long how = 0; how < 3; how++) {
        pthread_t thread;
        void *result = NULL;
        if (pthread_create(&thread, NULL, leave, (void *)how) != 0)
            return -1;
        while (how == 2 && __atomic_load_n(&looked, __ATOMIC_SEQ_CST) != 3)
            usleep(1000);
        if (how == 2)
            pthread_cancel(thread);
        pthread_join(thread, &result);
        sum += result == PTHREAD_CANCELED ? 100 : (long)result;
    }
    return sum + 1000 * has_stack;
}
"""


def check_needs():
    lines = subprocess.check_output(["readelf", "-dW", LIBRARY]).decode().splitlines()
    needed = [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]
    check(set(needed) <= {"libc.so.6", "ld-linux-x86-64.so.2"}, "it needs", needed)
    symbols = subprocess.check_output(["readelf", "--dyn-syms", "-W", LIBRARY]).decode().splitlines()
    seen = {words[7].split("@")[0] for words in (line.split() for line in symbols)
            if len(words) > 7 and words[4] in ("GLOBAL", "WEAK") and words[6] != "UND"}
    check(seen == {"pthread_create", "pthread_condattr_setclock", "sigaction", "signal", "pyunwind_preloaded_tracker"},
          "it shows", seen)


def check_others():
    """As a process without Python is without the library, but for its mappings."""
    for command in (["/bin/grep", "-E", "^(Sig[A-PR-Z]|Shd|Threads)", "/proc/self/status"], ["/bin/ls", "-l", "/proc/self/fd/"]):
        strip = [[word.split(b"->")[-1] for word in run(given).output.splitlines() if b"pipe" not in word and b"/proc" not in word]
                 for given in (command, under(command))]
        check(strip[0] and strip[0] == strip[1], command, strip)
    traced = run(["strace", "-f", "-o", "trace", *under(["/bin/true"])]) if os.path.exists("/usr/bin/strace") else None
    if traced is not None and traced.status == 0:
        with open("trace") as file:
            lines = file.read().split("libpyunwind-preload.so", 3)[-1]
        check("sigaltstack" not in lines and "SIGSEGV" not in lines, "it does something in /bin/true", lines)


def check_host():
    """An interpreter that comes by dlopen(3), with its symbols hidden from others."""
    library = os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or "-")
    if ".so" not in library or not os.path.exists(library):
        return "no shared libpython"
    host = compile_program("host", HOST, flags=["-ldl"])
    code = "import os\ndef crash_here():\n    os.abort()\ncrash_here()"
    outcome = run(under([host, library, code]), env=environment(PYTHONHOME=sys.base_prefix))
    found = reports()
    check(outcome.status == -signal.SIGABRT and len(found) == 1, outcome.status, outcome.output, outcome.errors, found)
    if len(found) == 1:
        names = [frame.get("name") for frame in found[0]["threads"][0]["frames"]]
        check("crash_here" in names and found[0]["status"] == "complete", names, found[0]["notes"])
    return "a host"


def check_threads():
    library = compile_shared("threads", THREADS)
    code = "import ctypes; library = ctypes.CDLL(%r); library.threads.restype = ctypes.c_long; print(library.threads())"
    code += "\nprint(sum('rw-p' in line for line in open('/proc/self/maps')) < 500)"
    bare, monitored = run(python(code % library)), run(under(python(code % library)))
    check(monitored.output == b"3123\nTrue\n", "with stacks:", monitored.output, monitored.errors)
    check(bare.output == b"123\nTrue\n", "without:", bare.output)


def check_report_file():
    """Inherited it is written to; where a process has made its number another file's, that stays as it is."""
    with open("all", "w+b") as file, open("mine", "w") as mine:
        fd = file.fileno()
        options = ["--report-fd", str(fd)]
        crash = "import ctypes, os; %sctypes.string_at(0)"
        check(run(under(python(crash % ""), options), pass_fds=[fd]).status == -signal.SIGSEGV, "with a descriptor")
        file.seek(0)
        written = file.read()
        check(len(reports()) == 1 and json.loads(written)["signal"]["name"] == "SIGSEGV", written[:200])
        code = ("import os, subprocess, sys\nother = os.open('mine', os.O_WRONLY)\nos.dup2(other, %d)\n"
                "sys.exit(subprocess.call([sys.executable, '-c', %r], close_fds=False) + 11)" % (fd, crash % ""))
        check(run(under(python(code), options), pass_fds=[fd]).status == 0, "another file")
        check(os.path.getsize("mine") == 0 and len(reports()) == 1, "the program's file was written to")
        del mine


def main():
    if not SANITIZED:
        check_needs()
    check_others()
    host = check_host()
    check_threads()
    check_report_file()
    return finish("needs libc only; without Python nothing; %s; threads that return, exit, are cancelled" % host)


sys.exit(main())
