/*
 * pyunwind: the Python stack as data.
 *
 * Reads the thread states, frames and code objects of CPython 3.8 to 3.15, with or without the GIL, straight from
 * memory: no allocation, no lock, no GIL, no reference count, no call into the interpreter. One library serves every
 * version; the version is found at run time.
 *
 * Order of use: pyunw_open_self() once at start-up; then, anywhere and at any time, pyunw_capture_current() or the
 * cursors below it. Facts about CPython come from its headers (Include/internal/pycore_frame.h, pycore_interp.h,
 * pycore_runtime.h, pycore_code.h, pycore_debug_offsets.h, cpython/code.h) of the versions named.
 *
 * Closing words of each comment: "Signal-safe: yes" means async-signal-safe (signal-safety(7)) on any stack with
 * 2 KiB to spare (the writers and pyunw_describe_exception(): 4 KiB), whatever state the heap and the locks are in.
 * "Threads: any" means that threads may call at once.
 */
#ifndef PYUNWIND_H
#define PYUNWIND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PYUNW_VERSION_MAJOR 0
#define PYUNW_VERSION_MINOR 1

#if defined(__GNUC__)
#define PYUNW_API __attribute__((visibility("default")))
#else
#define PYUNW_API
#endif

/* ---- Errors -------------------------------------------------------------------------------------------------- */

/** What a function that failed returns. Published values never change. */
enum pyunw_err {
    PYUNW_OK = 0,
    PYUNW_ERR_ARGUMENT = -1,        /* NULL, negative or out of range where the function does not allow it */
    PYUNW_ERR_NOT_OPEN = -2,        /* the target or cursor was never opened, or is closed */
    PYUNW_ERR_NO_PYTHON = -3,       /* no CPython interpreter in this process */
    PYUNW_ERR_UNSUPPORTED = -4,     /* an interpreter of a version or build that pyunwind does not know */
    PYUNW_ERR_LAYOUT = -5,          /* a known version whose structures do not lie where they should */
    PYUNW_ERR_NOT_INITIALIZED = -6, /* before Py_Initialize */
    PYUNW_ERR_FINALIZED = -7,       /* after Py_Finalize */
    PYUNW_ERR_NO_THREAD = -8,       /* no such thread state: unknown to Python, ended, or not a thread state */
    PYUNW_ERR_FAULT = -9,           /* memory that cannot be read */
    PYUNW_ERR_CORRUPT = -10,        /* readable, but not what CPython writes */
    PYUNW_ERR_TORN = -11,           /* it kept changing while it was read */
    PYUNW_ERR_PERMISSION = -12,     /* the system refuses */
    PYUNW_ERR_SYSTEM = -13,         /* a system call failed for another reason */
    PYUNW_ERR_WRITE = -14,          /* the output could not be written whole */
    PYUNW_ERR_NO_PROCESS = -15,     /* no such process, or it has ended */
};

/**
 * Say an error in words.
 * @param error  Any int: a value of enum pyunw_err, or a non-negative result, which is "success".
 * @return Static string, never NULL; "unknown error" for a value that is none of ours.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API const char *pyunw_strerror(int error);

/* ---- Targets ------------------------------------------------------------------------------------------------- */

/** An address in the target. A number: only pyunwind's memories turn it into bytes. */
typedef uint64_t pyunw_addr;

/** An open interpreter: opaque, of fixed size, in the caller's memory. Zero-filled means closed. */
typedef struct {
    uint64_t opaque[128];
} pyunw_target;

/** How bytes of the own process are read. */
enum pyunw_memory {
    /* Trapped where pyunw_trap_install() is in force, else guarded. Never faults. */
    PYUNW_MEMORY_DEFAULT = 0,
    /*
     * Plain loads for the calling thread's own live stack: the fastest, for code that is not crashing (a profiler's
     * hook or timer). What it trusts: that the frames of the calling thread are intact. Other threads, the thread lists
     * and whatever else may vanish are read as by PYUNW_MEMORY_DEFAULT. To find the calling thread by who holds the GIL
     * costs a system call where pyunw_trap_install() was never called.
     */
    PYUNW_MEMORY_DIRECT = 1,
    /* Loads that survive a fault, through the handler of pyunw_trap_install(). Where that handler is displaced or
     * its signal is blocked, guarded is used instead. */
    PYUNW_MEMORY_TRAPPED = 2,
    /* A system call that cannot fault. Needs no handler. */
    PYUNW_MEMORY_GUARDED = 3,
    /* pyunw_open_image(): bytes that the caller has. Not to be asked for in the options. */
    PYUNW_MEMORY_IMAGE = 4,
};

/** Which system call guarded reads use. */
enum pyunw_guard {
    PYUNW_GUARD_DEFAULT = 0,  /* the first of those below that this process is allowed, found out when opened */
    PYUNW_GUARD_READV = 1,    /* process_vm_readv(2) on the own process */
    PYUNW_GUARD_PROC_MEM = 2, /* pread(2) of /proc/self/mem */
    PYUNW_GUARD_PIPE = 3,     /* write(2) to a pipe of one's own, and back */
};

/** Options of the pyunw_open functions. Set .size = sizeof(pyunw_options) and leave the rest zero for the defaults. */
typedef struct {
    size_t size;         /* bytes of this structure, as the caller was compiled */
    int memory;          /* enum pyunw_memory */
    int guard;           /* enum pyunw_guard */
    pyunw_addr runtime;  /* address of _PyRuntime, where a process holds more than one; 0: find it */
    char *message;       /* out, may be NULL: why opening failed, in words, with names and numbers */
    size_t message_size; /* bytes of room in message, the end included */
    /*
     * Added later: a size that ends before it is allowed. pyunw_open_pid() and pyunw_open_paused() only: room for pages
     * of the process, which are then read many at once; captures are many times faster with it. Less than 64 KiB is not
     * used; 1 MiB is plenty. Borrowed until the target is closed, and while it is used the target is for one thread at
     * a time. NULL: every word is read by a system call of its own.
     */
    void *room;
    size_t room_size; /* bytes */
} pyunw_options;

/** Contents of an image: what pyunw_open_image() reads instead of the own memory. */
typedef struct {
    pyunw_addr address; /* where the bytes lay in the target */
    uint64_t size;      /* bytes */
    const void *bytes;
} pyunw_segment;

/**
 * Reads bytes of a target for pyunw_open_image().
 * @return 0 when all of size bytes were copied to buffer, else a negative enum pyunw_err.
 * Has to be as signal-safe as the calls that use it need to be.
 */
typedef int (*pyunw_read_function)(void *context, pyunw_addr address, void *buffer, size_t size);

/** What is about to be read, for a pyunw_renew_function. */
enum pyunw_purpose {
    PYUNW_FOR_THREADS = 0, /* thread states and their lists */
    PYUNW_FOR_FRAMES = 1,  /* one walk over the frames of a thread, with their code objects */
    PYUNW_FOR_TEXTS = 2,   /* names and positions of the frames that were walked */
    PYUNW_FOR_CHECK = 3,   /* a word that must be what it was */
};

/**
 * Told by a target that may change: what is read from now on has to be read anew. A reader that keeps bytes must not
 * serve any that it read before; two walks that are to agree would else be one. purpose: enum pyunw_purpose; what was
 * read for the same purpose last is likely to be read again. As signal-safe as the reader.
 */
typedef void (*pyunw_renew_function)(void *context, int purpose);

/**
 * Told where bytes are likely to be read soon: a guess, and the address of nothing perhaps. A reader that keeps bytes
 * may read them together with others. As signal-safe as the reader.
 */
typedef void (*pyunw_expect_function)(void *context, pyunw_addr address, size_t size);

typedef struct {
    size_t size;                   /* sizeof(pyunw_image) */
    const pyunw_segment *segments; /* ascending by address, not overlapping; may be NULL */
    size_t segment_count;
    pyunw_read_function read; /* asked for what no segment holds whole; may be NULL */
    void *context;            /* handed to read */
    int may_change;           /* not 0: the bytes that read returns belong to a program that runs on */
    pyunw_addr runtime;       /* address of _PyRuntime */
    uint32_t version;         /* PY_VERSION_HEX; 0: read from the image (3.13+, where _Py_DebugOffsets holds it) */
    int free_threaded;        /* used with version */
    pyunw_addr code_type;     /* address of PyCode_Type; 0: recognised by its name */
    /* Added later: a size that ends before these is allowed. */
    pyunw_renew_function renew;   /* for a reader that keeps bytes, with may_change; may be NULL */
    pyunw_expect_function expect; /* may be NULL */
    pyunw_addr text_type;         /* address of PyUnicode_Type; 0: recognised by its flags */
} pyunw_image;

/** What is known of an open target. */
typedef struct {
    uint32_t version;     /* PY_VERSION_HEX */
    int free_threaded;    /* 1: a build without the GIL (Py_GIL_DISABLED) */
    int memory;           /* enum pyunw_memory, as asked for */
    int guard;            /* enum pyunw_guard, as chosen */
    pyunw_addr runtime;   /* address of _PyRuntime */
    pyunw_addr code_type; /* address of PyCode_Type, 0 where it is recognised by name */
} pyunw_target_info;

/**
 * Open the interpreter of the own process: in libpython, in the executable, or embedded in a foreign program.
 *
 * May be called before Py_Initialize (then the layout is checked by each capture), and stays valid through
 * Py_Finalize and another Py_Initialize, and in a child after fork. An interpreter that dlopen() brings later is
 * found by opening again. Takes nothing of the process: no descriptor, no handler, no memory.
 * @param target   Caller's memory; filled in, whatever it held.
 * @param options  NULL for the defaults. options->message says why when it fails, but for a size that is too small.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NO_PYTHON; PYUNW_ERR_UNSUPPORTED (the message names the version);
 *         PYUNW_ERR_LAYOUT (the message names what does not fit); PYUNW_ERR_PERMISSION where no guarded read that
 *         was asked for is allowed; PYUNW_ERR_FAULT where options->runtime cannot be read; PYUNW_ERR_FINALIZED where
 *         the interpreter is finalized: the target is open all the same, and answers once it is initialized again.
 * Signal-safe: no. Allocates: no. Threads: any, one target each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_open_self(pyunw_target *target, const pyunw_options *options);

/**
 * Open an interpreter whose bytes the caller has or can read: a snapshot, a core file, another process.
 * @param target   Caller's memory; filled in.
 * @param image    Copied; what its pointers point to is borrowed until the target is closed.
 * @param options  NULL for the defaults; memory, guard and runtime are ignored.
 * @return as pyunw_open_self; PYUNW_ERR_FAULT where the runtime cannot be read.
 * Signal-safe: yes, if image->read is. Allocates: no. Threads: any, one target each. Since: 0.1.
 */
PYUNW_API int pyunw_open_image(pyunw_target *target, const pyunw_image *image, const pyunw_options *options);

/** Close a target. NULL and a closed target are allowed. Signal-safe: yes. Allocates: no. Since: 0.1. */
PYUNW_API void pyunw_close(pyunw_target *target);

/**
 * Say what is known of a target.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN. Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_target_describe(const pyunw_target *target, pyunw_target_info *info);

/**
 * Say whether the interpreter is being finalized (Py_Finalize has begun).
 * @return 1 or 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_NOT_INITIALIZED; PYUNW_ERR_FINALIZED;
 *         PYUNW_ERR_LAYOUT; PYUNW_ERR_FAULT. Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_is_finalizing(const pyunw_target *target);

/**
 * Install the SIGSEGV and SIGBUS handler that trapped loads need. It resumes a labelled load of pyunwind's with an
 * error, and hands every other fault to the handler that was there before, or to the default action.
 * @return 0, also if it is installed already, and if another handler was put in front of it meanwhile (which may call
 *         it, so it stays behind: captures use guarded reads); PYUNW_ERR_SYSTEM.
 * Signal-safe: no. Allocates: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_trap_install(void);

/**
 * Give the handlers back that pyunw_trap_install() found, each where pyunwind's is still the current one; where
 * another was installed since, pyunwind's stays behind it and only passes faults on.
 * @return 0, also if it is not installed; PYUNW_ERR_SYSTEM. Signal-safe: no. Threads: one at a time. Since: 0.1.
 */
PYUNW_API int pyunw_trap_remove(void);

/* ---- Threads ------------------------------------------------------------------------------------------------- */

enum pyunw_thread_flags {
    PYUNW_THREAD_MAIN = 1,                /* the main thread of the process (_PyRuntime.main_thread) */
    PYUNW_THREAD_CURRENT = 2,             /* the calling thread's: the attached one, else the newest with frames */
    PYUNW_THREAD_HOLDS_GIL = 4,           /* never set where the GIL is disabled */
    PYUNW_THREAD_FINALIZING = 8,          /* the runtime is finalizing in this thread */
    PYUNW_THREAD_COLLECTING = 16,         /* PYUNW_THREAD_HOLDS_GIL, and its interpreter's garbage collector runs */
    PYUNW_THREAD_ATTACHED = 32,           /* attached to its interpreter (3.12+; before: holds the GIL) */
    PYUNW_THREAD_HAS_FRAMES = 64,         /* at least one frame, perhaps only an interpreter's entry frame */
    PYUNW_THREAD_FRAMES_UNREADABLE = 128, /* whether it has frames could not be read */
    PYUNW_THREAD_WAITS_FOR_GIL = 256,     /* 3.15+, which alone tells; never set where the GIL is disabled */
};

/** One thread state. A thread that has entered several interpreters has one in each. */
typedef struct {
    pyunw_addr tstate;      /* PyThreadState */
    pyunw_addr interpreter; /* PyInterpreterState */
    int64_t interpreter_id; /* 0: the main interpreter */
    uint64_t thread_id;     /* pthread_t, as threading.get_ident() */
    uint64_t native_id;     /* kernel thread id, as threading.get_native_id(); 0: unknown */
    uint64_t id;            /* unique within the interpreter, ascending in order of creation */
    uint32_t flags;         /* enum pyunw_thread_flags */
    uint32_t reserved;
} pyunw_thread;

/** A walk over thread states: opaque, of fixed size, in the caller's memory. */
typedef struct {
    uint64_t opaque[32];
} pyunw_thread_cursor;

/**
 * Begin a walk over the thread states of all interpreters: newest interpreter first, newest thread first.
 * @param target  Open target; borrowed until the cursor's last use, not modified.
 * @param cursor  Caller's memory; filled in.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_NOT_INITIALIZED; PYUNW_ERR_FINALIZED;
 *         PYUNW_ERR_LAYOUT; PYUNW_ERR_FAULT.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_threads_begin(const pyunw_target *target, pyunw_thread_cursor *cursor);

/**
 * Take the next thread state. Threads that come and go meanwhile do not disturb it: none is told twice, and each
 * that lives throughout is told.
 * @param thread  Out; written only where 1 is returned.
 * @return 1 for one more; 0 at the end; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT or
 *         PYUNW_ERR_CORRUPT where the list is damaged; PYUNW_ERR_TORN where it kept changing. After an error: 0.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_threads_next(pyunw_thread_cursor *cursor, pyunw_thread *thread);

/**
 * Find the calling thread's thread state, without thread-local storage: the GIL's holder is asked first, then the
 * lists. Found whether or not the thread holds the GIL.
 * @param tstate  Out, not NULL: address of the PyThreadState.
 * @return 0; PYUNW_ERR_NO_THREAD where Python does not know this thread (always for an image); errors of
 *         pyunw_threads_begin() and pyunw_threads_next().
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_current_thread(const pyunw_target *target, pyunw_addr *tstate);

/**
 * Say whether an address is a thread state of this target, by membership in the runtime's lists: the address itself
 * is not followed unless it is one.
 * @param tstate  Any number.
 * @param thread  Out, may be NULL; written only on success.
 * @return 0; PYUNW_ERR_NO_THREAD where it is none; errors of pyunw_threads_begin() and pyunw_threads_next().
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_thread_find(const pyunw_target *target, pyunw_addr tstate, pyunw_thread *thread);

/* ---- Frames: the raw walk ------------------------------------------------------------------------------------ */

/** What a frame executes, from co_flags and, for module against class body, co_name. */
enum pyunw_frame_kind {
    PYUNW_FRAME_FUNCTION = 0, /* a function, method, lambda or comprehension */
    PYUNW_FRAME_GENERATOR = 1,
    PYUNW_FRAME_COROUTINE = 2,
    PYUNW_FRAME_ASYNC_GENERATOR = 3,
    PYUNW_FRAME_MODULE = 4,  /* module level, also of exec() and eval() */
    PYUNW_FRAME_CLASS = 5,   /* a class body */
    PYUNW_FRAME_UNKNOWN = 6, /* module level or a class body: the name that tells could not be read */
};

enum pyunw_raw_frame_flags {
    /* C code entered the evaluation loop with this frame: native frames belong between it and its caller. */
    PYUNW_FRAME_ENTRY = 1,
};

/** A frame as profilers keep it: two numbers, to be described later or once per code object. */
typedef struct {
    pyunw_addr code;   /* the code object (PyCodeObject) */
    pyunw_addr frame;  /* the frame: PyFrameObject (3.8-3.10) or _PyInterpreterFrame (3.11+) */
    int32_t offset;    /* instruction offset in bytes, as f_lasti; negative before the first instruction */
    uint8_t kind;      /* enum pyunw_frame_kind */
    uint8_t flags;     /* enum pyunw_raw_frame_flags */
    uint16_t reserved; /* 0 */
} pyunw_raw_frame;

/** How a walk ended. */
enum pyunw_end {
    PYUNW_COMPLETE = 0,  /* the bottom of the stack was reached */
    PYUNW_TRUNCATED = 1, /* the caller's array is full */
    PYUNW_TORN = 2,      /* the thread ran on, and trying again did not help; the frames given are good */
    PYUNW_CORRUPT = 3,   /* a bad pointer that stays, also while the thread runs on; the frames before it are good */
    PYUNW_NO_FRAME = 4,  /* a thread state without a Python frame */
};

typedef struct {
    int32_t end;        /* enum pyunw_end */
    int32_t depth;      /* frames from the innermost to where the walk ended, 0 at once */
    pyunw_addr address; /* of what could not be read or believed; 0 where nothing was wrong */
    /*
     * Innermost frames that were seen but not confirmed, since the thread ran on: not given. 3.11, 3.12: also the one
     * that the stack should have begun with, where it could not be had; the frames given then are outward of it.
     */
    int32_t unconfirmed;
    int32_t undescribed; /* frames given of which some part could not be read, see pyunw_frame.flags */
} pyunw_status;

/** Words of an enum pyunw_end: "complete", "truncated", "torn", "corrupt", "no frame". Signal-safe: yes. */
PYUNW_API const char *pyunw_end_name(int end);

/**
 * Walk the stack of one thread, innermost frame first, into an array of raw frames. What the interpreter itself
 * hides is hidden: its entry frames, and frames whose function has not begun.
 *
 * The calling thread is read once. Any other thread may run on meanwhile: it is read until two reads agree, or three
 * where each read is a system call (PYUNW_MEMORY_GUARDED), and of those the longest run of frames from the root that
 * all show is given; status->unconfirmed says how many innermost frames were left out.
 * @param tstate  Thread state as pyunw_threads_next(), pyunw_current_thread() or CPython gave it, still alive.
 *                0: the calling thread's. One that is known costs less than 0, which must look for it.
 * @param frames  Caller's array, of which all may be written; only the entries counted in the result count.
 * @param max     Room in frames; 0 is allowed and only sets status.
 * @param status  Out, may be NULL.
 * @return Frames written, all of them good whatever the status; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN;
 *         PYUNW_ERR_NOT_INITIALIZED; PYUNW_ERR_FINALIZED; PYUNW_ERR_LAYOUT; PYUNW_ERR_NO_THREAD;
 *         PYUNW_ERR_FAULT where tstate is unreadable.
 * Signal-safe: yes. Allocates: no. Threads: any, one array each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_walk(const pyunw_target *target, pyunw_addr tstate, pyunw_raw_frame *frames, int max,
                         pyunw_status *status);

/** A walk over frames: opaque, of fixed size, in the caller's memory. */
typedef struct {
    uint64_t opaque[80];
} pyunw_frame_cursor;

/**
 * Begin a walk frame by frame, for stacks of any depth without an array. It reads once: of a thread that runs on
 * meanwhile the frames are checked one by one, but not against a second read; pyunw_walk() does that.
 * @param tstate  As for pyunw_walk().
 * @param cursor  Caller's memory; filled in.
 * @return 0, also for a thread without frames; errors of pyunw_walk().
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_frames_begin(const pyunw_target *target, pyunw_addr tstate, pyunw_frame_cursor *cursor);

/**
 * Take the next frame.
 * @param frame  Out; written only where 1 is returned.
 * @return 1 for one more; 0 at the end, whatever ended the walk: pyunw_frames_end() tells; PYUNW_ERR_ARGUMENT;
 *         PYUNW_ERR_NOT_OPEN.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_frames_next(pyunw_frame_cursor *cursor, pyunw_raw_frame *frame);

/**
 * Say how a walk ended, after pyunw_frames_next() returned 0.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN. Signal-safe: yes. Threads: any. Since: 0.1.
 */
PYUNW_API int pyunw_frames_end(const pyunw_frame_cursor *cursor, pyunw_status *status);

/* ---- Frames: the description --------------------------------------------------------------------------------- */

#define PYUNW_FILENAME_SIZE 512
#define PYUNW_NAME_SIZE 256
#define PYUNW_QUALNAME_SIZE 512

enum pyunw_frame_flags {
    PYUNW_FILENAME_TRUNCATED = 1, /* did not fit: its end is kept */
    PYUNW_NAME_TRUNCATED = 2,     /* did not fit: its beginning is kept */
    PYUNW_QUALNAME_TRUNCATED = 4, /* did not fit: its beginning is kept */
    PYUNW_FILENAME_UNREADABLE = 8,
    PYUNW_NAME_UNREADABLE = 16,
    PYUNW_QUALNAME_UNREADABLE = 32,
    PYUNW_POSITION_UNREADABLE = 64,
    PYUNW_QUALNAME_IS_NAME = 128, /* 3.8-3.10 keep no qualified name: qualname holds the name */
};

/** Where in the source an instruction stands. -1: unknown. */
typedef struct {
    int32_t lineno;     /* 1-based; 0 is CPython's line of a module's first instruction (3.11+) */
    int32_t end_lineno; /* 1-based (3.11+) */
    int32_t colno;      /* 0-based, in bytes of the line's UTF-8 (3.11+) */
    int32_t end_colno;  /* 0-based, exclusive (3.11+) */
} pyunw_position;

/** A frame described: plain, with room for its text. Text is always valid UTF-8 and ends with a NUL. */
typedef struct {
    pyunw_raw_frame raw;
    pyunw_position position;
    uint32_t flags;           /* enum pyunw_frame_flags */
    uint16_t filename_length; /* bytes, without the NUL; a name may itself hold NULs */
    uint16_t name_length;
    uint16_t qualname_length;
    uint16_t reserved;
    char filename[PYUNW_FILENAME_SIZE]; /* co_filename */
    char name[PYUNW_NAME_SIZE];         /* co_name */
    char qualname[PYUNW_QUALNAME_SIZE]; /* co_qualname (3.11+), else co_name */
} pyunw_frame;

/**
 * Describe a raw frame: names and position. A lone surrogate is written as \udcXX.
 * @param raw    Frame whose code object is still alive.
 * @param frame  Out, not NULL. What cannot be read is empty or -1, and flagged.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT or PYUNW_ERR_CORRUPT where raw->code is not a
 *         code object: frame is not written then.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_describe(const pyunw_target *target, const pyunw_raw_frame *raw, pyunw_frame *frame);

/** Room for a text of the caller's own size, for pyunw_describe_into(). */
typedef struct {
    char *data;    /* may be NULL with size 0 */
    size_t size;   /* bytes of room, the NUL included */
    size_t length; /* out: bytes written, without the NUL */
    size_t whole;  /* out: bytes that the whole text takes, without the NUL */
} pyunw_text;

typedef struct {
    pyunw_text filename;
    pyunw_text name;
    pyunw_text qualname;
    pyunw_position position; /* out */
    uint32_t flags;          /* out: enum pyunw_frame_flags */
} pyunw_description;

/**
 * Describe a raw frame into the caller's own buffers, so that no byte need be lost: text.whole tells the size that
 * would have held all. Otherwise as pyunw_describe().
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_describe_into(const pyunw_target *target, const pyunw_raw_frame *raw,
                                  pyunw_description *description);

/**
 * Find only the position of a raw frame, for callers that keep the names.
 * @return 0; errors of pyunw_describe(); PYUNW_ERR_FAULT or PYUNW_ERR_CORRUPT where the table cannot be read.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_find_position(const pyunw_target *target, const pyunw_raw_frame *raw, pyunw_position *position);

/**
 * The identity of a code object: equal identities are the same code object with the same description; after its
 * death another that was given its address differs. For profilers that keep descriptions or make them later.
 */
typedef struct {
    pyunw_addr code;
    pyunw_addr filename; /* co_filename */
    pyunw_addr name;     /* co_name */
    pyunw_addr table;    /* co_lnotab, co_linetable */
    uint64_t check;      /* 3.12+: from co_version; otherwise over the contents */
    int32_t firstlineno;
    uint32_t version; /* co_version (3.12+), 0 where there is none */
} pyunw_code_identity;

/**
 * Read the identity of a code object.
 * @param code  As pyunw_raw_frame.code. It need not be alive any more, unless the target reads by
 *              PYUNW_MEMORY_DIRECT: then it must be, as it is while its frame is.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT; PYUNW_ERR_CORRUPT where it is no code object.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_identify_code(const pyunw_target *target, pyunw_addr code, pyunw_code_identity *identity);

/* ---- Frames: the variables ----------------------------------------------------------------------------------- */

enum pyunw_local_flags {
    PYUNW_LOCAL_ARGUMENT = 1,
    PYUNW_LOCAL_CELL = 2,             /* functions inside use it, too: its object was taken from its cell */
    PYUNW_LOCAL_FREE = 4,             /* of an enclosing function: its object was taken from its cell */
    PYUNW_LOCAL_NAME_TRUNCATED = 8,   /* did not fit: its beginning is kept */
    PYUNW_LOCAL_NAME_UNREADABLE = 16, /* name is empty */
    PYUNW_LOCAL_UNREADABLE = 32,      /* the object is not known: object is 0 */
};

/** One variable of a frame. */
typedef struct {
    pyunw_addr object; /* PyObject; 0: not bound to any */
    uint32_t flags;    /* enum pyunw_local_flags */
    uint16_t name_length;
    uint16_t reserved;
    char name[PYUNW_NAME_SIZE]; /* valid UTF-8, ends with a NUL */
} pyunw_local;

/** A walk over the variables of a frame: opaque, of fixed size, in the caller's memory. */
typedef struct {
    uint64_t opaque[80];
} pyunw_local_cursor;

/**
 * Begin a walk over the variables of a frame: arguments (positional, keyword-only, *args, **kwargs), then locals, cells
 * and free variables; of module level and a class body what its namespace holds, where that is a dictionary, then the
 * variables of a comprehension that runs as a part of it (3.12+). A namespace that is an OrderedDict is told in the
 * order of the dict that it is. Always read by a memory that cannot fault.
 * @param raw     As pyunw_walk() and its like gave it.
 * @param cursor  Caller's memory; filled in. The target is borrowed until its last use.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT; PYUNW_ERR_CORRUPT where code object or frame is
 *         none; PYUNW_ERR_TORN where the frame does not execute raw->code any more.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_locals_begin(const pyunw_target *target, const pyunw_raw_frame *raw, pyunw_local_cursor *cursor);

/**
 * Begin a walk over what a namespace holds, a dict with names as its keys: of a module, or sys.modules.
 * pyunw_locals_end() has nothing to say of it.
 * @param dict    Address of the dict. Of a thread that runs on it may change meanwhile.
 * @param cursor  Caller's memory; filled in. The target is borrowed until its last use.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT; PYUNW_ERR_CORRUPT where it is no dict.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_namespace_begin(const pyunw_target *target, pyunw_addr dict, pyunw_local_cursor *cursor);

/**
 * Take the next variable.
 * @param local  Out; its contents count only where 1 is returned.
 * @return 1 for one more; 0 at the end; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT or PYUNW_ERR_CORRUPT
 *         where a namespace cannot be read further.
 * Signal-safe: yes. Allocates: no. Threads: any, one cursor each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_locals_next(pyunw_local_cursor *cursor, pyunw_local *local);

/**
 * Say whether the frame still stands where raw found it, in the same call: of a thread that runs on, what was read
 * since is to be believed only then, and even so an object may have changed, or a loop may have come round.
 * @return 0; PYUNW_ERR_TORN where the frame has moved on or is gone; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_locals_end(const pyunw_local_cursor *cursor);

/** Containers within containers that pyunw_describe_value() can write at most. */
#define PYUNW_VALUE_DEPTH_MAX 6

/** How much of a value is written. Set .size = sizeof(pyunw_value_limits); all must be given. */
typedef struct {
    size_t size;    /* bytes of this structure, as the caller was compiled */
    int depth;      /* containers and instances within each other, 0 to PYUNW_VALUE_DEPTH_MAX; deeper: [...] */
    int items;      /* of each container, 1 or more; then ", ..." */
    int characters; /* of each str or bytes, and digits of an int beyond 1,140 bits, 1 or more; then "..." */
} pyunw_value_limits;

enum pyunw_value_flags {
    PYUNW_VALUE_TRUNCATED = 1,  /* a limit or the room cut something: "..." stands there */
    PYUNW_VALUE_UNREADABLE = 2, /* something could not be read or believed: "<unreadable>" stands there */
};

/**
 * Describe an object as repr() would. No code of the target is run: subclasses of int, str, bytes, tuple, list and dict
 * are told by type and value, "Color(2)"; what else has a repr() of its own by type and address, of an instance of a
 * class also what its __dict__ holds, "<Point object at 0x7f5c0e2d1a90: x=1, y=2>". An int beyond 1,140 bits is written
 * in hexadecimal. An OrderedDict is told in the order of the dict that it is, which move_to_end() does not change.
 * Always read by a memory that cannot fault.
 * @param object  As pyunw_local.object; 0: "<NULL>". Of a thread that runs on it may be gone or changed: best effort.
 * @param limits  NULL: depth 3, 20 items, 200 characters.
 * @param buffer  Out: valid UTF-8 with a NUL behind it.
 * @param size    Bytes of room, the NUL included; 8 or more.
 * @param flags   Out, may be NULL: enum pyunw_value_flags.
 * @return Bytes written, without the NUL; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_describe_value(const pyunw_target *target, pyunw_addr object, const pyunw_value_limits *limits,
                                   char *buffer, size_t size, uint32_t *flags);

/* ---- Exceptions ---------------------------------------------------------------------------------------------- */

enum pyunw_exception_flags {
    PYUNW_EXCEPTION_RAISED = 1,  /* on its way: raised and not caught yet, as PyErr_Occurred() tells */
    PYUNW_EXCEPTION_HANDLED = 2, /* being handled, as sys.exc_info() tells */
    /* 3.8-3.11: raised by C code that gave a type and a value, from which no object was made yet. */
    PYUNW_EXCEPTION_NOT_MADE = 4,
};

/** The exception of a thread. */
typedef struct {
    pyunw_addr object; /* PyBaseExceptionObject; with PYUNW_EXCEPTION_NOT_MADE what it is to be made from, or 0 */
    pyunw_addr type;   /* PyTypeObject; an object that is not made yet may become one of a subclass (OSError) */
    uint32_t flags;    /* enum pyunw_exception_flags: one of the first two */
    uint32_t reserved; /* 0 */
} pyunw_exception;

/**
 * Find the exception of a thread: the one that is on its way, else the innermost that is being handled, in an except or
 * finally block or an __exit__(). Always read by a memory that cannot fault.
 * @param tstate     As for pyunw_walk(); 0: the calling thread's.
 * @param exception  Out; written only where 1 is returned.
 * @return 1 where there is one; 0 where there is none; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN;
 *         PYUNW_ERR_NOT_INITIALIZED; PYUNW_ERR_FINALIZED; PYUNW_ERR_LAYOUT; PYUNW_ERR_NO_THREAD; PYUNW_ERR_FAULT;
 *         PYUNW_ERR_CORRUPT where what stands there is no exception; PYUNW_ERR_TORN where the thread ran on, and trying
 *         again did not help.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_exception_find(const pyunw_target *target, pyunw_addr tstate, pyunw_exception *exception);

#define PYUNW_EXCEPTION_TYPE_SIZE 512
#define PYUNW_EXCEPTION_MESSAGE_SIZE 1024

enum pyunw_exception_text_flags {
    PYUNW_EXCEPTION_TYPE_TRUNCATED = 1,     /* did not fit: its beginning is kept, and "..." */
    PYUNW_EXCEPTION_TYPE_UNREADABLE = 2,    /* "<unreadable>" stands for what could not be read or believed */
    PYUNW_EXCEPTION_MESSAGE_TRUNCATED = 4,  /* something did not fit, or a value in it was cut: "..." stands there */
    PYUNW_EXCEPTION_MESSAGE_UNREADABLE = 8, /* "<unreadable>" stands for what could not be read or believed */
    /* Only code of the target could tell it, which is not run, so the arguments are told: see below. */
    PYUNW_EXCEPTION_MESSAGE_IS_ARGUMENTS = 16,
};

/** An exception in words. Text is always valid UTF-8 and ends with a NUL; a lone surrogate is written as \udcXX. */
typedef struct {
    uint32_t flags;          /* enum pyunw_exception_text_flags */
    uint16_t type_length;    /* bytes, without the NUL */
    uint16_t message_length; /* bytes, without the NUL; the message may itself hold NULs */
    char type[PYUNW_EXCEPTION_TYPE_SIZE];
    char message[PYUNW_EXCEPTION_MESSAGE_SIZE];
} pyunw_exception_text;

/**
 * Describe an exception as the last line of a traceback does: "module.Name", "Name" for builtins and __main__; and
 * str() of it. No code of the target is run: the message is known for the builtin exceptions and for subclasses without
 * a __str__() of their own. For others, the UnicodeErrors and an argument that is no str, number or builtin container
 * the message is made of the arguments as BaseException would, and flagged. What str() of an exception takes of repr()
 * is told by pyunw_describe_value(). Always read by a memory that cannot fault.
 * @param exception  As pyunw_exception_find() gave it. Of a thread that runs on it may be gone or changed: best effort.
 * @param text       Out, not NULL.
 * @return 0; PYUNW_ERR_ARGUMENT; PYUNW_ERR_NOT_OPEN; PYUNW_ERR_FAULT or PYUNW_ERR_CORRUPT where exception->type is no
 *         type of exceptions: text is empty then.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_describe_exception(const pyunw_target *target, const pyunw_exception *exception,
                                       pyunw_exception_text *text);

/* ---- Captures: walk and description in one ------------------------------------------------------------------- */

/**
 * Capture the Python stack of one thread, innermost frame first: pyunw_walk() and pyunw_describe() in one, where a
 * frame of a running thread is believed only if it was still there after it was described.
 * @param tstate  As for pyunw_walk().
 * @param frames  Caller-owned array, of which all may be written; only the entries counted in the result count.
 * @param max     Room in frames; 0 is allowed and only sets status.
 * @param status  Out, may be NULL: how the walk ended.
 * @return Frames written, all of them good whatever the status; errors of pyunw_walk().
 * Signal-safe: yes. Allocates: no. Threads: any, one array each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_capture(const pyunw_target *target, pyunw_addr tstate, pyunw_frame *frames, int max,
                            pyunw_status *status);

/** pyunw_capture() of the calling thread, found by pyunw_current_thread(). Signal-safe: yes. Since: 0.1. */
PYUNW_API int pyunw_capture_current(const pyunw_target *target, pyunw_frame *frames, int max, pyunw_status *status);

/* ---- Writers ------------------------------------------------------------------------------------------------- */

/**
 * Write one thread's stack as text, in the format of faulthandler.dump_traceback(all_threads=False) of the target's
 * own version, whole where CPython stops early (docs/text-format.md lists the differences).
 * @param fd      Open file descriptor.
 * @param tstate  As for pyunw_walk(); 0: the calling thread's.
 * @return 0; PYUNW_ERR_WRITE; errors of pyunw_walk().
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_text(const pyunw_target *target, int fd, pyunw_addr tstate);

/**
 * Write the stacks of all threads of one interpreter as text, newest thread first, in the format of
 * faulthandler.dump_traceback(all_threads=True).
 * @param interpreter  Address of a PyInterpreterState; 0: that of current, else the main one.
 * @param current      Thread state to be marked as "Current thread"; 0: none.
 * @param max_threads  Threads to write at the most, then "..."; 0: all.
 * @return 0; PYUNW_ERR_NO_THREAD where interpreter is none; PYUNW_ERR_WRITE; errors of pyunw_threads_begin().
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_text_threads(const pyunw_target *target, int fd, pyunw_addr interpreter, pyunw_addr current,
                                       int max_threads);

/** What pyunw_write_text_with() and its like leave out or mark. Set .size, leave the rest zero for the defaults. */
typedef struct {
    size_t size;              /* bytes of this structure, as the caller was compiled */
    const pyunw_addr *hidden; /* code objects whose frames are not written; may be NULL */
    int hidden_count;
    int max_threads;        /* as for pyunw_write_text_threads() */
    pyunw_addr interpreter; /* likewise */
    pyunw_addr current;     /* likewise */
} pyunw_text_options;

/**
 * pyunw_write_text() without the frames of some code objects: those of the function that asks for the text, say.
 * @param options  NULL for the defaults; only hidden is used.
 * @return as pyunw_write_text(). Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_text_with(const pyunw_target *target, int fd, pyunw_addr tstate,
                                    const pyunw_text_options *options);

/**
 * pyunw_write_text_threads() without the frames of some code objects.
 * @param options  NULL for the defaults.
 * @return as pyunw_write_text_threads(). Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_text_threads_with(const pyunw_target *target, int fd, const pyunw_text_options *options);

/**
 * Write one thread's stack as one line of JSON (docs/json-lines.md): always valid JSON in valid UTF-8.
 * @return as pyunw_write_text(). Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_json(const pyunw_target *target, int fd, pyunw_addr tstate);

/**
 * Write the stacks of all threads of all interpreters, one line of JSON each.
 * @return 0; PYUNW_ERR_WRITE; errors of pyunw_threads_begin(). A thread that ended meanwhile is left out.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_write_json_threads(const pyunw_target *target, int fd);

#ifdef __cplusplus
}
#endif

#endif
