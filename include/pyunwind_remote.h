/*
 * pyunwind: the Python stacks of another process, or of the core file that is left of one.
 *
 * What is opened here is read with all of pyunwind.h: pyunw_threads_begin(), pyunw_capture(), pyunw_describe_into(),
 * ... The library is libpyunwind-remote (pkg-config pyunwind-remote); it needs elfutils' libelf and libdw, the
 * libraries of zstd, lz4 and gzip, and libpyunwind.
 *
 * Closing words of each comment: as in pyunwind.h.
 */
#ifndef PYUNWIND_REMOTE_H
#define PYUNWIND_REMOTE_H

#include <sys/types.h>

#include "pyunwind.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Open the interpreter of another process, of any CPython that pyunw_open_self() knows: in libpython, in the executable
 * or embedded in a foreign program; stripped, deleted or replaced on disk, in another mount or pid namespace.
 *
 * The process is not stopped, and nothing of it is changed: its stacks are read while it runs, each until two reads
 * agree, and pyunw_status says what could not be settled. Every read is a process_vm_readv(2), or where that is refused
 * a pread(2) of /proc/PID/mem. With options->room (pyunwind.h) pages are read many at once, anew for each walk and each
 * description: a few calls for a stack that else takes hundreds, and fewer innermost frames that a thread which runs
 * loses. The target holds no descriptor and no memory; pyunw_close() ends it. It names the process by its number: when
 * the process has ended reads fail, and of a process that was given the same number later they tell nonsense. Whoever
 * keeps a target for long compares the start time in /proc/PID/stat.
 *
 * Of two interpreters in one process the one that is initialized is opened, else the one that is loaded lower, unless
 * options->runtime names one.
 * @param target   Caller's memory; filled in, whatever it held.
 * @param pid      The process as the caller's own pid namespace numbers it; more than 0; a process, not a thread.
 *                 The caller's own is allowed.
 * @param options  NULL for the defaults; memory and guard are ignored. options->message says why when it fails, and
 *                 what could be done, but for a size that is too small; 512 bytes hold most messages whole.
 * @return 0; PYUNW_ERR_ARGUMENT;
 *         PYUNW_ERR_NO_PROCESS where there is no such process, it has ended or is ending (a zombie too), or pid is
 *         a thread's;
 *         PYUNW_ERR_PERMISSION where the system refuses (the message names the rule and two ways out);
 *         PYUNW_ERR_NO_PYTHON where it holds no CPython interpreter (the message says what it is, PyPy too);
 *         PYUNW_ERR_UNSUPPORTED (the message names the version; also a process of 32 bits or another architecture);
 *         PYUNW_ERR_LAYOUT, PYUNW_ERR_FAULT where the runtime is not what its version makes it, or cannot be read;
 *         PYUNW_ERR_SYSTEM where /proc is not to be had;
 *         PYUNW_ERR_NOT_INITIALIZED, PYUNW_ERR_FINALIZED: the target is open all the same, and answers once the
 *         interpreter is initialized.
 * Signal-safe: no; captures of the target are. Allocates: while it runs. Threads: any, one target each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_pid(pyunw_target *target, pid_t pid, const pyunw_options *options);

/* ---- A process that stands ----------------------------------------------------------------------------------- */

/** A process that stands still: opaque, allocated by pyunw_pause_process(), freed by pyunw_resume_process(). */
typedef struct pyunw_pause pyunw_pause;

/**
 * Stop every thread of a process, those it starts meanwhile too, so that what is read of it is exact: what the stacks
 * are at one moment, the same for all threads.
 *
 * A thread of the library's own holds them (PTRACE_SEIZE, PTRACE_INTERRUPT), until pyunw_resume_process() or until
 * limit has passed, whatever the caller does, but for one thing: while the caller's process is stopped itself (SIGSTOP,
 * job control), so is that thread; block SIGTSTP where a terminal may send it. When the caller's process ends, by
 * SIGKILL too, the kernel lets them go.
 * No signal is lost or added: what was sent meanwhile arrives afterwards, and a process that was stopped (SIGSTOP, job
 * control) stays so. System calls that were waiting go on, but for the few which end with EINTR also after SIGSTOP and
 * SIGCONT (epoll_wait(2), ...; signal(7)).
 *
 * Meanwhile the caller must not wait for what the paused process has to do: not for a lock in memory that both share,
 * not for room in a pipe that it empties. To the kernel the caller is its tracer: waitpid(2) for any child, or for the
 * paused process, may tell each of the caller's threads that one has stopped (WIFSTOPPED), and SIGCHLD arrives.
 * @param pid      As for pyunw_open_pid(); not the caller's own process.
 * @param limit    Milliseconds, more than 0, from now: how long it takes at most until the process runs again. Counted
 *                 in it: the time until all threads stand.
 * @param pause    Out: the handle; NULL when it fails. Nothing stands then.
 * @param options  NULL for the defaults; only message and message_size are used, as by pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_PROCESS, PYUNW_ERR_PERMISSION as for pyunw_open_pid(), and
 *         PYUNW_ERR_PERMISSION where a debugger or another pause holds the process (the message names it);
 *         PYUNW_ERR_NO_PYTHON for a thread of the kernel; PYUNW_ERR_TORN where not all threads stood before the limit
 *         (the message names one, which waits for a disk, say);
 *         PYUNW_ERR_SYSTEM where /proc, memory or a thread is not to be had.
 * Signal-safe: no. Allocates: yes. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_pause_process(pid_t pid, int limit, pyunw_pause **pause, const pyunw_options *options);

/**
 * Let a paused process run on.
 * @param pause  The handle, which is freed: close the targets that were opened with it before. NULL: nothing is done.
 *               A child that the caller has forked since cannot use the handle, nor free it.
 * @return 0: it stood until now, or was ended by another; PYUNW_ERR_TORN: the limit had passed before, and it has run
 *         on since. What was read until then is exact, and what was to be read later was refused.
 * Signal-safe: no. Allocates: no. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_resume_process(pyunw_pause *pause);

/**
 * Open the interpreter of a paused process: as pyunw_open_pid(), but each stack is read once, as it stands.
 * @param target   Caller's memory; filled in, whatever it held. Close it before the process is resumed.
 * @param pause    Of pyunw_pause_process(); borrowed until pyunw_close(). Several targets may share it.
 * @param options  As for pyunw_open_pid().
 * @return As pyunw_open_pid(); PYUNW_ERR_ARGUMENT for a pause that is NULL. When the limit of the pause has passed,
 *         captures fail, or end with PYUNW_CORRUPT at what was not read before.
 * Signal-safe: no; captures of the target are. Allocates: while it runs. Threads: any, one target each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_paused(pyunw_target *target, const pyunw_pause *pause, const pyunw_options *options);

/* ---- A core file --------------------------------------------------------------------------------------------- */

/** A core file: opaque, allocated by pyunw_load_core(), freed by pyunw_unload_core(). */
typedef struct pyunw_core pyunw_core;

/** Options of pyunw_load_core(). Set .size = sizeof(pyunw_core_options), leave the rest zero for the defaults. */
typedef struct {
    size_t size;            /* bytes of this structure, as the caller was compiled */
    const char *executable; /* read in place of the executable that the core names; NULL: that one */
    const char *sysroot;    /* put before the paths of the mapped files: a folder with those of the core's machine */
    const char *debug_dir;  /* holds .build-id/xx/yyyy files, or a tree of PATH.debug; NULL: /usr/lib/debug */
    char *message;          /* out, may be NULL: why loading failed, in words, with names and numbers */
    size_t message_size;    /* bytes of room in message, the end included */
} pyunw_core_options;

/**
 * Load a core file: one that the kernel wrote (core(5)), gdb (gcore) or another that writes ELF core files; compressed
 * by zstd, lz4 or gzip too.
 *
 * Nothing of the memory in it is read before it is asked for, and all by pread(2), so that a core file of any size
 * takes little time and memory, and one that is cut off meanwhile only makes reads fail. A compressed one is unpacked
 * to a file without a name in $TMPDIR (/var/tmp), which goes with the handle. One that is truncated is loaded with what
 * is there; pyunw_core_describe() tells what is missing.
 *
 * A core file leaves out what the mapped files have as well. Such bytes are read from the files that it names, where
 * their build ids are those in the core: pyunw_core_file_at() tells which are missing, and which are others by now.
 * @param path     Of the core file.
 * @param core     Out: the handle; NULL when it fails. It holds a descriptor for itself and one for each mapped ELF
 * file.
 * @param options  NULL for the defaults. options->message says why when it fails, and what could be done, but for a
 *                 size that is too small.
 * @return 0; PYUNW_ERR_ARGUMENT, also for what is no core file, and an executable that is not the core's (the message
 *         shows both build ids); PYUNW_ERR_UNSUPPORTED for the core of a 32-bit program or another architecture;
 *         PYUNW_ERR_FAULT where nothing of the process's memory is in it, or it is damaged; PYUNW_ERR_PERMISSION;
 *         PYUNW_ERR_SYSTEM where the file cannot be opened or read, or there is no room to unpack it, or no memory.
 * Signal-safe: no. Allocates: yes. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_load_core(const char *path, pyunw_core **core, const pyunw_core_options *options);

/**
 * Forget a core file.
 * @param core  The handle, which is freed: close the targets that were opened with it before. NULL: nothing is done.
 * Signal-safe: no. Allocates: no. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API void pyunw_unload_core(pyunw_core *core);

/**
 * Open the interpreter in a core file: as pyunw_open_pid(), and each stack is read once, as it stood.
 * @param target   Caller's memory; filled in, whatever it held. Close it before the core is unloaded.
 * @param core     Of pyunw_load_core(); borrowed until pyunw_close(). Several targets may share it.
 * @param options  As for pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_PYTHON (the message tells which of its files are missing, or others);
 *         PYUNW_ERR_UNSUPPORTED, PYUNW_ERR_LAYOUT, PYUNW_ERR_FAULT as for pyunw_open_pid();
 *         PYUNW_ERR_NOT_INITIALIZED, PYUNW_ERR_FINALIZED where there was no interpreter yet, or no more.
 *         Captures end with PYUNW_CORRUPT, or fail with PYUNW_ERR_FAULT, at what the core has not.
 * Signal-safe: no; captures of the target are. Allocates: while it runs. Threads: any, one target each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_core(pyunw_target *target, const pyunw_core *core, const pyunw_options *options);

/** What a core file tells of its process and of its end. */
typedef struct {
    pid_t pid;    /* 0: not known */
    pid_t parent; /* 0: not known, or none */
    /* The signal that ended it; 0: none, as in a core that gcore made of a running process. */
    int signal;
    int signal_code;           /* si_code; only with has_signal_code */
    pyunw_addr signal_address; /* si_addr, the fault's; only with has_signal_address */
    int has_signal_code;
    int has_signal_address;
    pid_t crashed;          /* kernel id of the thread that had the signal; 0: none */
    const char *command;    /* the arguments, each ended by a NUL; else one text of at most 80 bytes; may be NULL */
    size_t command_size;    /* bytes in command */
    const char *executable; /* path, as the process had it mapped; NULL: not known */
    size_t thread_count;    /* for pyunw_core_thread_at() */
    size_t file_count;      /* for pyunw_core_file_at() */
    uint64_t size;          /* bytes of the core file, unpacked */
    uint64_t missing;       /* bytes that it should have and has not: it is truncated; 0: none */
    uint64_t missing_from;  /* where in the file they begin */
    const char *packed;     /* "zstd", "lz4" or "gzip", as it was compressed; NULL: it was not */
    int is_cut;             /* 1: what was compressed ends early, or is damaged from some place on */
    /* errno of the last read that failed, of the core or of what its process had mapped of a file, as EIO of a disk
     * that breaks: what was to be had there may be missing. 0: none has. It stays, and is that of all targets of this
     * core; ask when the captures are done. */
    int read_error;
} pyunw_core_info;

/**
 * Tell what a core file says of its process.
 * @param info  Out; its texts are the core's, and good until it is unloaded.
 * @return 0; PYUNW_ERR_ARGUMENT. Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_core_describe(const pyunw_core *core, pyunw_core_info *info);

/** A thread of the kernel's in a core file. */
typedef struct {
    pid_t native_id;
    int crashed;             /* 1: it had the signal that ended the process */
    int has_thread_pointer;  /* 1: thread_pointer is known */
    uint64_t thread_pointer; /* x86-64: the base of fs, which is pthread_self(); aarch64: tpidr_el0 */
    char name[32];           /* the kernel's, which a core has of the main thread only; "": not known */
} pyunw_core_thread;

/**
 * Tell of one thread, in the order of the core file.
 * @param index  Less than thread_count of pyunw_core_describe().
 * @return 0; PYUNW_ERR_ARGUMENT. Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_core_thread_at(const pyunw_core *core, size_t index, pyunw_core_thread *thread);

/** Is a file here the one that was mapped? */
enum pyunw_core_file_state {
    PYUNW_CORE_FILE_MISSING = 0,   /* it is not here, or is no ELF file */
    PYUNW_CORE_FILE_MATCHES = 1,   /* its build id is that in the core */
    PYUNW_CORE_FILE_DIFFERS = 2,   /* its build id, or its program headers, are others: it is not used */
    PYUNW_CORE_FILE_UNCHECKED = 3, /* the core holds no build id of it: it is used, if its program headers agree */
};

/** A file that the process had mapped. */
typedef struct {
    const char *path;        /* as the process had it; "" where the core has no names */
    const char *found;       /* what is here in its place; NULL: nothing */
    int state;               /* enum pyunw_core_file_state */
    int executable;          /* 1: it is the program's executable */
    pyunw_addr begin;        /* where its first page was mapped; 0: that is not in the core, or it is no ELF file */
    char build_id[72];       /* in the core, hexadecimal; "": none, or not known */
    char found_build_id[72]; /* of found */
} pyunw_core_file;

/**
 * Tell of one mapped file.
 * @param index  Less than file_count of pyunw_core_describe().
 * @param file   Out; its texts are the core's, and good until it is unloaded.
 * @return 0; PYUNW_ERR_ARGUMENT. Signal-safe: no. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_core_file_at(const pyunw_core *core, size_t index, pyunw_core_file *file);

/* ---- Native frames ------------------------------------------------------------------------------------------- */

/** Native stacks: opaque, allocated by pyunw_native_open(), pyunw_native_open_core(). */
typedef struct pyunw_native pyunw_native;

enum pyunw_native_flags {
    /* address is the next instruction: the innermost frame, or one that a signal interrupted. Else a return address. */
    PYUNW_NATIVE_INTERRUPTED = 1,
    PYUNW_NATIVE_EVALUATION_LOOP = 2, /* _PyEval_EvalFrameDefault: runs Python frames. Set by the description */
    /* A part of the evaluation loop that follows outward: an instruction's handler, where the loop calls those (3.14+
     * built with tail calls). Set by the description */
    PYUNW_NATIVE_LOOP_PART = 4,
    PYUNW_NATIVE_TAKES_GIL = 8, /* take_gil: waits for the global interpreter lock. Set by the description */
};

/**
 * A native frame. Its texts are owned by the handle. The walk sets the addresses, module and build id, the
 * description the rest.
 */
typedef struct {
    pyunw_addr address;         /* of the next instruction that this frame runs */
    pyunw_addr module_offset;   /* address as the module's ELF file numbers it: what addr2line(1) takes */
    pyunw_addr function_offset; /* bytes from the beginning of the function; 0 where function is NULL */
    const char *module;         /* path, as the process has it; "[vdso]"; NULL: in no file */
    const uint8_t *build_id;    /* of the module; NULL: none, or not known */
    const char *function;       /* symbol, as the linker has it, without a version; NULL: not known */
    const char *filename;       /* of the source, by debuginfo; NULL: not known, or of the C library */
    int32_t lineno;             /* in filename, in a function inlined there perhaps; -1: not known */
    uint32_t flags;             /* enum pyunw_native_flags */
    uint32_t build_id_size;     /* bytes */
    uint32_t reserved;          /* 0 */
    pyunw_addr stack;           /* stack pointer: the frame reaches from here to the next one's; 0: not known */
    pyunw_addr entry;           /* the Python frame (pyunw_raw_frame.frame) that the loop was entered with, where
                                   pyunw_native_find_entries() was asked and tells; 0: not known */
} pyunw_native_frame;

/** How a native walk ended. */
enum pyunw_native_end {
    PYUNW_NATIVE_COMPLETE = 0,  /* at the bottom of the stack */
    PYUNW_NATIVE_TRUNCATED = 1, /* the caller's array is full */
    PYUNW_NATIVE_CUT = 2,       /* nothing says what called the last one given: no file, no unwind table, or damage */
};

/**
 * Open the native stacks of a paused process.
 *
 * Stacks are unwound by the tables in the files (.eh_frame, else .debug_frame); of a file that cannot be opened, by
 * what is mapped of it. Symbols and lines are taken from the files and from debuginfo that is installed here
 * (/usr/lib/debug, .gnu_debuglink), never from a network.
 * @param native   Out: the handle; NULL when it fails.
 * @param pause    Of pyunw_pause_process(); borrowed: no walk after pyunw_resume_process(). Descriptions may follow it.
 * @param options  NULL for the defaults; only message and message_size are used, as by pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_TORN where the limit of the pause has passed; PYUNW_ERR_NO_PROCESS,
 *         PYUNW_ERR_PERMISSION; PYUNW_ERR_SYSTEM where memory, /proc or elfutils fail (the message says which).
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_open(pyunw_native **native, pyunw_pause *pause, const pyunw_options *options);

/**
 * Open the native stacks of a process that is not stopped, where the system forbids that: only
 * pyunw_native_walk_context() can be used then, for a thread that waits in a signal handler until it is done.
 * @param native   Out: the handle; NULL when it fails.
 * @param pid      As for pyunw_open_pid().
 * @param options  NULL for the defaults; only message and message_size are used, as by pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_PROCESS, PYUNW_ERR_PERMISSION where what it has mapped may not be read;
 *         PYUNW_ERR_SYSTEM where memory, /proc or elfutils fail (the message says which).
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_open_pid(pyunw_native **native, pid_t pid, const pyunw_options *options);

/**
 * Open the native stacks in a core file: as pyunw_native_open(), of the registers that it has of each thread.
 *
 * Files are those that pyunw_core_file_at() tells to be used, wherever they were found; of others what the core has of
 * them, where that is all. Debuginfo is looked for in debug_dir of the core's options, and beside the files.
 * @param native   Out: the handle; NULL when it fails.
 * @param core     Of pyunw_load_core(); borrowed until pyunw_native_close().
 * @param options  NULL for the defaults; only message and message_size are used, as by pyunw_open_pid().
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM where memory or elfutils fail (the message says which).
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_open_core(pyunw_native **native, const pyunw_core *core, const pyunw_options *options);

/** Close native stacks: every text of their frames goes. NULL is allowed. Signal-safe: no. Since: 0.1. */
PYUNW_API void pyunw_native_close(pyunw_native *native);

/**
 * Walk the native stack of one thread, innermost frame first.
 * @param task    The kernel's thread id, as the caller's pid namespace numbers it, or as the core file has it.
 * @param frames  Caller's array; only the entries counted in the result are written.
 * @param max     Room in frames.
 * @param end     Out, not NULL: enum pyunw_native_end.
 * @return Frames written; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_THREAD where the process has no such thread, or it has
 *         ended.
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_walk(pyunw_native *native, pid_t task, pyunw_native_frame *frames, int max, int *end);

/**
 * Walk the native stack of a thread from where a signal interrupted it, while its handler waits: pyunw_native_walk()
 * from other registers. Where it had jumped to what is no code, the frame that jumped follows.
 * @param native   Of pyunw_native_open() or pyunw_native_open_pid().
 * @param task     As for pyunw_native_walk().
 * @param context  Where the handler's third argument, a ucontext_t, lies in the process.
 * @return As pyunw_native_walk(); PYUNW_ERR_FAULT where context cannot be read; PYUNW_ERR_UNSUPPORTED for a core file.
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_walk_context(pyunw_native *native, pid_t task, pyunw_addr context,
                                        pyunw_native_frame *frames, int max, int *end);

/** A file of code that the process has mapped. */
typedef struct {
    const char *path;        /* as the process has it; "[vdso]" */
    const uint8_t *build_id; /* NULL: none, or not known */
    uint32_t build_id_size;  /* bytes */
    uint32_t reserved;       /* 0 */
    pyunw_addr begin;        /* of what is mapped of it */
    pyunw_addr end;          /* behind the last byte */
} pyunw_native_module;

/**
 * List the files of code, in ascending order of their addresses. Texts are owned by the handle.
 * @param modules  Caller's array; may be NULL where max is 0.
 * @return How many there are, of which at most max are written; PYUNW_ERR_ARGUMENT.
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1.
 */
PYUNW_API int pyunw_native_modules(pyunw_native *native, pyunw_native_module *modules, int max);

/**
 * Find, while the process stands, which native frame is the evaluation loop that was entered with each Python frame
 * that is marked PYUNW_FRAME_ENTRY. 3.12 and later tell: the loop keeps a frame of its own on the C stack. So the two
 * stacks of one thread are merged for certain where no symbol names the loop, and where a thread has entered several
 * interpreters.
 * @param target  The interpreter, by pyunw_open_paused() or, of the same core file, pyunw_open_core().
 * @param python  Of one thread state, by pyunw_walk() or pyunw_capture() of target.
 * @param frames  Of the same thread, as pyunw_native_walk() gave it: entry is set.
 * @return How many were found, 0 before 3.12; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN.
 * Signal-safe: no. Allocates: no. Threads: any, one handle each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_native_find_entries(pyunw_native *native, const pyunw_target *target, const pyunw_raw_frame *python,
                                        int python_count, pyunw_native_frame *frames, int count);

/**
 * Describe the frames of one stack: functions, files and lines, and which of them are CPython's evaluation loop. The
 * process need not stand any more; what it takes is the time to read symbols and debuginfo.
 * @param frames  All of a stack, as pyunw_native_walk() gave it; completed.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_SYSTEM where memory is short.
 * Signal-safe: no. Allocates: yes. Threads: any, one handle each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_native_describe(pyunw_native *native, pyunw_native_frame *frames, int count);

/** A frame of a merged stack: the index of a native one, or of a Python one; the other is -1. */
typedef struct {
    int32_t native;
    int32_t python;
} pyunw_merged_frame;

/**
 * Merge the native and the Python stack of one thread into one: each evaluation loop gives way to the Python frames
 * that it runs, which are those up to the next that is marked PYUNW_FRAME_ENTRY. Loops are those that
 * pyunw_native_find_entries() found, or before 3.12 those that the description recognised, one for each entry.
 *
 * A loop that was stopped where it is being entered or left runs no frame that shows: it stays as a native frame, and
 * where it is told by its name alone, only the innermost can be such a one. Where the two stacks do not fit otherwise
 * they are not merged: a loop that nothing tells, a stack that was not read whole, before 3.12 a thread that has
 * entered several interpreters.
 * @param native      As pyunw_native_describe() completed them.
 * @param native_end  As pyunw_native_walk() told it.
 * @param python      Of the same thread, by pyunw_walk() or pyunw_capture() of the same paused process or core file.
 * @param status      Of that walk, not NULL.
 * @param rows        Caller's array, innermost first; room for native_count + python_count is always enough.
 * @return Rows written; PYUNW_ERR_ARGUMENT, also for too little room; PYUNW_ERR_CORRUPT where they do not fit.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_native_merge(const pyunw_native_frame *native, int native_count, int native_end,
                                 const pyunw_raw_frame *python, int python_count, const pyunw_status *status,
                                 pyunw_merged_frame *rows, int max);

#ifdef __cplusplus
}
#endif

#endif
