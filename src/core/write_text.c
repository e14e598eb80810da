/*
 * Stacks as text, in the format of faulthandler (Python/traceback.c, _Py_DumpTracebackThreads) of the target's version.
 * Signal-safe: yes.
 */
#include "output.h"
#include "write_stack.h"

enum { MAX_STRING_LENGTH = 500 };

/* Printable ASCII as it is, all else escaped; what is longer than MAX_STRING_LENGTH is cut, as CPython does. An error:
 * the rest cannot be read. */
static int write_escaped(struct output *output, const struct text *text)
{
    struct text_reader reader;
    uint32_t code_point = 0;
    int result = 1;
    pyunw_text_begin(text, 0, &reader);
    while (reader.index < MAX_STRING_LENGTH && (result = pyunw_text_next(&reader, &code_point)) == 1) {
        if (code_point >= ' ' && code_point <= '~') {
            char plain = (char)code_point;
            pyunw_output_bytes(output, &plain, 1);
        } else if (code_point <= 0xff) {
            pyunw_output_string(output, "\\x");
            pyunw_output_hex(output, code_point, 2);
        } else if (code_point <= 0xffff) {
            pyunw_output_string(output, "\\u");
            pyunw_output_hex(output, code_point, 4);
        } else {
            pyunw_output_string(output, "\\U");
            pyunw_output_hex(output, code_point, 8);
        }
    }
    if (text->length > MAX_STRING_LENGTH)
        pyunw_output_string(output, "...");
    return result;
}

static void write_text_or_unknown(struct output *output, struct stack_stream *stream, pyunw_addr object,
                                  const char *quote)
{
    const struct walk *walk = &stream->walk;
    struct text text;
    if (pyunw_text_open(walk->target, &walk->memory, object, MAX_STR, &text) < 0 ||
        !pyunw_text_can_be_read(&text, MAX_STRING_LENGTH)) {
        pyunw_output_string(output, "???");
        return;
    }
    pyunw_output_string(output, quote);
    stream->has_changed |= write_escaped(output, &text) < 0;
    pyunw_output_string(output, quote);
}

static void write_frame(struct output *output, struct stack_stream *stream, const pyunw_raw_frame *raw,
                        const struct code_fields *fields)
{
    const struct walk *walk = &stream->walk;
    pyunw_position position;
    pyunw_output_string(output, "  File ");
    write_text_or_unknown(output, stream, fields->filename, "\"");
    pyunw_output_string(output, ", line ");
    if (pyunw_code_position(walk->target, &walk->memory, fields, raw->offset, &position) == 0 && position.lineno >= 0)
        pyunw_output_decimal(output, position.lineno);
    else
        pyunw_output_string(output, "???");
    pyunw_output_string(output, " in ");
    write_text_or_unknown(output, stream, fields->name, "");
    pyunw_output_string(output, "\n");
}

static void write_end(struct output *output, const struct layout *layout, enum pyunw_end end)
{
    static const char *const no_frame[] = {"<no Python frame>\n", "  <no Python frame>\n", ""};
    switch (end) {
    case PYUNW_COMPLETE:
    case PYUNW_TRUNCATED:
        break;
    case PYUNW_NO_FRAME:
        pyunw_output_string(output, no_frame[layout->is.text_no_frame % 3]);
        break;
    case PYUNW_TORN:
        pyunw_output_string(output, "  <torn: the thread ran on while it was read>\n");
        break;
    case PYUNW_CORRUPT:
        pyunw_output_string(output, "  <invalid frame>\n");
        break;
    }
}

static bool is_hidden(const pyunw_text_options *options, pyunw_addr code)
{
    for (int n = 0; n < options->hidden_count; n++) {
        if (options->hidden[n] == code)
            return true;
    }
    return false;
}

static int write_stack(struct output *output, const struct target *target, const struct memory *memory,
                       pyunw_addr tstate, bool own, const pyunw_text_options *options)
{
    struct stack_stream stream;
    pyunw_raw_frame raw;
    struct code_fields fields;
    int err = pyunw_stack_begin(&stream, target, memory, tstate, own);
    if (err < 0)
        return err;
    while (pyunw_stack_next(&stream, &raw, &fields) == 1) {
        if (!is_hidden(options, raw.code))
            write_frame(output, &stream, &raw, &fields);
    }
    write_end(output, &target->layout, pyunw_stack_end(&stream));
    return PYUNW_OK;
}

static const pyunw_text_options defaults = {.size = sizeof defaults};

static bool is_good(const pyunw_text_options *options)
{
    return options->size >= sizeof *options && options->max_threads >= 0 && options->hidden_count >= 0 &&
           (options->hidden != NULL || options->hidden_count == 0);
}

int pyunw_write_text(const pyunw_target *handle, int fd, pyunw_addr tstate)
{
    return pyunw_write_text_with(handle, fd, tstate, &defaults);
}

int pyunw_write_text_with(const pyunw_target *handle, int fd, pyunw_addr tstate, const pyunw_text_options *asked)
{
    const struct target *target = open_target(handle);
    const pyunw_text_options *options = asked != NULL ? asked : &defaults;
    struct output output;
    struct memory memory;
    bool own = false;
    if (target == NULL)
        return not_open(handle);
    if (!is_good(options))
        return PYUNW_ERR_ARGUMENT;
    int err = pyunw_walk_choose(target, &tstate, &memory, &own);
    if (err < 0)
        return err;
    pyunw_output_begin(&output, fd);
    pyunw_output_string(&output, "Stack (most recent call first):\n");
    err = write_stack(&output, target, &memory, tstate, own, options);
    int flushed = pyunw_output_flush(&output);
    return err < 0 ? err : flushed;
}

/* ---- All threads ---- */

/* " [name]", as pthread_getname_np() gives it: from the kernel. Nothing where it is empty or cannot be had. */
static void write_thread_name(struct output *output, const struct target *target, uint64_t native_id)
{
    char name[PYUNW_THREAD_NAME_SIZE];
    size_t size = is_image(target) ? 0 : pyunw_read_thread_name(native_id, name);
    if (size == 0)
        return;
    pyunw_output_string(output, " [");
    pyunw_output_bytes(output, name, size);
    pyunw_output_string(output, "]");
}

static int write_thread(struct output *output, const struct target *target, const pyunw_thread *thread,
                        const pyunw_text_options *options)
{
    bool current = thread->tstate == options->current;
    struct memory memory;
    bool own = false;
    pyunw_addr tstate = thread->tstate;
    pyunw_output_string(output, current ? "Current thread 0x" : "Thread 0x");
    pyunw_output_hex(output, thread->thread_id, 16);
    if (target->layout.is.text_thread_names)
        write_thread_name(output, target, thread->native_id);
    pyunw_output_string(output, " (most recent call first):\n");
    int err = pyunw_walk_choose(target, &tstate, &memory, &own);
    /* As CPython does: under the current thread, whichever thread it is that collects. */
    bool collecting = false;
    if (err == 0 && current && target->layout.is.text_collecting &&
        pyunw_read_collecting(target, &memory, thread->interpreter, &collecting) == 0 && collecting)
        pyunw_output_string(output, "  Garbage-collecting\n");
    return err < 0 ? err : write_stack(output, target, &memory, tstate, own, options);
}

/* The interpreter to write: the one asked for, else that of current, else the main one. */
static int choose_interpreter(const struct target *target, pyunw_addr current, pyunw_addr *interpreter)
{
    struct memory memory = pyunw_safe_memory(target);
    pyunw_addr main_interpreter = 0;
    struct thread_fields fields;
    int err = pyunw_check_runtime(target, &memory, &main_interpreter);
    if (err < 0 || *interpreter != 0)
        return err;
    bool known = current != 0 && pyunw_read_thread(target, &memory, current, &fields) == 0;
    *interpreter = known ? fields.interpreter : main_interpreter;
    return PYUNW_OK;
}

int pyunw_write_text_threads(const pyunw_target *handle, int fd, pyunw_addr interpreter, pyunw_addr current,
                             int max_threads)
{
    const pyunw_text_options options = {
        .size = sizeof options,
        .max_threads = max_threads,
        .interpreter = interpreter,
        .current = current,
    };
    return pyunw_write_text_threads_with(handle, fd, &options);
}

int pyunw_write_text_threads_with(const pyunw_target *handle, int fd, const pyunw_text_options *asked)
{
    const struct target *target = open_target(handle);
    const pyunw_text_options *options = asked != NULL ? asked : &defaults;
    struct output output;
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int count = 0;
    int result = 0;
    if (target == NULL)
        return not_open(handle);
    if (!is_good(options))
        return PYUNW_ERR_ARGUMENT;
    pyunw_addr interpreter = options->interpreter;
    int err = choose_interpreter(target, options->current, &interpreter);
    if (err == 0)
        err = pyunw_threads_begin(handle, &cursor);
    if (err < 0)
        return err;
    pyunw_output_begin(&output, fd);
    while ((result = pyunw_threads_next(&cursor, &thread)) == 1) {
        if (thread.interpreter != interpreter)
            continue;
        if (count > 0)
            pyunw_output_string(&output, "\n");
        if (options->max_threads > 0 && count == options->max_threads) {
            pyunw_output_string(&output, "...\n");
            break;
        }
        /* A thread that ended meanwhile has a header and nothing else. */
        err = write_thread(&output, target, &thread, options);
        if (err < 0 && pyunw_thread_find(handle, thread.tstate, NULL) != PYUNW_ERR_NO_THREAD)
            write_end(&output, &target->layout, err == PYUNW_ERR_TORN ? PYUNW_TORN : PYUNW_CORRUPT);
        count++;
    }
    int flushed = pyunw_output_flush(&output);
    if (result < 0)
        return result;
    return count == 0 ? PYUNW_ERR_NO_THREAD : flushed;
}
