/*
 * The fingerprint of a crash: the same for the same crash in other processes, on other hosts, in other releases. So it
 * holds no addresses and no lines, and of files only their names.
 */
#include "crash_diagnosis.h"

#include "json_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FRAMES = 8 };

/* FNV-1a, 64 bits: every reader can compute it. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3); /* no byte of UTF-8: ends each text */
}

/* False where nothing is known of it. */
static bool hash_frame(const json_t *frame, uint64_t *hash)
{
    const char *kind = text_of(frame, "kind");
    bool python = kind != NULL && strcmp(kind, "python") == 0;
    /* The qualified name is not known before 3.11, and the same crash is to be the same there. */
    const char *function = text_of(frame, python ? "name" : "function");
    const char *file = base_name(text_of(frame, python ? "filename" : "module"));
    if (function == NULL)
        return false;
    *hash = hash_text(*hash, file != NULL ? file : "?");
    *hash = hash_text(*hash, function);
    return true;
}

json_t *crash_fingerprint(const json_t *document)
{
    char digits[17];
    const json_t *thread = json_array_get(json_object_get(document, "threads"), 0);
    const char *signal = text_of(json_object_get(document, "signal"), "name");
    const char *cause = text_of(json_object_get(document, "diagnosis"), "cause");
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t index;
    const json_t *frame;
    int known = 0;
    if (signal == NULL || cause == NULL)
        return NULL;
    hash = hash_text(hash_text(hash, signal), cause);
    if (json_is_true(json_object_get(thread, "crashed"))) {
        json_array_foreach(json_object_get(thread, "frames"), index, frame)
        {
            if (known < FRAMES && hash_frame(frame, &hash))
                known++;
        }
    }
    (void)snprintf(digits, sizeof digits, "%016" PRIx64, hash);
    return json_string(digits);
}
