/*
 * Fuzz target: the walker over a whole interpreter's memory: its threads, stacks, frames and their descriptions.
 *
 * Input: an image file (image_file.h).
 */
#include "ask.h"
#include "fuzz.h"
#include "image_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file;
    pyunw_target target;
    ask_arguments();
    if (!image_file_decode(&file, data, size))
        return 0;
    char *message = malloc(1 + file.choice % 100);
    const pyunw_options options = {
        .size = sizeof options, .message = message, .message_size = (size_t)file.choice % 100 + 1};
    int result = pyunw_open_image(&target, &file.image, &options);
    if (result < 0)
        require_text(message, options.message_size, strnlen(message, options.message_size));
    free(message);
    if (result == 0) {
        struct asked asked = {.target = &target};
        asked.reads = file.image.read != NULL ? &file.reads : NULL;
        asked.steady = image_file_is_steady(&file);
        ask_threads(&asked, file.object);
        pyunw_close(&target);
    }
    image_file_free(&file);
    return 0;
}
