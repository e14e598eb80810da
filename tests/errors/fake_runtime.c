/*
 * A library that looks like a CPython to whoever searches for one:
 *   FAKE_COOKIE   the PY_VERSION_HEX that its _PyRuntime begins with, behind the cookie of 3.13 and later
 *   FAKE_FLAG     the word after that: 1 for a free-threaded build
 *   FAKE_OFFSETS  the word that fills the rest of _PyRuntime
 *   FAKE_VERSION  what its Py_GetVersion() says
 *   FAKE_HIDDEN   _PyRuntime is not exported
 *   FAKE_RUNTIME  it has a _PyRuntime of zeroes
 */
#include <stdint.h>

#if defined(FAKE_COOKIE) || defined(FAKE_RUNTIME)
#ifdef FAKE_HIDDEN
#define EXPORTED __attribute__((visibility("hidden"), used))
#else
#define EXPORTED __attribute__((visibility("default"), used))
#endif

struct fake_runtime {
    char cookie[8];
    uint64_t version;
    uint64_t free_threaded;
    uint64_t words[512];
};

extern struct fake_runtime _PyRuntime;
EXPORTED struct fake_runtime _PyRuntime = {
#ifdef FAKE_COOKIE
    .cookie = {'x', 'd', 'e', 'b', 'u', 'g', 'p', 'y'},
    .version = FAKE_COOKIE,
    .free_threaded = FAKE_FLAG,
    .words = {[0 ... 511] = FAKE_OFFSETS},
#endif
};
#endif

#ifdef FAKE_VERSION
const char *Py_GetVersion(void);
const char *Py_GetVersion(void)
{
    return FAKE_VERSION;
}
#endif
