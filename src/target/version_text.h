/*
 * Texts that say a version of CPython, among other bytes.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_VERSION_TEXT_H
#define PYUNW_TARGET_VERSION_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct version_search {
    uint32_t minor;  /* PY_VERSION_HEX that a version must agree with down to the minor; 0: any */
    bool with_build; /* as sys.version, "3.8.18 (default, ...": behind the version " (" is expected, and not the end */
    uint32_t found;
    bool ambiguous; /* two versions were found */
};

/*
 * Look through bytes: a text begins behind a NUL and ends at one. first: the bytes begin a text, too. A piece that
 * follows another is to overlap it by VERSION_TEXT_MAX bytes.
 */
enum { VERSION_TEXT_MAX = 256 };
void pyunw_version_search(struct version_search *search, const char *bytes, size_t size, bool first);

/* The one version that was found, or 0. */
static inline uint32_t version_found(const struct version_search *search)
{
    return search->ambiguous ? 0 : search->found;
}

#endif
