/*
 * Bytes of a core file. They are read and not mapped: a file that is cut off meanwhile, or on a disk that fails, would
 * end the reader by SIGBUS, and a handler for that signal is not a library's to install. A read costs less than a
 * microsecond, and what was never read takes no memory.
 * Signal-safe: yes.
 */
#include "core.h"

#include <errno.h>
#include <unistd.h>

bool pyunw_core_bytes(const pyunw_core *core, int fd, uint64_t offset, void *buffer, size_t size)
{
    uint8_t *out = buffer;
    int saved = errno;
    while (size > 0) {
        bool is_place = offset <= INT64_MAX && size <= INT64_MAX - offset; /* a damaged header may claim others */
        ssize_t n = is_place ? pread(fd, out, size, (off_t)offset) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            __atomic_store_n(core->trouble, errno, __ATOMIC_RELAXED);
        if (n <= 0)
            break;
        out += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    errno = saved;
    return size == 0;
}

/*
 * May the bytes at address, of a mapping that cannot be written to, be taken from its file? Not where that is loaded to
 * be written to: the dynamic linker has relocated what it has protected then (RELRO), so that a core which lacks these
 * bytes has lost them. *size: in, wanted; out, of how many that is true.
 */
static bool is_as_in_file(const struct core_mapped *mapped, const struct mapping *mapping,
                          const struct core_piece *piece, pyunw_addr address, size_t *size)
{
    bool has_base = piece->base != 0 && address >= piece->base;
    for (size_t n = 0; n < mapped->written_count; n++) {
        const struct core_written *written = &mapped->written[n];
        /* Else by where the mapping begins in the file: those of two segments may share a page of it. */
        uint64_t begin = has_base ? written->begin : written->offset;
        uint64_t end = has_base ? written->end : written->offset + (written->end - written->begin);
        uint64_t at = has_base ? address - piece->base : mapping->offset;
        if (at >= begin && at < end)
            return false;
        uint64_t before = begin - at;
        if (has_base && at < begin && before < *size)
            *size = (size_t)before;
    }
    return true;
}

/*
 * What lies at address: from the core, else from the mapped file, whose pages the kernel leaves out while they are as
 * they are there. Of a writable mapping they may not be. *size: in, wanted; out, how many of it are in one place.
 */
static bool find_bytes(const pyunw_core *core, pyunw_addr address, bool dumped_only, int *fd, uint64_t *offset,
                       size_t *size)
{
    const struct mapping *mapping = pyunw_process_maps_find(&core->maps, address);
    if (mapping == NULL)
        return false;
    const struct core_piece *piece = &core->pieces[mapping - core->maps.mappings];
    uint64_t into = address - mapping->begin;
    uint64_t end = into < piece->present ? piece->present : mapping->end - mapping->begin;
    if (*size > end - into)
        *size = (size_t)(end - into);
    if (into < piece->present) {
        *fd = core->fd;
        *offset = piece->at + into;
        return true;
    }
    /* Without names nothing says which part of its file a mapping is of. */
    if (dumped_only || mapping->writable || mapping->inode == 0 || core->name_count == 0)
        return false;
    const struct core_mapped *mapped = &core->mapped[mapping->inode - 1];
    *fd = mapped->fd;
    *offset = mapping->offset + into;
    return *fd >= 0 && is_as_in_file(mapped, mapping, piece, address, size);
}

static int read_bytes(const pyunw_core *core, pyunw_addr address, uint8_t *out, size_t size, bool dumped_only)
{
    while (size > 0) {
        int fd = -1;
        uint64_t offset = 0;
        size_t here = size;
        if (!find_bytes(core, address, dumped_only, &fd, &offset, &here) ||
            !pyunw_core_bytes(core, fd, offset, out, here))
            return PYUNW_ERR_FAULT;
        address += here;
        out += here;
        size -= here;
    }
    return PYUNW_OK;
}

int pyunw_core_read_dumped(const pyunw_core *core, pyunw_addr address, void *buffer, size_t size)
{
    return read_bytes(core, address, buffer, size, true);
}

int pyunw_core_read_image(void *context, pyunw_addr address, void *buffer, size_t size)
{
    return read_bytes(context, address, buffer, size, false);
}
