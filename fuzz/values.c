/*
 * Fuzz target: variables, values and exceptions in an interpreter's memory.
 *
 * Input: an image file (image_file.h).
 */
#include "ask.h"
#include "fuzz.h"
#include "image_file.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file;
    pyunw_target target;
    if (!image_file_decode(&file, data, size))
        return 0;
    if (pyunw_open_image(&target, &file.image, NULL) == 0) {
        struct asked asked = {.target = &target};
        asked.reads = file.image.read != NULL ? &file.reads : NULL;
        asked.steady = image_file_is_steady(&file);
        const struct target *opened = open_target(&target);
        struct memory memory = pyunw_safe_memory(opened);
        pyunw_addr type = 0;
        if (pyunw_read_u64(&memory, file.object + opened->layout.at.object.type, &type) < 0)
            type = 0;
        asked.seen = file.reads;
        ask_values(&asked, file.object, type);
        pyunw_close(&target);
    }
    image_file_free(&file);
    return 0;
}
