/*
 * Open the interpreter that lives, of those that were found; and where there is none, say why in words that help.
 * Signal-safe: no.
 */
#include "choose_interpreter.h"

#include "process_access.h"

/* ---- What was found ---- */

int pyunw_refuse_version(const pyunw_options *options, pid_t pid, uint32_t version)
{
    if (version == 0)
        return pyunw_refuse(
            options, PYUNW_ERR_UNSUPPORTED,
            "process %d runs a CPython of a version that could not be found out: 3.8 to 3.15 are supported", (int)pid);
    return pyunw_refuse(options, PYUNW_ERR_UNSUPPORTED,
                        "process %d runs CPython %u.%u.%u, which is not supported: 3.8 to 3.15 are", (int)pid,
                        version >> 24, version >> 16 & 255u, version >> 8 & 255u);
}

int pyunw_refuse_program(const pyunw_options *options, pid_t pid, const char *program,
                         const struct process_found *found)
{
    if (found->has_pypy)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON, "process %d runs PyPy (%s): only CPython is supported",
                            (int)pid, program);
    if (found->has_old)
        return pyunw_refuse_version(options, pid, found->old_version);
    if (found->hidden_version != 0)
        return pyunw_refuse(
            options, found->has_hidden ? PYUNW_ERR_UNSUPPORTED : PYUNW_ERR_NO_PYTHON,
            "no running CPython was found in process %d (%s), which has the %s of %u.%u.%u and no symbol "
            "of its runtime (_PyRuntime): such a one is found only while it is initialized and runs a "
            "function of Python",
            (int)pid, program, found->has_hidden ? "functions" : "texts", found->hidden_version >> 24,
            found->hidden_version >> 16 & 255u, found->hidden_version >> 8 & 255u);
    if (found->is_cut)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                            "no CPython was found in process %d (%s): no symbol tells of one, and there is more memory "
                            "than is searched",
                            (int)pid, program);
    if (found->unreadable > 0)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                            "no CPython was found in process %d (%s), of which %d mapped files could not be opened",
                            (int)pid, program, found->unreadable);
    return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON,
                        "process %d is not Python: %s and the %d libraries and files in it hold no CPython", (int)pid,
                        program, found->files);
}

/* The version that a runtime publishes (3.13+), or the one that its file told. */
static uint32_t version_of(const struct subject *subject, const struct found_interpreter *found)
{
    uint8_t bytes[COOKIE_SIZE];
    uint64_t version = 0;
    if (subject->read(subject->context, found->runtime, bytes, sizeof bytes) == 0 && is_cookie(bytes)) {
        memcpy(&version, bytes + 8, sizeof version);
        return (uint32_t)version;
    }
    return found->version;
}

/* ---- Opening ---- */

/* 0: open and alive; PYUNW_ERR_NOT_INITIALIZED and PYUNW_ERR_FINALIZED: open all the same; else: not open. */
static int open_once(pyunw_target *target, const struct subject *subject, const struct found_interpreter *found,
                     const pyunw_options *options)
{
    pyunw_image image = {
        .size = sizeof image,
        .read = subject->read,
        .context = subject->context,
        .may_change = subject->may_change,
        .runtime = found->runtime,
        .version = found->version,
        .code_type = found->code_type,
        .renew = subject->renew,
        .expect = subject->expect,
        .text_type = found->text_type,
    };
    int err = pyunw_open_image(target, &image, options);
    if (err < 0)
        return err;
    int finalizing = pyunw_is_finalizing(target);
    return finalizing < 0 ? finalizing : PYUNW_OK;
}

/* A runtime that is being made or unmade may show itself half done: only what stays wrong is told. */
static int open_found(pyunw_target *target, const struct subject *subject, const struct found_interpreter *found,
                      const pyunw_options *options)
{
    enum { TRIES = 16 };
    int err = PYUNW_OK;
    for (int n = 0; n < TRIES; n++) {
        err = open_once(target, subject, found, options);
        if (err != PYUNW_ERR_LAYOUT && err != PYUNW_ERR_FAULT)
            break;
    }
    return err;
}

/* Why the interpreter could not be opened. words: what the core says of it. */
static int refuse_interpreter(const pyunw_options *options, const struct subject *subject,
                              const struct found_interpreter *found, int err, const char *words)
{
    pid_t pid = subject->pid;
    uint32_t version = version_of(subject, found);
    if (err == PYUNW_ERR_UNSUPPORTED || (err == PYUNW_ERR_LAYOUT && version == 0))
        return pyunw_refuse_version(options, pid, version);
    if (err == PYUNW_ERR_NOT_INITIALIZED)
        return pyunw_refuse(options, err, "the interpreter in process %d is not initialized yet%s", (int)pid,
                            subject->may_change ? ": try again in a moment" : "");
    if (err == PYUNW_ERR_FINALIZED)
        return pyunw_refuse(options, err, "the interpreter in process %d is finalized: no Python runs there any more",
                            (int)pid);
    return pyunw_refuse(options, err, "process %d, CPython %u.%u: %s", (int)pid, version >> 24, version >> 16 & 255u,
                        *words != '\0' ? words : pyunw_strerror(err));
}

int pyunw_choose_interpreter(pyunw_target *target, const struct subject *subject, const struct process_found *found,
                             const pyunw_options *options)
{
    char words[256] = "";
    const pyunw_options inner = {.size = sizeof inner, .message = words, .message_size = sizeof words};
    const struct found_interpreter *first = NULL;
    for (int n = 0; n < found->count; n++) {
        const struct found_interpreter *interpreter = &found->interpreters[n];
        if (options->runtime != 0 && interpreter->runtime != options->runtime)
            continue;
        if (open_found(target, subject, interpreter, &inner) == PYUNW_OK)
            return PYUNW_OK;
        if (first == NULL)
            first = interpreter;
    }
    if (first == NULL)
        return pyunw_refuse(options, PYUNW_ERR_NO_PYTHON, "no CPython in process %d has its _PyRuntime at %#llx",
                            (int)subject->pid, (unsigned long long)options->runtime);
    words[0] = '\0';
    int err = open_found(target, subject, first, &inner);
    return err == PYUNW_OK ? err : refuse_interpreter(options, subject, first, err, words);
}
