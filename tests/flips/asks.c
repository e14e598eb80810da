/*
 * Each question is asked as a stranger would, into buffers that end where memory ends, and its answer is held against
 * what the header promises of any answer.
 */
#include "asks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { ROOM = 24, PAGE = 4096, VALUE_SIZE = 120, MANY_VARIABLES = 400 };

static pyunw_raw_frame *raw; /* as they stand without damage */
static int raw_count;
static pyunw_raw_frame *walked;
static pyunw_frame *described;
static pyunw_exception_text *words;
static pyunw_local *variable;
static char *value_end;
static int null_file;

void *before_end_of_memory(size_t size)
{
    size_t whole = (size + PAGE - 1) / PAGE * PAGE + PAGE; /* there is room for a mark in front of it, too */
    uint8_t *room = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + whole, PAGE, PROT_NONE) != 0)
        return NULL;
    return room + whole - size;
}

/* ---- Texts ---- */

/* Bytes of the character that begins here: 0 where none does (RFC 3629). */
static size_t character_size(const uint8_t *at, size_t room)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (size < 2 || size > room)
        return size > room ? 0 : size;
    uint32_t value = at[0] & (0x7fu >> size);
    for (size_t n = 1; n < size; n++) {
        if (at[n] >> 6 != 2)
            return 0;
        value = value << 6 | (at[n] & 0x3fu);
    }
    return value < least[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : size;
}

bool is_good_text(const char *text, size_t size, size_t length)
{
    if (length >= size || text[length] != '\0')
        return false;
    for (size_t at = 0; at < length;) {
        size_t step = character_size((const uint8_t *)text + at, length - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

/* ---- Answers ---- */

static bool is_result(int result, int most)
{
    return result >= PYUNW_ERR_NO_PROCESS && result <= most;
}

static const char *wrong_result(int result, long *number)
{
    *number = result;
    return "a result that is none:";
}

static const char *ask_exception(const pyunw_target *target, pyunw_addr tstate, long *number)
{
    pyunw_exception found;
    int result = pyunw_exception_find(target, tstate, &found);
    if (!is_result(result, 1))
        return wrong_result(result, number);
    if (result != 1)
        return NULL;
    result = pyunw_describe_exception(target, &found, words);
    if (!is_result(result, 0))
        return wrong_result(result, number);
    if (!is_good_text(words->type, sizeof words->type, words->type_length))
        return "a type of an exception that is no text";
    if (!is_good_text(words->message, sizeof words->message, words->message_length))
        return "a message that is no text";
    return NULL;
}

static const char *ask_value(const pyunw_target *target, pyunw_addr object, size_t size, long *number)
{
    static const pyunw_value_limits limits = {.size = sizeof limits, .depth = 3, .items = 6, .characters = 60};
    char *text = value_end - size;
    uint32_t flags;
    memset(text, 'x', size);
    int length = pyunw_describe_value(target, object, &limits, text, size, &flags);
    if (length < 0)
        return is_result(length, 0) ? NULL : wrong_result(length, number);
    *number = length;
    return is_good_text(text, size, (size_t)length) ? NULL : "a value that is no text, of length";
}

static const char *ask_variables_of(const pyunw_target *target, const pyunw_raw_frame *frame, long *number)
{
    pyunw_local_cursor cursor;
    int result = pyunw_locals_begin(target, frame, &cursor);
    for (int n = 0; result >= 0 && n < MANY_VARIABLES && (result = pyunw_locals_next(&cursor, variable)) == 1; n++) {
        if (!is_good_text(variable->name, sizeof variable->name, variable->name_length))
            return "a variable's name that is no text";
        const char *why = ask_value(target, variable->object, n % 4 == 3 ? 8 : VALUE_SIZE, number);
        if (why != NULL)
            return why;
    }
    if (!is_result(result, 1))
        return wrong_result(result, number);
    result = result >= 0 ? pyunw_locals_end(&cursor) : result;
    return is_result(result, 0) ? NULL : wrong_result(result, number);
}

static const char *ask_variables(const pyunw_target *target, pyunw_addr tstate, long *number)
{
    pyunw_status status;
    int count = pyunw_walk(target, tstate, walked, ROOM, &status);
    if (!is_result(count, ROOM))
        return wrong_result(count, number);
    for (int n = 0; n < count; n++) {
        const char *why = ask_variables_of(target, &walked[n], number);
        if (why != NULL)
            return why;
    }
    return NULL;
}

static const char *ask_descriptions(const pyunw_target *target, long *number)
{
    for (int n = 0; n < raw_count; n++) {
        pyunw_position position;
        pyunw_code_identity identity;
        int result = pyunw_describe(target, &raw[n], described);
        if (!is_result(result, 0))
            return wrong_result(result, number);
        if (result == 0 &&
            (!is_good_text(described->name, sizeof described->name, described->name_length) ||
             !is_good_text(described->filename, sizeof described->filename, described->filename_length) ||
             !is_good_text(described->qualname, sizeof described->qualname, described->qualname_length)))
            return "a description that is no text";
        result = pyunw_find_position(target, &raw[n], &position);
        if (!is_result(result, 0))
            return wrong_result(result, number);
        result = pyunw_identify_code(target, raw[n].code, &identity);
        if (!is_result(result, 0))
            return wrong_result(result, number);
    }
    return NULL;
}

static const char *ask_writers(const pyunw_target *target, pyunw_addr tstate, long *number)
{
    int result = pyunw_write_text(target, null_file, tstate);
    if (!is_result(result, 0))
        return wrong_result(result, number);
    result = pyunw_write_json(target, null_file, tstate);
    if (!is_result(result, 0))
        return wrong_result(result, number);
    result = pyunw_write_text_threads(target, null_file, 0, tstate, 0);
    return is_result(result, 0) ? NULL : wrong_result(result, number);
}

static const char *ask_threads(const pyunw_target *target, bool own, long *number)
{
    pyunw_addr current;
    int result = pyunw_is_finalizing(target);
    if (!is_result(result, 1))
        return wrong_result(result, number);
    result = own ? pyunw_current_thread(target, &current) : 0;
    return is_result(result, 0) ? NULL : wrong_result(result, number);
}

const char *ask_else(enum ask ask, const pyunw_target *target, pyunw_addr tstate, bool own, long *number)
{
    *number = 0;
    switch (ask) {
    case ASK_EXCEPTION:
        return ask_exception(target, tstate, number);
    case ASK_VARIABLES:
        return ask_variables(target, tstate, number);
    case ASK_DESCRIPTIONS:
        return ask_descriptions(target, number);
    case ASK_WRITERS:
        return ask_writers(target, tstate, number);
    case ASK_THREADS:
        return ask_threads(target, own, number);
    case ASKS:
        break;
    }
    return "no question";
}

int asks_open(const pyunw_target *target, pyunw_addr tstate)
{
    pyunw_status status;
    raw = before_end_of_memory(ROOM * sizeof *raw);
    walked = before_end_of_memory(ROOM * sizeof *walked);
    described = before_end_of_memory(sizeof *described);
    words = before_end_of_memory(sizeof *words);
    variable = before_end_of_memory(sizeof *variable);
    value_end = before_end_of_memory(VALUE_SIZE);
    null_file = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (raw == NULL || walked == NULL || described == NULL || words == NULL || variable == NULL || value_end == NULL ||
        null_file < 0)
        return PYUNW_ERR_SYSTEM;
    value_end += VALUE_SIZE;
    raw_count = pyunw_walk(target, tstate, raw, ROOM, &status);
    return raw_count < 0 ? raw_count : 0;
}
