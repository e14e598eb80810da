# interpreters: host
"""
`pyunwind core` of core files made to harm whoever reads them: it ends soon and by itself, keeps to its own memory, and
sends nothing to the terminal but text. The oracle is what was put into them.
"""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PYUNWIND_SOURCE"], "tests", "support"))

from compile import compile_program
from cores import allow_cores, any_core, check, kernel_cores_note, run_core
from dumping import BUILD, finish
from made import (NT_AUXV, NT_FILE, NT_PRSTATUS, PAGE, PT_NOTE, READABLE, WRITABLE, make_core, names, note, notes_of,
                  segments_of)

CURRENT_SIGNAL, THREAD, FS_BASE = 12, 32, 112 + 8 * 21  # in struct elf_prstatus

tried = []


def name_entries(data):
    """The places of the entries of NT_FILE, each of begin, end and offset in pages, with their paths."""
    at, size = next((at, size) for _, what, at, size in notes_of(data) if what == NT_FILE)
    count = struct.unpack_from("<Q", data, at)[0]
    paths = data[at + 16 + 24 * count:at + size].split(b"\0")
    return [(at + 16 + 24 * number, path) for number, path in zip(range(count), paths)]


def changed(core, name, changes):
    shutil.copyfile(core, name)
    with open(name, "r+b") as file:
        for place, content in changes:
            file.seek(place)
            file.write(content)
    return name


def offsets_that_wrap(core, data):
    """A mapping whose offset in its file is nearly 2**64: an image of the file has no place for it."""
    # So that what lies before the image is memory that is in use: the heap.
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_=str(1 << 30))
    entries = [place for place, path in name_entries(data) if b"/libc." in path or b"/libc-" in path]
    for pages in (1, 16, 1 << 20):
        tried.append("an offset of -%d pages" % pages)
        name = changed(core, "wraps.core", [(entries[-1] + 16, struct.pack("<Q", (1 << 52) - pages))])
        status, output, errors = run_core("--native", "--sysroot", "nowhere", name, env=environment)
        check(status == 1 and output and "stacks are not whole" in errors, tried[-1], status, errors[:300])


def orders_to_a_terminal(core, data):
    """As the name of the executable; the file that has it here is another."""
    tried.append("orders to a terminal")
    wanted = os.fsencode(os.path.realpath(sys.executable))
    places = [match.start() for match in re.finditer(re.escape(wanted) + b"\0", data)]
    orders = wanted[:-8] + b"\x1b]0;ab\x07\n"
    name = changed(core, "orders.core", [(at, orders) for at in places])
    os.makedirs(b"orders" + os.path.dirname(orders))
    shutil.copyfile("/bin/true", b"orders" + orders)
    for arguments in ([], ["--json"]):
        status, _, errors = run_core(*arguments, "--sysroot", "orders", name)
        check("\\x1b]0;ab\\x07\\x0a" in errors, tried[-1], status, repr(errors))
        check(all(line.isprintable() for line in errors.splitlines()), tried[-1], repr(errors))


def few_descriptors(core):
    """More files are mapped than may be open at first."""
    tried.append("few descriptors")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    status, _, errors = run_core(core, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard)))
    check((status, errors) == (0, ""), tried[-1], status, errors)


def run_limited(*arguments):
    """With half a minute of the processor: what ends by itself takes a few seconds of it."""
    return run_core(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)))


def notes_again_and_again():
    """30,000 segments that are all the same 30,000 notes; their auxiliary vectors are long."""
    tried.append("notes again and again")
    one = note(NT_AUXV, struct.pack("<QQ", 1, 1) * 64)
    with open("again.core", "wb") as file:
        file.write(make_core(one * 30000, [(0x10000, READABLE | WRITABLE, bytes(PAGE))], note_segments=30000))
    status, output, errors = run_limited("again.core")
    check((status, output) == (1, "") and "no CPython" in errors or "is not Python" in errors, tried[-1], status, errors)


def names_again():
    """65,000 mappings of 32,500 files, each of them twice: behind all others the second time."""
    tried.append("65,000 mappings")
    count = 32500
    entries = [(0x10000000 + number * 2 * PAGE, 0x10000000 + (number * 2 + 1) * PAGE, 0,
                b"/nowhere/%d.so%s" % (number % count, b" (deleted)" * (number % 3 == 0))) for number in range(2 * count)]
    with open("names.core", "wb") as file:
        file.write(make_core(names(entries), [(0x1000, READABLE | WRITABLE, bytes(PAGE))]))
    client = compile_program("core_client", os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.c"),
                             pyunwind=True, flags=["-L" + BUILD, "-lpyunwind-remote"])
    done = subprocess.run([client, "names.core"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)))
    files = [line.split()[-1] for line in done.stdout.decode().splitlines() if line.startswith("file ")]
    check(sorted(files) == sorted({"/nowhere/%d.so" % number for number in range(count)}), tried[-1], len(files), "files",
          done.returncode, done.stderr[:300])


def threads_without_signal(core, data):
    """100,000 threads, none of which had a signal."""
    tried.append("100,000 threads")
    place, _, _, offset, _, held, _ = next(segment for segment in segments_of(data) if segment[1] == PT_NOTE)
    first = next((at, size) for _, what, at, size in notes_of(data) if what == NT_PRSTATUS)
    notes = bytearray(data[offset:offset + held])
    for _, what, at, _ in notes_of(data):
        if what == NT_PRSTATUS:
            notes[at - offset + CURRENT_SIGNAL:at - offset + CURRENT_SIGNAL + 2] = b"\0\0"
    status = bytearray(data[first[0]:first[0] + first[1]])
    status[CURRENT_SIGNAL:CURRENT_SIGNAL + 2] = b"\0\0"
    status[THREAD:THREAD + 4] = (1 << 22).to_bytes(4, "little")
    status[FS_BASE:FS_BASE + 8] = bytes(8)
    notes += note(NT_PRSTATUS, bytes(status)) * 100000
    name = changed(core, "threads.core", [(len(data), bytes(notes)), (place + 8, struct.pack("<Q", len(data))),
                                          (place + 32, struct.pack("<Q", len(notes)))])
    status, output, errors = run_limited("--json", name)
    check(status == 0 and len(json.loads(output)["processes"][0]["threads"]) == 2, tried[-1], status, errors[:300])


def main():
    allow_cores()
    core, _ = any_core("whole.core", "lock", bits=0x7f)
    with open(core, "rb") as file:
        data = file.read()
    offsets_that_wrap(core, data)
    orders_to_a_terminal(core, data)
    few_descriptors(any_core("default.core", "lock")[0])
    notes_again_and_again()
    names_again()
    threads_without_signal(core, data)
    return finish("harmless: %s%s" % (", ".join(tried), kernel_cores_note()))


sys.exit(main())
