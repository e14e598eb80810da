/*
 * The notes of a core file: threads, process, signal, auxiliary vector, names of the mapped files. A thread's notes are
 * large (all its vector registers), so that of each note only the head is read, and of the wanted ones what is used.
 * Signal-safe: no.
 */
#include "core.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

enum {
    MANY_NOTES = 1 << 22,
    MANY_THREADS = 1 << 20,
    LONG_NAMES = 1 << 26,
    MANY_NAMES = 1 << 20,
    LONG_VECTOR = 1 << 16
};

struct note {
    uint32_t type;
    uint64_t at; /* the description, in the core file */
    uint64_t size;
};

/* ---- Threads ---- */

static struct core_thread *add_thread(pyunw_core *core)
{
    size_t count = core->thread_count;
    if (count % 64 == 0) {
        struct core_thread *grown = count < MANY_THREADS ? realloc(core->threads, (count + 64) * sizeof *grown) : NULL;
        if (grown == NULL)
            return NULL;
        core->threads = grown;
    }
    core->threads[count] = (struct core_thread){0};
    core->thread_count++;
    return &core->threads[count];
}

static void take_thread(pyunw_core *core, const struct note *note)
{
    struct elf_prstatus status;
    if (note->size < sizeof status || !pyunw_core_bytes(core, core->fd, note->at, &status, sizeof status))
        return;
    struct core_thread *thread = add_thread(core);
    if (thread == NULL)
        return;
    thread->id = status.pr_pid;
    thread->signal = status.pr_cursig;
    memcpy(thread->registers, status.pr_reg, sizeof thread->registers);
#if defined(__x86_64__)
    enum { FS_BASE = 21 }; /* in struct user_regs_struct (sys/user.h) */
    thread->pointer = thread->registers[FS_BASE];
    thread->has_pointer = true;
#endif
}

/* aarch64: a note of its own, behind the thread's. */
static void take_thread_pointer(pyunw_core *core, const struct note *note)
{
    uint64_t pointer = 0;
    if (core->thread_count == 0 || note->size < sizeof pointer ||
        !pyunw_core_bytes(core, core->fd, note->at, &pointer, sizeof pointer))
        return;
    core->threads[core->thread_count - 1].pointer = pointer;
    core->threads[core->thread_count - 1].has_pointer = true;
}

/* The kernel writes one, behind the thread that crashed; gdb one behind each, whether it had a signal or not. */
static void take_signal(pyunw_core *core, const struct note *note)
{
    if (core->has_signal_info || core->thread_count == 0 || core->threads[core->thread_count - 1].signal == 0 ||
        note->size < sizeof core->signal_info)
        return;
    core->has_signal_info = pyunw_core_bytes(core, core->fd, note->at, &core->signal_info, sizeof core->signal_info);
}

/* ---- The process ---- */

static void take_process(pyunw_core *core, const struct note *note)
{
    if (core->has_process || note->size < sizeof core->process)
        return;
    core->has_process = pyunw_core_bytes(core, core->fd, note->at, &core->process, sizeof core->process);
}

static void take_auxiliary_vector(pyunw_core *core, const struct note *note)
{
    Elf64_auxv_t entry;
    if (core->has_vector)
        return;
    core->has_vector = true;
    for (uint64_t at = 0; at + sizeof entry <= note->size && at < LONG_VECTOR; at += sizeof entry) {
        if (!pyunw_core_bytes(core, core->fd, note->at + at, &entry, sizeof entry) || entry.a_type == AT_NULL)
            return;
        if (entry.a_type == AT_PHDR) {
            core->headers = entry.a_un.a_val;
            core->headers_index = (size_t)(at / sizeof entry);
        }
        if (entry.a_type == AT_SYSINFO_EHDR)
            core->vdso = entry.a_un.a_val;
        if (entry.a_type == AT_EXECFN)
            core->executable_name = entry.a_un.a_val;
    }
}

/* ---- NT_FILE: count, size of a page, count times begin, end and offset in pages; then as many names ---- */

static int by_address(const void *left, const void *right)
{
    const struct core_name *one = left;
    const struct core_name *other = right;
    return one->begin < other->begin ? -1 : one->begin > other->begin;
}

static void sort_names(pyunw_core *core)
{
    size_t kept = 0;
    qsort(core->names, core->name_count, sizeof *core->names, by_address);
    for (size_t n = 0; n < core->name_count; n++) {
        if (kept == 0 || core->names[n].begin >= core->names[kept - 1].end)
            core->names[kept++] = core->names[n];
    }
    core->name_count = kept;
}

static void parse_names(pyunw_core *core, const uint8_t *note, size_t size)
{
    uint64_t head[2];
    memcpy(head, note, sizeof head);
    if (head[0] > MANY_NAMES || head[0] > (size - sizeof head) / 24)
        return;
    core->names = calloc((size_t)head[0] + 1, sizeof *core->names);
    const char *path = (const char *)note + sizeof head + 24 * head[0];
    const char *end = (const char *)note + size;
    for (uint64_t n = 0; core->names != NULL && n < head[0] && path < end; n++) {
        uint64_t entry[3];
        memcpy(entry, note + sizeof head + 24 * n, sizeof entry);
        struct core_name name = {entry[0], entry[1], entry[2] * head[1], path};
        path += strnlen(path, (size_t)(end - path)) + 1;
        if (name.begin < name.end && path <= end)
            core->names[core->name_count++] = name;
    }
    if (core->names != NULL)
        sort_names(core);
}

static void take_names(pyunw_core *core, const struct note *note)
{
    if (core->name_note != NULL || note->size < 16 || note->size > LONG_NAMES)
        return;
    core->name_note = malloc((size_t)note->size);
    if (core->name_note != NULL && pyunw_core_bytes(core, core->fd, note->at, core->name_note, (size_t)note->size))
        parse_names(core, core->name_note, (size_t)note->size);
}

/* ---- All notes ---- */

static void take_note(pyunw_core *core, const struct note *note, bool is_linux)
{
    if (is_linux) {
        if (note->type == NT_ARM_TLS)
            take_thread_pointer(core, note);
        return;
    }
    switch (note->type) {
    case NT_PRSTATUS:
        take_thread(core, note);
        break;
    case NT_PRPSINFO:
        take_process(core, note);
        break;
    case NT_SIGINFO:
        take_signal(core, note);
        break;
    case NT_AUXV:
        take_auxiliary_vector(core, note);
        break;
    case NT_FILE:
        take_names(core, note);
        break;
    default:
        break;
    }
}

/* The kernel writes the signal of the process with each thread; the one that had it is the first. */
static size_t find_crashed(const pyunw_core *core)
{
    size_t n = 0;
    while (n < core->thread_count && core->threads[n].signal == 0)
        n++;
    return n;
}

static uint64_t padded(uint32_t size)
{
    return ((uint64_t)size + 3) & ~UINT64_C(3);
}

/* left: how many notes may still be read in all, since several segments may be the same. */
static void read_segment(pyunw_core *core, uint64_t at, uint64_t size, int *left)
{
    Elf64_Nhdr head;
    uint64_t end = at + size < at ? UINT64_MAX : at + size;
    for (; *left > 0 && at <= end && sizeof head <= end - at; (*left)--) {
        char owner[6 + 1] = ""; /* with an end of its own */
        if (!pyunw_core_bytes(core, core->fd, at, &head, sizeof head))
            return;
        /* Whoever writes a core owns its notes: zeros are no notes, but a hole in a damaged file. */
        if (head.n_namesz == 0)
            return;
        at += sizeof head;
        struct note note = {head.n_type, at + padded(head.n_namesz), head.n_descsz};
        bool short_name = head.n_namesz < sizeof owner && pyunw_core_bytes(core, core->fd, at, owner, head.n_namesz);
        if (note.at > end || note.size > end - note.at)
            return;
        at = note.at + padded(head.n_descsz);
        if (short_name && (strcmp(owner, "CORE") == 0 || strcmp(owner, "LINUX") == 0))
            take_note(core, &note, owner[0] == 'L');
    }
}

int pyunw_core_read_notes(pyunw_core *core, const pyunw_core_options *options)
{
    size_t count = 0;
    int left = MANY_NOTES;
    GElf_Phdr header;
    (void)options; /* a core without notes has still its memory */
    if (elf_getphdrnum(core->elf, &count) != 0)
        return PYUNW_OK;
    for (size_t n = 0; n < count; n++) {
        if (gelf_getphdr(core->elf, (int)n, &header) != NULL && header.p_type == PT_NOTE)
            read_segment(core, header.p_offset, header.p_filesz, &left);
    }
    core->crashed = find_crashed(core);
    return PYUNW_OK;
}
