# interpreters: host
# timeout: 300
"""
Programs that are not Python, with so much mapped, or such data, that a search for an interpreter which nothing names could
go on for ever: it ends within seconds of the processor, which is said, and makes no pages of what is shared. The oracle
is the kernel: its limit on the processor's time, and the size of the file.
"""

import os
import re
import resource
import sys

SOURCE = os.environ["PYUNWIND_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

from compile import compile_program
from dumping import Program, check, finish, run_dump

SECONDS = 60  # of the processor: of a slow machine, and of one with sanitizers

PROGRAM = r"""
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int make_file(const char *name, size_t size)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        exit(2);
    return fd;
}

static char *map(size_t size, int flags, int fd, off_t offset)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, offset);
    if (at == MAP_FAILED)
        exit(3);
    return at;
}

/* 64 MB in memory that other processes may share, of which none was used yet. */
static int share(void)
{
    int fd = memfd_create("shared", 0);
    if (fd < 0 || ftruncate(fd, 64 << 20) != 0)
        exit(4);
    map(64 << 20, MAP_SHARED, fd, 0);
    return fd;
}

/* 16 GB of an empty file, private. */
static void map_much(void)
{
    size_t size = (size_t)1 << 28;
    int fd = make_file("much", size);
    for (int n = 0; n < 64; n++)
        map(size, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
}

/*
 * The data of a file that seems to be a CPython 3.8: wherever one looks there may begin a runtime, whose interpreter is a
 * page in which all leads to that page, or to the one behind it.
 */
static void mislead(void)
{
    size_t size = (size_t)8 << 20;
    int fd = make_file("misleading", PAGE + size);
    if (pwrite(fd, ELFMAG, SELFMAG, 0) != SELFMAG)
        exit(5);
    char *file = map(PAGE + size, MAP_PRIVATE, fd, 0);
    if (mprotect(file, PAGE, PROT_READ) != 0)
        exit(6);
    uint64_t *trap = (uint64_t *)map(2 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t n = 0; n < 2 * PAGE / sizeof *trap; n++)
        trap[n] = (uint64_t)(uintptr_t)(n % 2 == 0 ? trap : trap + PAGE / sizeof *trap);
    uint64_t *words = (uint64_t *)(file + PAGE);
    for (size_t n = 0; n + 11 <= size / sizeof *words - 64; n += 11) {
        words[n + 4] = words[n + 9] = (uint64_t)(uintptr_t)trap;
        words[n + 5] = (uint64_t)(uintptr_t)(trap + PAGE / sizeof *trap);
        words[n + 6] = 1;
    }
    strcpy(file + PAGE + size - 128, "3.8.18 (default, of no day)");
}

int main(int argc, char **argv)
{
    char byte;
    struct stat about = {0};
    int fd = -1;
    if (argc == 2 && strcmp(argv[1], "shared") == 0)
        fd = share();
    else if (argc == 2 && strcmp(argv[1], "much") == 0)
        map_much();
    else
        mislead();
    while (write(1, "\n", 1) == 1 && read(0, &byte, 1) == 1) {
        if (fd >= 0 && fstat(fd, &about) == 0)
            printf("%lld", (long long)about.st_blocks);
        fflush(stdout);
    }
    return 0;
}
"""


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def refusal(started, pattern):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output, errors = run_dump(started.pid, preexec_fn=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check((status, output) == (1, "") and re.search(pattern, errors), started.command, status, output, errors)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    program = compile_program("much_work", PROGRAM)
    with Program([program, "shared"]) as started:
        refusal(started, "is not Python")
        blocks = started.next_line()
        check(blocks == b"0\n", "the file that was shared has", blocks, "blocks")
    with Program([program, "much"]) as started:
        much = refusal(started, "there is more memory than is searched")
    with Program([program, "misleading"]) as started:
        misleading = refusal(started, r"has the texts of 3\.8\.18 and no symbol")
    return finish("%.1f s for 16 GB, %.1f s for data that misleads" % (much, misleading))


sys.exit(main())
