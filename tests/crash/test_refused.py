# interpreters: each
"""
What a report needs is refused: a full, missing or read-only folder, no descriptors, no memory, no new process, no
ptrace(2), no process_vm_readv(2); streams that are closed or another's. The process dies as it would have died, and what
can be told is.
"""

import ctypes
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from corpus import Corpus, Crash, libc  # noqa: E402

CLONE, PTRACE, PROCESS_VM_READV, EXECVE, EXECVEAT, LINKAT, SET_PTRACER = 56, 101, 310, 59, 322, 265, 157
OPENAT, PREAD = 257, 17
EPERM, EAGAIN, ENOSYS = 1, 11, 38

# %s: the options, what is done after the installation
PROGRAM = """\
from program import *
import resource
install(%s)
%s

def crash():
    held.null_read()  # HERE

crash()
"""


def case(name, after="", options="", **more):
    return Crash(name, PROGRAM % (options, after), **{"function": "null_read", **more})


def forbid(*calls, error=EPERM):
    return "; ".join("released.forbid(%d, %d)" % (call, error) for call in calls)


def was_written_to(name):
    """The report is in another file, too: the descriptor that the caller gave."""
    def check(corpus, outcome, document):
        with open(os.path.join(corpus.folder("tracked"), name), "rb") as file:
            data = file.read()
        if corpus.check(data.endswith(b"}\n"), "the descriptor was given", data[:200], data[-200:]):
            told = json.loads(data.decode("utf-8"))
            frames = [frame for frame in told["threads"][0]["frames"] if frame["kind"] == "python"]
            corpus.check(told["threads"][0]["crashed"] and frames[0]["lineno"] == corpus.case.line(), "it says", frames[:1])
    return check


def file_is(name, wanted):
    def check(corpus, outcome, document):
        with open(os.path.join(corpus.folder("tracked"), name), "rb") as file:
            data = file.read()
        corpus.check(data == wanted, "%s holds" % name, data[:500])
    return check


def has_note(words):
    def check(corpus, outcome, document):
        if document is not None:
            corpus.check(any(words in note for note in document["notes"]), "no note says %r:" % words, document["notes"])
    return check


def folders():
    # A limit stands for a disk that is full: writes fail, here also those of the text that the handler writes.
    yield case("files may not grow", "open('output-of-report', 'w'); "
               "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
               kind=None)
    yield case("folder removed", "import shutil; is_tracked and shutil.rmtree(os.environ['PYUNWIND_REPORT_DIR'])")
    yield case("folder replaced by a file", "import shutil; is_tracked and (shutil.rmtree(os.environ["
               "'PYUNWIND_REPORT_DIR']), open(os.environ['PYUNWIND_REPORT_DIR'] , 'w').close())", options=OUTPUT,
               kind=None, check=was_written_to("output-of-report"))


def users():
    """Who drops its privileges after the installation, as servers do, cannot be read by its like any more."""
    drop = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    yield case("privileges dropped", "os.chown(os.environ['PYUNWIND_REPORT_DIR'], 65534, 65534); " + drop, status=None,
               function=None)
    yield case("folder read-only", "os.chown(os.environ['PYUNWIND_REPORT_DIR'], 65534, 65534); "
               "os.chmod(os.environ['PYUNWIND_REPORT_DIR'], 0o500); " + drop, options=OUTPUT, kind=None,
               check=was_written_to("output-of-report"))
    yield case("folder of another", drop, options=OUTPUT, kind=None, check=was_written_to("output-of-report"))


def read_only():
    """To root nothing is."""
    yield case("folder read-only", "os.chmod(os.environ['PYUNWIND_REPORT_DIR'], 0o500)", options=OUTPUT, kind=None,
               check=was_written_to("output-of-report"))


MS_REC, MS_PRIVATE, CLONE_NEWNS = 16384, 1 << 18, 0x00020000


def mount_small_disk():
    """In the new process: the report folder is a disk of four pages, which nobody else sees."""
    folder = os.path.join(os.getcwd(), "reports").encode()
    if (libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0
            or libc.mount(b"none", folder, b"tmpfs", 0, b"size=16k,mode=700") != 0):
        raise OSError(ctypes.get_errno(), "no disk can be mounted")


def can_mount():
    """A folder of its own in a process of its own."""
    os.makedirs("try/reports")
    return subprocess.run([sys.executable, "-c", "pass"], cwd="try", preexec_fn=mount_small_disk).returncode == 0


def disks():
    fill = ("file = open(os.environ['PYUNWIND_REPORT_DIR'] + '/full', 'wb', buffering=0)\ntry:\n    while True:\n"
            "        file.write(bytes(4096))\nexcept OSError:\n    pass")
    yield case("disk full", fill, options=OUTPUT, kind=None, check=was_written_to("output-of-report"),
               prepare=mount_small_disk)


OUTPUT = "report_fd=os.open('output-of-report', os.O_WRONLY | os.O_CREAT, 0o600)"


def sandboxes():
    yield case("no ptrace", forbid(PTRACE), status=None)
    yield case("no process_vm_readv", forbid(PROCESS_VM_READV), status=None)
    yield case("neither", forbid(PTRACE, PROCESS_VM_READV), status=None)
    yield case("neither, by ENOSYS", forbid(PTRACE, PROCESS_VM_READV, error=ENOSYS), status=None)
    # Nor can the helper be loaded, what the dynamic linker says of (glibc reads the libraries' headers by pread).
    yield case("neither, nor pread", forbid(PTRACE, PROCESS_VM_READV, PREAD), kind="unfinished", status="partial",
               function=None)
    yield case("no new process", forbid(CLONE, error=EAGAIN), kind="unfinished", status="partial", function=None)
    yield case("no new program", forbid(EXECVE, EXECVEAT), kind="unfinished", status="partial", function=None)
    yield case("no linkat", forbid(LINKAT), status=None)
    yield case("dumpable no more", "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)", status=None, function=None)


def resources():
    yield case("descriptors exhausted", "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit("
               "resource.RLIMIT_NOFILE)[1]))\nfiles = []\ntry:\n    while True:\n        files.append(open('/dev/null'))\n"
               "except OSError:\n    pass")
    yield case("descriptors exhausted, up to 300", "resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit("
               "resource.RLIMIT_NOFILE)[1]))\nfiles = []\ntry:\n    while True:\n        files.append(open('/dev/null'))\n"
               "except OSError:\n    pass")
    yield case("all descriptors closed", "os.closerange(0, 4096)", status=None)
    yield case("address space exhausted", "released.use_up_address_space()")
    yield case("no time of the processor left", "resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))")


def streams():
    yield case("streams closed", "os.close(0); os.close(1); os.close(2)")
    yield Crash("streams closed before", "import os\nos.close(0); os.close(1); os.close(2)\n" + PROGRAM % ("", ""),
                function="null_read")
    reused = "os.close(2); assert os.open('data', os.O_WRONLY | os.O_CREAT, 0o600) == 2; os.write(2, b'data')"
    yield case("standard error closed and reused, with text", reused, options="flags=16", check=file_is("data", b"data"))
    yield case("streams closed and reused, with text",
               "os.close(0); os.close(1); os.close(2)\n"
               "for name in ('data0', 'data1', 'data2'):\n    os.write(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), b'data')",
               options="flags=16", check=file_is("data2", b"data"))
    reused_high = ("os.closerange(3, 4096)\nfor n in range(300):\n"
                   "    os.open('data-%d' % n, os.O_RDWR | os.O_CREAT, 0o600)\n")
    yield case("all descriptors reused", reused_high, status=None, check=all_empty)
    yield case("text to standard error", options="flags=16", has_text=True)
    yield case("report to a descriptor", options=OUTPUT, check=was_written_to("output-of-report"))
    yield case("descriptor for reports closed and reused",
               "os.closerange(3, 100)\n"
               "assert os.open('data', os.O_RDWR | os.O_CREAT, 0o600) == 3; os.write(3, b'data')",
               options="report_fd=os.open('unused', os.O_WRONLY | os.O_CREAT, 0o600)", check=file_is("data", b"data"))


def all_empty(corpus, outcome, document):
    for n in range(300):
        path = os.path.join(corpus.folder("tracked"), "data-%d" % n)
        if not corpus.check(os.path.getsize(path) == 0, path, "was written to"):
            break


def main():
    corpus = Corpus()
    groups = [folders, sandboxes, resources, streams]
    groups.append(users if os.getuid() == 0 else read_only)
    try:
        groups += [disks] if can_mount() else []
    except (OSError, subprocess.SubprocessError):
        print("no disk can be mounted here: a full one is not tested, but by a limit")
    for cases in groups:
        for crash in cases():
            corpus.test(crash)
    return corpus.finish()


if __name__ == "__main__":
    sys.exit(main())
