/*
 * Decode _Py_DebugOffsets: where its own fields lie, as an interpreter publishes it at the start of _PyRuntime (3.13+).
 * Pure: bytes in, layout out. Never touches the target.
 * Signal-safe: yes. Include from: core, target.
 */
#ifndef PYUNW_CORE_DEBUG_OFFSETS_H
#define PYUNW_CORE_DEBUG_OFFSETS_H

#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DEBUG_OFFSETS_HEAD_SIZE = 24, /* bytes that pyunw_debug_offsets_probe() needs: cookie, version, free_threaded */
    DEBUG_OFFSETS_SIZE_MAX =
        888, /* the longest table, 3.15's; _PyRuntime goes on behind it, so that many can be read */
};

/*
 * Whether a _Py_DebugOffsets lies here, and of which interpreter: *version is its PY_VERSION_HEX. Also written when
 * the version is refused.
 * 0; PYUNW_ERR_LAYOUT: no cookie, or a head that cannot be; PYUNW_ERR_UNSUPPORTED: a version whose table is unknown.
 */
int pyunw_debug_offsets_probe(const uint8_t *bytes, size_t size, uint32_t *version, bool *free_threaded);

/*
 * Choose the layout of the interpreter that published these bytes (at least its table, may be more) and put what it
 * publishes in the place of what layout_tables.h says.
 * 0, or PYUNW_ERR_LAYOUT or PYUNW_ERR_UNSUPPORTED: *layout is left as it was, *what (may be NULL) names the field that
 * does not fit, as CPython calls it: a static string.
 */
int pyunw_debug_offsets_decode(const uint8_t *bytes, size_t size, struct layout *layout, const char **what);

#endif
