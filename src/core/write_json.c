/*
 * Stacks as JSON, one thread a line (docs/json-lines.md). Unknown is null. Whatever the names contain, a line is valid
 * JSON in valid UTF-8; a lone surrogate is written as the six characters \udcXX.
 * Signal-safe: yes.
 */
#include "output.h"
#include "write_stack.h"

/* ---- Values ---- */

static void write_quoted_code_point(struct output *output, uint32_t code_point)
{
    char bytes[6];
    if (code_point == '"' || code_point == '\\') {
        bytes[0] = '\\';
        bytes[1] = (char)code_point;
        pyunw_output_bytes(output, bytes, 2);
    } else if (code_point < ' ') {
        pyunw_output_string(output, "\\u");
        pyunw_output_hex(output, code_point, 4);
    } else {
        /* A surrogate's own backslash is escaped again. */
        if (code_point >= 0xd800 && code_point < 0xe000)
            pyunw_output_string(output, "\\");
        pyunw_output_bytes(output, bytes, pyunw_utf8_encode(code_point, bytes));
    }
}

/* A str object, or null where it cannot be read whole. */
static void write_text(struct output *output, struct stack_stream *stream, pyunw_addr object)
{
    const struct walk *walk = &stream->walk;
    struct text text;
    struct text_reader reader;
    uint32_t code_point = 0;
    if (pyunw_text_open(walk->target, &walk->memory, object, MAX_TEXT, &text) < 0 ||
        !pyunw_text_can_be_read(&text, MAX_TEXT)) {
        pyunw_output_string(output, "null");
        return;
    }
    pyunw_output_string(output, "\"");
    pyunw_text_begin(&text, 0, &reader);
    int result = 0;
    while ((result = pyunw_text_next(&reader, &code_point)) == 1)
        write_quoted_code_point(output, code_point);
    stream->has_changed |= result < 0;
    pyunw_output_string(output, "\"");
}

/* The length of the UTF-8 sequence at bytes (RFC 3629), 0 where there is none, and its code point. */
static size_t decode_utf8(const uint8_t *bytes, size_t size, uint32_t *code_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t first = bytes[0];
    size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t value = length == 1 ? first : first & (0x7fu >> length);
    for (size_t n = 1; n < length; n++) {
        if ((bytes[n] & 0xc0u) != 0x80)
            return 0;
        value = value << 6 | (bytes[n] & 0x3fu);
    }
    bool surrogate = value >= 0xd800 && value < 0xe000;
    *code_point = value;
    return value >= least[length] && value <= 0x10ffff && !surrogate ? length : 0;
}

/* The kernel's name for a thread: bytes of any kind, mostly UTF-8. Others are escaped as Python decodes them. */
static void write_thread_name(struct output *output, const struct target *target, uint64_t native_id)
{
    char name[PYUNW_THREAD_NAME_SIZE];
    size_t size = is_image(target) ? 0 : pyunw_read_thread_name(native_id, name);
    if (size == 0) {
        pyunw_output_string(output, "null");
        return;
    }
    pyunw_output_string(output, "\"");
    for (size_t n = 0; n < size;) {
        uint32_t code_point = 0;
        size_t length = decode_utf8((const uint8_t *)name + n, size - n, &code_point);
        write_quoted_code_point(output, length > 0 ? code_point : 0xdc00u + (uint8_t)name[n]);
        n += length > 0 ? length : 1;
    }
    pyunw_output_string(output, "\"");
}

static void write_number(struct output *output, const char *key, int64_t value, bool known)
{
    pyunw_output_string(output, key);
    if (known)
        pyunw_output_decimal(output, value);
    else
        pyunw_output_string(output, "null");
}

static void write_truth(struct output *output, const char *key, bool value, bool known)
{
    pyunw_output_string(output, key);
    pyunw_output_string(output, !known ? "null" : value ? "true" : "false");
}

/* ---- Objects ---- */

static void write_frame(struct output *output, struct stack_stream *stream, const pyunw_raw_frame *raw,
                        const struct code_fields *fields)
{
    const struct walk *walk = &stream->walk;
    pyunw_position position;
    /* Where the table cannot be read, all of it is unknown. */
    (void)pyunw_code_position(walk->target, &walk->memory, fields, raw->offset, &position);
    pyunw_output_string(output, "{\"kind\":\"python\",\"name\":");
    write_text(output, stream, fields->name);
    pyunw_output_string(output, ",\"qualname\":");
    if (walk->target->layout.at.code.qualname != 0)
        write_text(output, stream, fields->qualname);
    else
        pyunw_output_string(output, "null");
    pyunw_output_string(output, ",\"filename\":");
    write_text(output, stream, fields->filename);
    write_number(output, ",\"lineno\":", position.lineno, position.lineno >= 0);
    write_number(output, ",\"end_lineno\":", position.end_lineno, position.end_lineno >= 0);
    write_number(output, ",\"colno\":", position.colno, position.colno >= 0);
    write_number(output, ",\"end_colno\":", position.end_colno, position.end_colno >= 0);
    pyunw_output_string(output, "}");
}

static const char *state_name(const pyunw_thread *thread)
{
    if ((thread->flags & PYUNW_THREAD_FINALIZING) != 0)
        return ",\"state\":\"finalizing\"";
    return (thread->flags & PYUNW_THREAD_ATTACHED) != 0 ? ",\"state\":\"running\"" : ",\"state\":\"idle\"";
}

/* Where the GIL is disabled, nothing tells which thread of an interpreter collects while one does (3.13+). */
static bool collector_is_known(const struct target *target, const struct memory *memory, const pyunw_thread *thread)
{
    pyunw_addr holder = 0;
    bool collecting = false;
    if (!target->layout.at.free_threaded)
        return true;
    if (pyunw_gil_holder(target, memory, thread->interpreter, &holder) == 0 && holder != 0)
        return true;
    return pyunw_read_collecting(target, memory, thread->interpreter, &collecting) == 0 && !collecting;
}

/* What is known of a thread. known: the lists told of it; else only what it said of itself. */
static void write_thread_head(struct output *output, const struct target *target, const struct memory *memory,
                              const pyunw_thread *thread, bool known)
{
    pyunw_output_string(output, "{\"schema\":\"pyunwind.thread/1\"");
    write_number(output, ",\"pid\":", is_image(target) ? 0 : raw_syscall0(SYS_getpid), !is_image(target));
    write_number(output, ",\"thread_id\":", (int64_t)thread->thread_id, thread->thread_id != 0);
    write_number(output, ",\"native_id\":", (int64_t)thread->native_id, thread->native_id != 0);
    write_number(output, ",\"interpreter_id\":", thread->interpreter_id, known);
    pyunw_output_string(output, ",\"name\":");
    write_thread_name(output, target, thread->native_id);
    pyunw_output_string(output, known ? state_name(thread) : ",\"state\":null");
    write_truth(output, ",\"holds_gil\":", (thread->flags & PYUNW_THREAD_HOLDS_GIL) != 0, known);
    write_truth(output, ",\"collecting_garbage\":", (thread->flags & PYUNW_THREAD_COLLECTING) != 0,
                known && collector_is_known(target, memory, thread));
}

static const char *status_name(enum pyunw_end end)
{
    /* No frame is a whole stack of none. */
    return pyunw_end_name(end == PYUNW_NO_FRAME ? (int)PYUNW_COMPLETE : (int)end);
}

static int write_thread(const struct target *target, int fd, const struct memory *memory, const pyunw_thread *thread,
                        bool own, bool known)
{
    struct output output;
    struct stack_stream stream;
    pyunw_raw_frame raw;
    struct code_fields fields;
    int err = pyunw_stack_begin(&stream, target, memory, thread->tstate, own);
    if (err < 0)
        return err;
    pyunw_output_begin(&output, fd);
    write_thread_head(&output, target, memory, thread, known);
    pyunw_output_string(&output, ",\"frames\":[");
    for (int n = 0; pyunw_stack_next(&stream, &raw, &fields) == 1; n++) {
        if (n > 0)
            pyunw_output_string(&output, ",");
        write_frame(&output, &stream, &raw, &fields);
    }
    pyunw_output_string(&output, "],\"status\":\"");
    pyunw_output_string(&output, status_name(pyunw_stack_end(&stream)));
    pyunw_output_string(&output, "\"}\n");
    return pyunw_output_flush(&output);
}

/* Of a thread that is there, but whose stack cannot be read: that it is is said all the same. */
static int write_unread(const pyunw_target *handle, int fd, const struct memory *memory, const pyunw_thread *thread,
                        int why)
{
    const struct target *target = open_target(handle);
    struct output output;
    if (pyunw_thread_find(handle, thread->tstate, NULL) == PYUNW_ERR_NO_THREAD)
        return why;
    pyunw_output_begin(&output, fd);
    write_thread_head(&output, target, memory, thread, true);
    pyunw_output_string(&output, ",\"frames\":[],\"status\":\"");
    pyunw_output_string(&output, status_name(why == PYUNW_ERR_TORN ? PYUNW_TORN : PYUNW_CORRUPT));
    pyunw_output_string(&output, "\"}\n");
    return pyunw_output_flush(&output);
}

int pyunw_write_json(const pyunw_target *handle, int fd, pyunw_addr tstate)
{
    const struct target *target = open_target(handle);
    struct memory memory;
    pyunw_thread thread;
    bool own = false;
    if (target == NULL)
        return not_open(handle);
    int err = pyunw_walk_choose(target, &tstate, &memory, &own);
    if (err < 0)
        return err;
    bool known = pyunw_thread_find(handle, tstate, &thread) == 0;
    if (!known) {
        /* The lists are damaged: a crash report is written all the same. */
        thread = (pyunw_thread){.tstate = tstate};
        if (own) {
            thread.thread_id = own_thread_id(target);
            thread.native_id = (uint64_t)raw_syscall0(SYS_gettid);
        }
    }
    return write_thread(target, fd, &memory, &thread, own, known);
}

int pyunw_write_json_threads(const pyunw_target *handle, int fd)
{
    const struct target *target = open_target(handle);
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int result = 0;
    if (target == NULL)
        return not_open(handle);
    int err = pyunw_threads_begin(handle, &cursor);
    if (err < 0)
        return err;
    while ((result = pyunw_threads_next(&cursor, &thread)) == 1) {
        struct memory memory = pyunw_safe_memory(target);
        bool own = false;
        pyunw_addr tstate = thread.tstate;
        err = pyunw_walk_choose(target, &tstate, &memory, &own);
        if (err == 0)
            err = write_thread(target, fd, &memory, &thread, own, true);
        if (err < 0 && err != PYUNW_ERR_WRITE)
            err = write_unread(handle, fd, &memory, &thread, err);
        if (err == PYUNW_ERR_WRITE)
            return err;
    }
    return result;
}
