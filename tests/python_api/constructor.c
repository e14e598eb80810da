/* A library that is preloaded with libpyunwind: calls it before main(), and says what it answered. */
#include <pyunwind_python.h>

#include <stddef.h>

static int answers[3];

__attribute__((constructor)) static void call_early(void)
{
    PyTracebackFrameInfo frames[2];
    PyUnstable_FrameInfo infos[2];
    answers[0] = _Py_GetTracebackFrames((PyThreadState *)(void *)frames, frames, 2);
    answers[1] = PyUnstable_CollectCallStack((PyThreadState *)(void *)frames, infos, 2);
    answers[2] = PyUnstable_DumpTracebackThreads(-1, NULL, NULL, 0) != NULL;
}

int early_answer(int number)
{
    return answers[number];
}
