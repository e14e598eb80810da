/*
 * A reader for pyunw_open_image() over the own process that counts, and refuses what it is told to refuse. It never
 * faults, whatever it is asked for.
 */
#include "pyunwind.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct reader {
    uint64_t reads; /* asked for so far */
    uint64_t bytes;
    uint64_t refuse_first; /* number of the first read that is refused, from 1; 0: none is */
    uint64_t refuse_last;
    uint64_t *pages; /* starts of the pages that were read, in the order of their first reads; may be NULL */
    uint64_t page_room;
    uint64_t page_count;
};

enum { PAGE = 4096 };

static void note_page(struct reader *reader, uint64_t page)
{
    for (uint64_t n = 0; n < reader->page_count; n++) {
        if (reader->pages[n] == page)
            return;
    }
    if (reader->page_count < reader->page_room)
        reader->pages[reader->page_count++] = page;
}

int read_counted(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct reader *reader = context;
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    reader->reads++;
    reader->bytes += size;
    if (reader->reads >= reader->refuse_first && reader->reads <= reader->refuse_last)
        return PYUNW_ERR_FAULT;
    if (syscall(SYS_process_vm_readv, getpid(), &to, 1L, &from, 1L, 0L) != (long)size)
        return PYUNW_ERR_FAULT;
    for (uint64_t page = address / PAGE * PAGE; reader->pages != NULL && page < address + size; page += PAGE)
        note_page(reader, page);
    return 0;
}
