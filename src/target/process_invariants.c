/*
 * Find a runtime by what it must be. A statically linked 3.8 or 3.9 that was stripped has no symbol of it, no section
 * and no cookie, nor has a 3.10 to 3.12 without section headers. But of all places in its static data only one has the
 * main interpreter in a list of interpreters, which link back from their thread states, of which one is the main
 * thread's and one has a stack of code objects down to its bottom. Signal-safe: no.
 */
#include "process_invariants.h"

#include "static_data.h"

/* Where _PyRuntimeState has what (Include/internal/pycore_runtime.h), in words. */
struct runtime_words {
    uint32_t first_minor; /* PY_VERSION_HEX */
    uint8_t finalizing;
    uint8_t interpreters_head;
    uint8_t interpreters_main;
    uint8_t next_id;
    uint8_t main_thread;
};

static const struct runtime_words known[] = {
    {0x03080000, 2, 4, 5, 6, 9},
    {0x030b0000, 3, 5, 6, 7, 10},
    {0x030c0000, 3, 5, 6, 7, 8},
};

enum { WORDS = 11 };

static const struct runtime_words *words_of(uint32_t version)
{
    const struct runtime_words *words = &known[0];
    for (size_t n = 0; n < sizeof known / sizeof known[0]; n++) {
        if (version >= known[n].first_minor)
            words = &known[n];
    }
    return words;
}

static bool is_address(uint64_t word)
{
    return word >= 4096 && word % 8 == 0 && word >> 47 == 0;
}

/* Could a runtime that is initialized begin with these words? Few other places pass, and no read is needed to tell. */
static bool may_begin(const struct runtime_words *at, const uint64_t words[WORDS])
{
    enum { MANY_INTERPRETERS_MADE = 1 << 24 };
    return is_address(words[at->interpreters_head]) && is_address(words[at->interpreters_main]) &&
           words[at->next_id] >= 1 && words[at->next_id] < MANY_INTERPRETERS_MADE && words[at->finalizing] == 0 &&
           is_address(words[at->main_thread]);
}

/* Has a thread state the main thread's id, and one of them a whole stack? */
static bool has_living_threads(const pyunw_target *target, uint64_t main_thread)
{
    enum { ROOM = 256 };
    pyunw_raw_frame frames[ROOM];
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    bool has_main = false;
    bool has_stack = false;
    int err = pyunw_threads_begin(target, &cursor);
    while (err >= 0 && !(has_main && has_stack) && (err = pyunw_threads_next(&cursor, &thread)) == 1) {
        pyunw_status status;
        int count = has_stack ? 0 : pyunw_walk(target, thread.tstate, frames, ROOM, &status);
        has_main = has_main || thread.thread_id == main_thread;
        has_stack = has_stack || (count > 0 && (status.end == PYUNW_COMPLETE || status.end == PYUNW_TRUNCATED));
    }
    return has_main && has_stack;
}

/* What a place that is no runtime links to may be a list without an end: reading it has one. */
struct limited {
    const struct source *source;
    uint32_t left; /* reads */
};

static int read_limited(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct limited *limited = context;
    if (limited->left == 0)
        return PYUNW_ERR_FAULT;
    limited->left--;
    return source_read(limited->source, address, buffer, size);
}

/*
 * The process runs on: what is true of a runtime is not true at every moment. Mostly the main interpreter is the only
 * one, and so the newest; where it is not, the list that leads to it is a short one.
 */
static bool is_runtime(const struct source *source, pyunw_addr runtime, const struct runtime_words *at,
                       const uint64_t words[WORDS], uint32_t version)
{
    enum { MANY_READS = 1 << 20, FEW_READS = 1 << 10, TRIES = 16, FEW_TRIES = 2 };
    bool is_newest = words[at->interpreters_head] == words[at->interpreters_main];
    struct limited limited = {source, 0};
    const pyunw_image image = {
        .size = sizeof image,
        .read = read_limited,
        .context = &limited,
        .may_change = 1,
        .runtime = runtime,
        .version = version,
    };
    for (int n = 0; n < (is_newest ? TRIES : FEW_TRIES); n++) {
        pyunw_target target;
        limited.left = is_newest ? MANY_READS : FEW_READS;
        if (pyunw_open_image(&target, &image, NULL) < 0)
            continue;
        bool living = has_living_threads(&target, words[at->main_thread]);
        pyunw_close(&target);
        if (living)
            return true;
    }
    return false;
}

bool pyunw_invariants_find(const struct source *source, const struct mapping *first, struct found_interpreter *found)
{
    const struct runtime_words *where = words_of(found->version);
    struct static_data data = {.next = first + 1};
    int places = 0;
    while (pyunw_static_data_next(source, first, &data)) {
        for (size_t at = 0; at + WORDS * sizeof(uint64_t) <= data.size; at += sizeof(uint64_t)) {
            uint64_t words[WORDS];
            memcpy(words, data.bytes + at, sizeof words);
            if (!may_begin(where, words) || !is_runtime(source, data.begin + at, where, words, found->version))
                continue;
            found->runtime = data.begin + at;
            places++;
        }
    }
    return places == 1;
}
