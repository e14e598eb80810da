/*
 * Open an interpreter whose bytes the caller has or can read, and what all kinds of target have in common.
 * Signal-safe: yes.
 */
#include "target.h"

/* What the first release's structures held: what was added later may be missing. */
enum { IMAGE_SIZE_MIN = offsetof(pyunw_image, renew) };

static int refuse(const pyunw_options *options, int err, const char *what)
{
    if (options == NULL || options->size < OPTIONS_SIZE_MIN || options->message == NULL || options->message_size == 0)
        return err;
    const char *parts[] = {pyunw_strerror(err), what != NULL ? ": " : "", what != NULL ? what : ""};
    size_t done = 0;
    for (size_t n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        for (const char *at = parts[n]; *at != '\0' && done + 1 < options->message_size; at++)
            options->message[done++] = *at;
    }
    options->message[done] = '\0';
    return err;
}

int pyunw_open_image(pyunw_target *handle, const pyunw_image *image, const pyunw_options *options)
{
    struct target *target = (struct target *)(void *)handle;
    const char *what = NULL;
    if (handle == NULL)
        return PYUNW_ERR_ARGUMENT;
    memset(handle, 0, sizeof *handle);
    if (image == NULL || image->size < IMAGE_SIZE_MIN || !plausible_address(image->runtime) ||
        (image->segment_count > 0 && image->segments == NULL) || (options != NULL && options->size < OPTIONS_SIZE_MIN))
        return refuse(options, PYUNW_ERR_ARGUMENT, NULL);
    memcpy(&target->image, image, image->size < sizeof target->image ? image->size : sizeof target->image);
    target->memory = PYUNW_MEMORY_IMAGE;
    target->runtime = image->runtime;
    target->code_type = image->code_type;
    target->text_type = target->image.text_type;
    target->version = image->version;
    struct memory memory = pyunw_safe_memory(target);
    target_renew(target, PYUNW_FOR_THREADS);
    int err = pyunw_target_choose_layout(target, &memory, image->free_threaded != 0, &what);
    if (err == 0) {
        err = pyunw_target_check(target, &memory, &what);
        /* An interpreter that is not there yet, or no more, is opened all the same: captures say so. */
        if (err == PYUNW_ERR_NOT_INITIALIZED || err == PYUNW_ERR_FINALIZED)
            err = PYUNW_OK;
    }
    if (err < 0) {
        memset(handle, 0, sizeof *handle);
        return refuse(options, err, what);
    }
    target->magic = TARGET_MAGIC;
    return PYUNW_OK;
}

void pyunw_close(pyunw_target *target)
{
    if (target != NULL)
        memset(target, 0, sizeof *target);
}

int pyunw_target_describe(const pyunw_target *handle, pyunw_target_info *info)
{
    const struct target *target = open_target(handle);
    if (target == NULL)
        return not_open(handle);
    if (info == NULL)
        return PYUNW_ERR_ARGUMENT;
    *info = (pyunw_target_info){
        .version = target->version,
        .free_threaded = target->layout.at.free_threaded != 0,
        .memory = target->memory,
        .guard = target->guard,
        .runtime = target->runtime,
        .code_type = target->code_type,
    };
    return PYUNW_OK;
}
