/*
 * For test_init_again.py: pyunw_init() in one thread again and again, while another one, which holds the GIL, asks for
 * its frames.
 */
#include <pyunwind_python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { FRAMES = 32 };

static atomic_bool over;

int open_until_over(void);
int count_differences(PyThreadState *tstate, int rounds);

/* How often, or an error. */
int open_until_over(void)
{
    int count = 0;
    while (!atomic_load(&over)) {
        int err = pyunw_init();
        if (err < 0)
            return err;
        count++;
    }
    return count;
}

/* Of so many answers, how many are not the first one. */
int count_differences(PyThreadState *tstate, int rounds)
{
    static PyTracebackFrameInfo first[FRAMES];
    static PyTracebackFrameInfo frames[FRAMES];
    int differences = 0;
    int wanted = _Py_GetTracebackFrames(tstate, first, FRAMES);
    for (int n = 0; n < rounds; n++) {
        int count = _Py_GetTracebackFrames(tstate, frames, FRAMES);
        bool same = count == wanted;
        for (int at = 0; same && at < count; at++)
            same = strcmp(frames[at].name, first[at].name) == 0 && frames[at].lineno == first[at].lineno;
        differences += !same;
    }
    atomic_store(&over, true);
    return wanted > 0 ? differences : -1;
}
