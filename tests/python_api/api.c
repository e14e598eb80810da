/*
 * The names of pyunwind_python.h as a user's source calls them, for the tests of this folder. Compiled with and without
 * Python.h before or after it, as C and as C++.
 */
#ifdef PYTHON_BEFORE
#include <Python.h>
#endif
#include <pyunwind_python.h>
#ifdef PYTHON_AFTER
#include <Python.h>
#endif

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

int get_frames(PyThreadState *tstate, PyTracebackFrameInfo *frames, int max_frames);
int collect(PyThreadState *tstate, PyUnstable_FrameInfo *frames, int max_frames);
void print(int fd, const PyUnstable_FrameInfo *frames, int n_frames, int write_header);
const char *dump(int fd, PyThreadState *tstate);
void dump_quietly(int fd, PyThreadState *tstate);
const char *dump_threads(int fd, PyInterpreterState *interp, PyThreadState *current, ssize_t max_threads);

int get_frames(PyThreadState *tstate, PyTracebackFrameInfo *frames, int max_frames)
{
    return _Py_GetTracebackFrames(tstate, frames, max_frames);
}

int collect(PyThreadState *tstate, PyUnstable_FrameInfo *frames, int max_frames)
{
    return PyUnstable_CollectCallStack(tstate, frames, max_frames);
}

void print(int fd, const PyUnstable_FrameInfo *frames, int n_frames, int write_header)
{
    PyUnstable_PrintCallStack(fd, frames, n_frames, write_header);
}

const char *dump(int fd, PyThreadState *tstate)
{
    return PyUnstable_DumpTraceback(fd, tstate);
}

void dump_quietly(int fd, PyThreadState *tstate)
{
    _Py_DumpTraceback(fd, tstate);
}

const char *dump_threads(int fd, PyInterpreterState *interp, PyThreadState *current, ssize_t max_threads)
{
    return PyUnstable_DumpTracebackThreads(fd, interp, current, max_threads);
}

#ifdef __cplusplus
}
#endif

/* A process without an interpreter: everything answers, nothing is there. */
int main(void)
{
    PyTracebackFrameInfo frames[2];
    PyUnstable_FrameInfo infos[2];
    int nowhere = 0;
    PyThreadState *invalid = (PyThreadState *)(void *)&nowhere;
    printf("%d %d %d ", Py_TRACEBACK_FRAME_FILENAME_MAX, Py_TRACEBACK_FRAME_NAME_MAX, (int)sizeof(frames[0]));
    printf("%d %d ", (int)offsetof(PyTracebackFrameInfo, lineno), (int)offsetof(PyTracebackFrameInfo, name));
    printf("%d %d ", (int)sizeof(infos[0].filename), (int)sizeof(infos[0].name));
    printf("%d %d %d ", pyunw_init(), get_frames(invalid, frames, 2), collect(invalid, infos, 2));
    printf("%d %d ", dump(-1, invalid) != NULL, dump_threads(-1, NULL, invalid, 0) != NULL);
    dump_quietly(-1, invalid);
    infos[0].filename[0] = infos[0].name[0] = '\0';
    infos[0].lineno = -1;
    infos[0].filename_truncated = infos[0].name_truncated = 0;
    fflush(stdout);
    print(1, infos, 1, 1);
    return 0;
}
