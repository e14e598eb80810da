/*
 * Fuzz target: _Py_DebugOffsets, the table in which an interpreter publishes its own layout (3.13+).
 *
 * Input: the bytes of the table. What is accepted is a layout whose structures fit into the room that the walk has.
 */
#include "debug_offsets.h"
#include "fuzz.h"
#include "pyunwind.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t version = 0;
    bool free_threaded = false;
    const char *what = NULL;
    struct layout layout;
    struct layout before;
    memset(&layout, 0xa5, sizeof layout);
    memcpy(&before, &layout, sizeof layout);
    int probed = pyunw_debug_offsets_probe(data, size, &version, &free_threaded);
    int result = pyunw_debug_offsets_decode(data, size, &layout, &what);
    REQUIRE(pyunw_debug_offsets_decode(data, size, &before, NULL) == result);
    /* Both were the same bytes before, those between the members too.
     * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
    REQUIRE(memcmp(&before, &layout, sizeof layout) == 0);
    if (result < 0) {
        REQUIRE(result == PYUNW_ERR_LAYOUT || result == PYUNW_ERR_UNSUPPORTED);
        for (size_t n = 0; n < sizeof layout; n++)
            REQUIRE(((const uint8_t *)&layout)[n] == 0xa5);
        return 0;
    }
    REQUIRE(probed == 0);
    REQUIRE((layout.at.free_threaded != 0) == free_threaded);
    REQUIRE(layout.at.minor == (version >> 16 & 0xff));
    int derived = pyunw_layout_derive(&layout);
    REQUIRE(derived == 0 || derived == PYUNW_ERR_LAYOUT);
    if (derived < 0)
        return 0;
    REQUIRE(layout.thread_span <= LAYOUT_THREAD_SPAN_MAX);
    REQUIRE(layout.at.frame.size <= LAYOUT_FRAME_SIZE_MAX && layout.at.code.size <= LAYOUT_CODE_SIZE_MAX);
    const uint32_t frame_fields[] = {layout.at.frame.executable, layout.at.frame.previous, layout.at.frame.instruction};
    for (size_t n = 0; n < sizeof frame_fields / sizeof frame_fields[0]; n++)
        REQUIRE(frame_fields[n] + 8 <= layout.at.frame.size);
    REQUIRE(layout.at.frame.owner < layout.at.frame.size);
    return 0;
}
