/*
 * A core file, loaded: its mappings, threads and crash, and the files that its process had mapped.
 * Signal-safe: see each. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_CORE_H
#define PYUNW_TARGET_CORE_H

#include "process_maps.h"
#include "pyunwind_remote.h"

#include <libelf.h>
#include <signal.h>
#include <sys/procfs.h>

enum { BUILD_ID_MAX = 32 };

struct build_id {
    uint8_t bytes[BUILD_ID_MAX];
    size_t size; /* 0: none, or not known */
};

/* What the core's headers say of a stretch of memory (PT_LOAD), ascending and apart from each other. */
struct core_segment {
    pyunw_addr begin;
    pyunw_addr end;
    uint64_t offset;  /* in the core file */
    uint64_t present; /* bytes of it that the core file holds, from its begin */
    uint32_t flags;   /* PF_R, PF_W, PF_X */
};

/* What NT_FILE says of one. */
struct core_name {
    pyunw_addr begin;
    pyunw_addr end;
    uint64_t offset; /* in the file */
    const char *path;
};

/* Where the bytes of a mapping are, beside the mapping of the same index. */
struct core_piece {
    uint64_t at;      /* in the core file */
    uint64_t present; /* bytes from the mapping's begin that lie there; what is behind may be in the mapped file */
    pyunw_addr base;  /* where offset 0 of its file is mapped; 0: not known */
};

/* A segment of a file that is loaded to be written to, which is where the dynamic linker relocates, too. */
struct core_written {
    uint64_t begin; /* of its first page, counted from where offset 0 of the file is mapped */
    uint64_t end;
    uint64_t offset; /* of begin in the file */
};

/* Mostly one, or two; the last may stand for more. */
enum { WRITTEN_MAX = 4 };

/* A file that the process had mapped, as far as it is an ELF file: the mappings' inode is its index plus 1. */
struct core_mapped {
    char *path;           /* as the core says it, without " (deleted)"; "" where the core has no names */
    char *found;          /* what is read in its place; NULL: nothing */
    char *symbols;        /* a file of separate debug information; NULL: none */
    pyunw_addr begin;     /* where its offset 0 is mapped; 0: it is not */
    pyunw_addr last_base; /* where its offset 0 is mapped last, as far as the mappings were gone through */
    int fd;               /* of found; -1: none */
    struct core_written written[WRITTEN_MAX];
    size_t written_count;
    int state; /* enum pyunw_core_file_state */
    struct build_id in_core;
    struct build_id on_disk;
};

struct core_thread {
    pid_t id;
    int signal;
    bool has_pointer;
    uint64_t pointer; /* the thread pointer: the base of fs on x86-64, tpidr_el0 on aarch64 */
    elf_gregset_t registers;
};

struct pyunw_core {
    int fd;                /* the core file, or what it was unpacked to */
    uint64_t size;         /* bytes that fd has */
    Elf *elf;              /* of fd */
    const char *packed;    /* "zstd", "lz4", "gzip"; NULL: it was not */
    bool is_cut;           /* what was packed ends early, or is damaged from some place on */
    char *sysroot;         /* NULL: none */
    char *debug_dir;       /* NULL: none */
    char *path;            /* of the core file */
    uint64_t missing;      /* bytes of the core that it should have, and has not */
    uint64_t missing_from; /* where they begin */

    struct core_segment *segments;
    size_t segment_count;
    uint8_t *name_note; /* NT_FILE, which the names' paths lie in */
    struct core_name *names;
    size_t name_count;
    struct process_maps maps;  /* segments and names together */
    struct core_piece *pieces; /* as many as maps.count */
    struct core_mapped *mapped;
    size_t mapped_count;

    struct core_thread *threads; /* as the core lists them */
    size_t thread_count;
    size_t crashed; /* index of the first that had a signal; thread_count: none had */
    struct elf_prpsinfo process;
    bool has_process;
    siginfo_t signal_info; /* of the first thread that had a signal */
    bool has_signal_info;
    bool has_vector;            /* the auxiliary one: the next four are of it */
    pyunw_addr headers;         /* AT_PHDR: the executable's program headers, loaded; 0: not known */
    size_t headers_index;       /* its place in the auxiliary vector */
    pyunw_addr vdso;            /* AT_SYSINFO_EHDR: the kernel's own ELF file; 0: not known */
    pyunw_addr executable_name; /* AT_EXECFN: a string on the stack */
    char *command;              /* the arguments, each ended by a NUL */
    size_t command_size;
    int executable; /* index in mapped; -1: not known */
    int read_error; /* errno: a read of the core or of a mapped file has failed; 0: none */
    int *trouble;   /* to that, which is not const with the core */
};

/* ---- core_bytes.c: bytes of the core file and of the memory that it is of ---- */

/* Copy size bytes at offset of a file, the core's or a mapped one, all or nothing; an error is kept. Signal-safe. */
bool pyunw_core_bytes(const pyunw_core *core, int fd, uint64_t offset, void *buffer, size_t size);

/* Copy from what the core itself holds, all or nothing. Signal-safe. */
int pyunw_core_read_dumped(const pyunw_core *core, pyunw_addr address, void *buffer, size_t size);

/* A pyunw_read_function, whose context is the core: from the core, else from mapped files. Signal-safe. */
int pyunw_core_read_image(void *context, pyunw_addr address, void *buffer, size_t size);

/* ---- core_unpack.c ---- */

/*
 * Where fd is a compressed file: replace it by what it unpacks to, a file without a name. 0, also for one that is not
 * compressed (core->packed stays NULL) or ends early (core->is_cut); PYUNW_ERR_SYSTEM, PYUNW_ERR_UNSUPPORTED.
 */
int pyunw_core_unpack(pyunw_core *core, const pyunw_core_options *options);

/* ---- core_headers.c, core_notes.c, core_maps.c, core_mapped.c: each fills its part; 0, or an error explained ---- */

int pyunw_core_read_headers(pyunw_core *core, const pyunw_core_options *options);
int pyunw_core_read_notes(pyunw_core *core, const pyunw_core_options *options);
int pyunw_core_make_maps(pyunw_core *core, const pyunw_core_options *options);
int pyunw_core_find_files(pyunw_core *core, const pyunw_core_options *options);
void pyunw_core_read_command(pyunw_core *core);

/* ---- build_id.c ---- */

bool pyunw_build_id_of(Elf *elf, struct build_id *id);
enum { BUILD_ID_TEXT = 2 * BUILD_ID_MAX + 1 };
void pyunw_build_id_text(const struct build_id *id, char text[BUILD_ID_TEXT]);

/* options->message, and the error. */
__attribute__((format(printf, 3, 4))) int pyunw_core_refuse(const pyunw_core_options *options, int err,
                                                            const char *format, ...);

#endif
