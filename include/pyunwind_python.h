/*
 * pyunwind under CPython's names: a thread's Python stack into an array of the caller's, and CPython's own text dumps.
 *
 * _Py_GetTracebackFrames is a symbol of libpyunwind. The other names are those that CPython itself exports in some
 * versions; here they are aliases of pyunw_* functions, so that libpyunwind never stands in an interpreter's way.
 * The same source compiles with the headers of CPython 3.8 to 3.15, included before or after this one, and without.
 *
 * Nothing need be called before: libpyunwind opens its own process when it is loaded. Only where the interpreter is
 * loaded later, by dlopen(), pyunw_init() must be called after that.
 */
#ifndef PYUNWIND_PYTHON_H
#define PYUNWIND_PYTHON_H

#include "pyunwind.h"

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As Python.h declares them (pystate.h, pytypedefs.h); C11 and C++ allow the same typedef twice. */
typedef struct _ts PyThreadState;
typedef struct _is PyInterpreterState;

/**
 * Open the interpreter of the own process again, after one was loaded with dlopen().
 * @return as pyunw_open_self(); PYUNW_ERR_SYSTEM where 32 others were opened before: what threads may read by is kept,
 *         and the one before stays open.
 * Signal-safe: no. Threads: one at a time, while others capture. Since: 0.1.
 */
PYUNW_API int pyunw_init(void);

#define Py_TRACEBACK_FRAME_FILENAME_MAX 256
#define Py_TRACEBACK_FRAME_NAME_MAX 256

/** One frame: UTF-8, each text ending with a NUL. */
typedef struct {
    char filename[Py_TRACEBACK_FRAME_FILENAME_MAX]; /* co_filename; one that does not fit: "..." and its end */
    int lineno;                                     /* 1-based; -1: unknown */
    char name[Py_TRACEBACK_FRAME_NAME_MAX];         /* co_name; one that does not fit: its beginning and "..." */
} PyTracebackFrameInfo;

/**
 * Collect the Python stack of a thread, innermost frame first. The calling thread is read with plain loads, any
 * other with guarded ones: of one that runs on meanwhile only frames are given that two reads agree on, from the root
 * of its stack on; innermost frames that came or went meanwhile may be missing.
 * @param tstate      Any value: it is followed only if it is in the runtime's list of thread states.
 * @param frames      Caller-owned array; only the entries counted in the result are defined afterwards.
 * @param max_frames  Room in frames, more than 0.
 * @return Frames filled; fewer than max_frames reach to the root, but in the calling thread where its stack is damaged
 *         or CPython 3.9 has itself cut it (docs/text-format.md, delegation).
 *         0 for a thread without Python frames, and for another thread whose stack does not reach its root in any of
 *         many tries: pyunw_capture() tells what there is of it, and why. -1 if tstate is NULL, freed or no thread
 *         state, if frames is NULL or max_frames is not positive, or if there is no interpreter.
 * Signal-safe: yes. Allocates: no. Threads: any, one array each. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API int _Py_GetTracebackFrames(PyThreadState *tstate, PyTracebackFrameInfo *frames, int max_frames);

/** One frame in the shape proposed for CPython: ASCII, other characters backslash-escaped as its own dumps do. */
typedef struct {
    char filename[501]; /* co_filename, at most its first 500 characters; "" where unknown */
    char name[501];     /* co_name, likewise */
    int lineno;         /* 1-based; -1: unknown */
    int filename_truncated;
    int name_truncated;
} pyunw_python_frame;

/**
 * Collect the Python stack of a thread, innermost frame first.
 * @return 0 to max_frames, as _Py_GetTracebackFrames(); -1 if frames is NULL, max_frames negative, or the thread state
 *         NULL, freed or without a frame. Signal-safe: yes. Allocates: no. Threads: any, one array each. Since: 0.1.
 * CPython: 3.8-3.15.
 */
PYUNW_API int pyunw_python_collect(PyThreadState *tstate, pyunw_python_frame *frames, int max_frames);

/**
 * Print collected frames in the format of faulthandler; what was cut ends with "...".
 * @param write_header  Not 0: begin with "Stack (most recent call first):".
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1.
 */
PYUNW_API void pyunw_python_print(int fd, const pyunw_python_frame *frames, int n_frames, int write_header);

/**
 * Write a thread's stack as text: pyunw_write_text(). A thread state that is none: "  <freed thread state>".
 * @return NULL on success, else what went wrong, a static string.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API const char *pyunw_python_dump(int fd, PyThreadState *tstate);

/**
 * Write the stacks of an interpreter's threads as text: pyunw_write_text_threads().
 * @param interp          NULL: that of current_tstate, else of the calling thread, else the main one.
 * @param current_tstate  Marked as the current thread; NULL: the calling thread's.
 * @param max_threads     At the most; 0: 100, as CPython does.
 * @return NULL on success, else what went wrong, a static string.
 * Signal-safe: yes. Allocates: no. Threads: any. Since: 0.1. CPython: 3.8-3.15.
 */
PYUNW_API const char *pyunw_python_dump_threads(int fd, PyInterpreterState *interp, PyThreadState *current_tstate,
                                                ssize_t max_threads);

/** pyunw_python_dump() without its result, as CPython 3.8-3.14 declares it. */
PYUNW_API void pyunw_python_dump_quietly(int fd, PyThreadState *tstate);

#define _Py_DumpTraceback pyunw_python_dump_quietly
#define PyUnstable_DumpTraceback pyunw_python_dump
#define PyUnstable_DumpTracebackThreads pyunw_python_dump_threads
#define PyUnstable_FrameInfo pyunw_python_frame
#define PyUnstable_CollectCallStack pyunw_python_collect
#define PyUnstable_PrintCallStack pyunw_python_print

#ifdef __cplusplus
}
#endif

#endif
