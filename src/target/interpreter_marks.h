/*
 * What gives an interpreter away, in the own process or in another: what a search finds of it, and how a version is
 * told by a text, by a size and by the cookie of 3.13 and later.
 * Signal-safe: no. Include from: target.
 */
#ifndef PYUNW_TARGET_INTERPRETER_MARKS_H
#define PYUNW_TARGET_INTERPRETER_MARKS_H

#include "pyunwind.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct found_interpreter {
    pyunw_addr runtime;    /* _PyRuntime */
    uint64_t runtime_size; /* bytes; 0: unknown */
    pyunw_addr code_type;  /* PyCode_Type; 0: unknown */
    pyunw_addr text_type;  /* PyUnicode_Type; 0: unknown */
    uint32_t version;      /* PY_VERSION_HEX; 0: unknown; without a release level (0x030a0000): only the minor is */
    bool has_version_only; /* an interpreter too old to have _PyRuntime: only version is set */
};

/* "3.8.18 (default, ...)", as Py_GetVersion() gives it, to PY_VERSION_HEX of a final release. */
static inline uint32_t version_from_text(const char *text)
{
    uint32_t parts[3] = {0, 0, 0};
    for (int n = 0; n < 3; n++) {
        char *end = NULL;
        unsigned long value = strtoul(text, &end, 10);
        if (end == text || value > 255)
            break;
        parts[n] = (uint32_t)value;
        if (*end != '.')
            break;
        text = end + 1;
    }
    return parts[0] == 0 ? 0 : parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | 0xf0u;
}

/*
 * The version of a runtime that no symbol names, by its size: each minor's is far from the others'
 * (sizeof(_PyRuntimeState) of 3.8 to 3.12; 3.13 and later have the cookie).
 */
static inline uint32_t version_from_size(uint64_t size)
{
    static const struct {
        uint64_t from;
        uint64_t to;
        uint32_t version;
    } sizes[] = {
        {1464, 1464, 0x03080000},     {656, 656, 0x03090000},       {672, 672, 0x030a0000},
        {150001, 199999, 0x030b0000}, {400001, 519999, 0x030c0000},
    };
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        if (size >= sizes[n].from && size <= sizes[n].to)
            return sizes[n].version;
    }
    return 0;
}

enum { COOKIE_SIZE = 24 };

/*
 * Does _Py_DebugOffsets (3.13+) begin with these 24 bytes? Its cookie, then PY_VERSION_HEX and a truth, as words. The
 * cookie is put together here, so that this code holds no copy of it for a search to find.
 */
static inline bool is_cookie(const uint8_t *bytes)
{
    static const char parts[2][5] = {"xdeb", "ugpy"};
    uint64_t words[2];
    if (memcmp(bytes, parts[0], 4) != 0 || memcmp(bytes + 4, parts[1], 4) != 0)
        return false;
    memcpy(words, bytes + 8, sizeof words);
    return words[0] >> 24 == 3 && words[1] <= 1;
}

#endif
