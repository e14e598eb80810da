/*
 * Fuzz target: variables, values and exceptions in an interpreter's memory.
 *
 * Input: an image file (image_file.h).
 */
#include "ask.h"
#include "fuzz.h"
#include "image_file.h"

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
        ask_values(&asked, file.object);
        pyunw_close(&target);
    }
    image_file_free(&file);
    return 0;
}
