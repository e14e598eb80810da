/*
 * The memories: how bytes are fetched in each. None of them keeps anything between two calls, so that none can read
 * a parent after a fork, or a file that took over a closed descriptor's number.
 * Signal-safe: yes.
 */
#include "memory.h"

#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

enum { PAGE = 4096 };

/* ---- Direct and trapped: a copy made of plain or labelled loads, a word at a time where words are aligned ---- */

ALWAYS_INLINE int read_by_loads(enum load_kind how, pyunw_addr address, uint8_t *out, size_t size)
{
    const uint8_t *from = (const uint8_t *)(uintptr_t)address;
    bool aligned = address % sizeof(uint64_t) == 0;
    int fault = 0;
    size_t done = 0;
    for (; size - done >= sizeof(uint64_t) && !fault; done += sizeof(uint64_t)) {
        uint64_t word = aligned ? load_u64(how, from + done, &fault) : load_bytes(how, from + done, &fault);
        memcpy(out + done, &word, sizeof word);
    }
    for (; done < size && !fault; done++)
        out[done] = load_u8(how, from + done, &fault);
    return fault ? PYUNW_ERR_FAULT : PYUNW_OK;
}

/* ---- Guarded: a system call reads, and says EFAULT where a load would have died ---- */

static int read_readv(int32_t pid, pyunw_addr address, void *out, size_t size)
{
    struct iovec to = {out, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    long n = raw_syscall6(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0);
    return n == (long)size ? PYUNW_OK : PYUNW_ERR_FAULT;
}

static int read_proc_mem(pyunw_addr address, uint8_t *out, size_t size)
{
    long fd = raw_syscall4(SYS_openat, AT_FDCWD, (long)"/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return PYUNW_ERR_FAULT;
    size_t done = 0;
    while (done < size) {
        long n = raw_syscall4(SYS_pread64, fd, (long)(out + done), (long)(size - done), (long)(address + done));
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    raw_syscall3(SYS_close, fd, 0, 0);
    return done == size ? PYUNW_OK : PYUNW_ERR_FAULT;
}

/* A pipe holds at least a page, so that a write of at most one never blocks on an empty one. */
static int read_pipe(pyunw_addr address, uint8_t *out, size_t size)
{
    int ends[2] = {-1, -1};
    if (raw_syscall3(SYS_pipe2, (long)ends, O_CLOEXEC | O_NONBLOCK, 0) < 0)
        return PYUNW_ERR_FAULT;
    size_t done = 0;
    while (done < size) {
        size_t part = size - done < PAGE ? size - done : PAGE;
        long n = raw_syscall3(SYS_write, ends[1], (long)(address + done), (long)part);
        if (n <= 0)
            break;
        if (raw_syscall3(SYS_read, ends[0], (long)(out + done), n) != n)
            break;
        done += (size_t)n;
    }
    raw_syscall3(SYS_close, ends[0], 0, 0);
    raw_syscall3(SYS_close, ends[1], 0, 0);
    return done == size ? PYUNW_OK : PYUNW_ERR_FAULT;
}

/* ---- Image: segments, ascending; what no segment holds whole, its reader is asked for ---- */

static const pyunw_segment *find_segment(const pyunw_image *image, pyunw_addr address)
{
    size_t low = 0;
    size_t high = image->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const pyunw_segment *segment = &image->segments[middle];
        if (address < segment->address)
            high = middle;
        else if (address - segment->address >= segment->size)
            low = middle + 1;
        else
            return segment;
    }
    return NULL;
}

/* The address of the bytes in our own memory if one segment holds at least one byte at address; *room tells how many.
 */
static const uint8_t *find_in_image(const pyunw_image *image, pyunw_addr address, uint64_t *room)
{
    const pyunw_segment *segment = find_segment(image, address);
    if (segment == NULL)
        return NULL;
    uint64_t skip = address - segment->address;
    *room = segment->size - skip;
    return (const uint8_t *)segment->bytes + skip;
}

static int read_image(const pyunw_image *image, pyunw_addr address, uint8_t *out, size_t size)
{
    uint64_t room = 0;
    const uint8_t *bytes = find_in_image(image, address, &room);
    if (bytes != NULL && room >= size) {
        memcpy(out, bytes, size);
        return PYUNW_OK;
    }
    if (image->read != NULL)
        return image->read(image->context, address, out, size) < 0 ? PYUNW_ERR_FAULT : PYUNW_OK;
    /* Segments may adjoin: take what each holds. */
    while (size > 0) {
        bytes = find_in_image(image, address, &room);
        if (bytes == NULL)
            return PYUNW_ERR_FAULT;
        size_t part = room < size ? (size_t)room : size;
        memcpy(out, bytes, part);
        out += part;
        address += part;
        size -= part;
    }
    return PYUNW_OK;
}

int pyunw_read(const struct memory *memory, pyunw_addr address, void *buffer, size_t size)
{
    /* Of an empty text, say: no reader and no system call need be asked. */
    if (size == 0)
        return PYUNW_OK;
    switch (memory->kind) {
    case MEMORY_DIRECT:
        return read_by_loads(LOAD_DIRECT, address, buffer, size);
    case MEMORY_TRAPPED:
        return read_by_loads(LOAD_TRAPPED, address, buffer, size);
    case MEMORY_READV:
        return read_readv(memory->pid, address, buffer, size);
    case MEMORY_PROC_MEM:
        return read_proc_mem(address, buffer, size);
    case MEMORY_PIPE:
        return read_pipe(address, buffer, size);
    case MEMORY_IMAGE:
        return read_image(memory->image, address, buffer, size);
    }
    return PYUNW_ERR_FAULT;
}

int pyunw_read_some(const struct memory *memory, pyunw_addr address, void *buffer, size_t min, size_t size)
{
    size_t in_page = PAGE - (size_t)(address % PAGE);
    size_t wanted = size <= in_page ? size : in_page;
    if (wanted < min)
        wanted = min;
    int err = pyunw_read(memory, address, buffer, wanted);
    if (err < 0 && wanted > min) {
        wanted = min;
        err = pyunw_read(memory, address, buffer, wanted);
    }
    return err < 0 ? err : (int)wanted;
}
