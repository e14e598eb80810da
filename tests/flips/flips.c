/*
 * Damages, one word at a time, of all that a walk of a living interpreter reads, and captures meanwhile: the caller
 * holds the GIL, and the other thread rests, so that nobody but the walker meets a damaged structure.
 */
#include "asks.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 48, FEW = 5, WORDS = 1 << 15, SLOTS = 2 * WORDS, BITS = 64, VALUES = 16, KINDS = BITS + VALUES };

/* Who reads a word: captures of the two threads, thread lists, and who asks for exceptions and values (asks.h). */
enum { BY_OWN = 1, BY_OTHER = 2, BY_LIST = 4, BY_ASKS = 8 };

/* RUNNING: an image of a process that may run on, in which a capture reads all twice and tries again. */
enum memory { TRAPPED, GUARDED, DIRECT, IMAGE, RUNNING, MEMORIES };

/* What became of a capture under damage. */
enum outcome {
    OUTCOME_SAME,
    OUTCOME_MARKED, /* by its end, its unconfirmed frames or a frame's flags */
    OUTCOME_ERROR,  /* the thread could not be read */
    /* It differs, and does not say so: a letter is another letter, an instruction another instruction. */
    OUTCOME_OTHER_TEXT,
    OUTCOME_OTHER_FRAMES,
    OUTCOMES
};

struct flips_result {
    uint64_t damages;
    uint64_t captures[MEMORIES];
    uint64_t lists;
    uint64_t outcomes[OUTCOMES];
    uint64_t asks;
    uint64_t most_reads[MEMORIES]; /* of one capture, in the images */
    uint64_t most_list_reads;      /* of one thread list */
    uint64_t most_ask_reads;       /* of all variables and exceptions of a thread */
    uint64_t broken;               /* answers that no capture may give */
    char first_broken[256];
};

typedef uint64_t __attribute__((may_alias, aligned(1))) loadable_word;

struct word {
    uint64_t address;
    unsigned readers;
};

static pyunw_target targets[MEMORIES];
static pyunw_addr threads[2]; /* the calling thread, the other one */
static struct word words[WORDS];
static size_t word_count;
static uint32_t slots[SLOTS]; /* open addressing: numbers of words, from 1 on */
static pyunw_frame truth[2][ROOM];
static int truth_count[2];
static pyunw_frame *frames; /* ends where memory ends */
static uint64_t mapping_end;
static uint64_t random_state;

/* ---- The image, whose reads are counted, or noted ---- */

static sigjmp_buf back;
static volatile sig_atomic_t reading;
static uint64_t reads;
static unsigned reader_noted; /* 0: nothing is noted */

static void on_fault(int signal)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    if (reading)
        siglongjmp(back, 1);
    sigaction(signal, &by_default, NULL);
}

/* Only what can be overwritten: constants cannot. */
static int is_writable(uint64_t address)
{
    uint64_t value = *(const uint64_t *)(uintptr_t)address;
    const struct iovec here = {&value, sizeof value};
    const struct iovec there = {(void *)(uintptr_t)address, sizeof value};
    return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof value;
}

static void note(uint64_t address)
{
    size_t slot = address / 8 * 0x9E3779B97F4A7C15ull % SLOTS;
    for (; slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        struct word *word = &words[slots[slot] - 1];
        if (word->address == address) {
            word->readers |= reader_noted;
            return;
        }
    }
    if (word_count == WORDS || !is_writable(address))
        return;
    words[word_count] = (struct word){address, reader_noted};
    slots[slot] = (uint32_t)++word_count;
}

/* By no memcpy(3): damaged addresses are not for a sanitizer's to judge. */
static __attribute__((noinline)) void load(const volatile uint8_t *from, volatile uint8_t *to, size_t size)
{
    for (; size >= 8 && ((uintptr_t)from & 7) == 0; size -= 8, from += 8, to += 8)
        *(volatile loadable_word *)to = *(const volatile uint64_t *)(uintptr_t)from;
    for (size_t n = 0; n < size; n++)
        to[n] = from[n];
}

static int read_by_loads(void *context, pyunw_addr address, void *buffer, size_t size)
{
    (void)context;
    reads++;
    if (sigsetjmp(back, 0) != 0) {
        reading = 0;
        return PYUNW_ERR_FAULT;
    }
    reading = 1;
    load((const volatile uint8_t *)(uintptr_t)address, buffer, size);
    reading = 0;
    for (uint64_t at = address & ~7ull; reader_noted != 0 && at < address + size; at += 8)
        note(at);
    return 0;
}

/* ---- Begin ---- */

static int open_all(void)
{
    static const int kinds[] = {
        [TRAPPED] = PYUNW_MEMORY_TRAPPED, [GUARDED] = PYUNW_MEMORY_GUARDED, [DIRECT] = PYUNW_MEMORY_DIRECT};
    struct sigaction action = {.sa_flags = SA_NODEFER};
    pyunw_target_info info;
    action.sa_handler = on_fault;
    /* Before the trap, which hands on to it what is no labelled load. */
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        return PYUNW_ERR_SYSTEM;
    int err = pyunw_trap_install();
    for (int n = TRAPPED; n <= DIRECT && err >= 0; n++) {
        const pyunw_options options = {.size = sizeof options, .memory = kinds[n]};
        err = pyunw_open_self(&targets[n], &options);
    }
    if (err < 0 || (err = pyunw_target_describe(&targets[TRAPPED], &info)) < 0)
        return err;
    pyunw_image image = {
        .size = sizeof image,
        .read = read_by_loads,
        .runtime = info.runtime,
        .version = info.version,
        .free_threaded = info.free_threaded,
        .code_type = info.code_type,
    };
    err = pyunw_open_image(&targets[IMAGE], &image, NULL);
    image.may_change = 1;
    return err < 0 ? err : pyunw_open_image(&targets[RUNNING], &image, NULL);
}

static int list_threads(enum memory memory)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    int more = pyunw_threads_begin(&targets[memory], &cursor);
    while (more >= 0 && (more = pyunw_threads_next(&cursor, &thread)) == 1)
        continue;
    return more;
}

/* The number of words that can be damaged, or an error. own, other: thread states; the call is as flips_run() is. */
int flips_open(pyunw_addr own, pyunw_addr other)
{
    frames = before_end_of_memory(ROOM * sizeof *frames);
    if (frames == NULL)
        return PYUNW_ERR_SYSTEM;
    mapping_end = (uint64_t)(uintptr_t)(frames + ROOM);
    threads[0] = own;
    threads[1] = other;
    int err = open_all();
    for (int n = 0; n < 2 && err >= 0; n++) {
        pyunw_status status;
        reader_noted = n == 0 ? BY_OWN : BY_OTHER;
        err = pyunw_capture(&targets[IMAGE], threads[n], frames, ROOM, &status);
    }
    reader_noted = BY_LIST;
    if (err >= 0)
        err = list_threads(IMAGE);
    reader_noted = 0;
    if (err >= 0)
        err = asks_open(&targets[TRAPPED], other);
    reader_noted = BY_ASKS;
    for (int ask = ASK_EXCEPTION; ask <= ASK_VARIABLES && err >= 0; ask++) {
        long number;
        if (ask_else(ask, &targets[IMAGE], other, false, &number) != NULL)
            err = PYUNW_ERR_CORRUPT;
    }
    reader_noted = 0;
    return err < 0 ? err : (int)word_count;
}

/* ---- Damage ---- */

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t damaged(uint64_t address, uint64_t value, unsigned kind)
{
    const struct word *other = &words[next_random() % word_count];
    const uint64_t values[VALUES] = {
        0,
        ~0ull,
        value & UINT32_MAX, /* half a field, or one of two that share a word */
        value & ~(uint64_t)UINT32_MAX,
        value | UINT32_MAX,
        value | ~(uint64_t)UINT32_MAX,
        1ull << 40,          /* unmapped */
        0x00C0FFEEull << 40, /* not canonical */
        value + 1,
        value + 4,
        address & ~7ull, /* a cycle of one */
        mapping_end - 8,
        mapping_end - 1,
        other->address, /* another structure */
        *(const uint64_t *)(uintptr_t)other->address,
        next_random(),
    };
    return kind < BITS ? value ^ 1ull << kind : values[kind - BITS];
}

static void break_rule(struct flips_result *result, const struct word *word, uint64_t value, int memory,
                       const char *what, long number)
{
    if (result->broken++ == 0)
        (void)snprintf(result->first_broken, sizeof result->first_broken,
                       "word %#llx (readers %u) as %#llx, memory %d: %s %ld", (unsigned long long)word->address,
                       word->readers, (unsigned long long)value, memory, what, number);
}

static int is_same_frame(const pyunw_frame *one, const pyunw_frame *other)
{
    return one->raw.code == other->raw.code && one->raw.frame == other->raw.frame;
}

static int is_same_text(const pyunw_frame *one, const pyunw_frame *other)
{
    return one->position.lineno == other->position.lineno && one->name_length == other->name_length &&
           one->filename_length == other->filename_length && strcmp(one->name, other->name) == 0 &&
           strcmp(one->filename, other->filename) == 0 && strcmp(one->qualname, other->qualname) == 0;
}

static enum outcome judge(const pyunw_frame *given, int thread, int count, int room, const pyunw_status *status)
{
    enum outcome outcome = OUTCOME_SAME;
    int expected = truth_count[thread] < room ? truth_count[thread] : room;
    if (count < 0)
        return OUTCOME_ERROR;
    if (status->end == PYUNW_TORN || status->end == PYUNW_CORRUPT || status->unconfirmed > 0)
        return OUTCOME_MARKED;
    if (count != expected)
        outcome = OUTCOME_OTHER_FRAMES;
    for (int n = 0; n < count && n < expected; n++) {
        if (given[n].flags != truth[thread][n].flags)
            return OUTCOME_MARKED;
        if (!is_same_frame(&given[n], &truth[thread][n]))
            outcome = OUTCOME_OTHER_FRAMES;
        else if (outcome == OUTCOME_SAME && !is_same_text(&given[n], &truth[thread][n]))
            outcome = OUTCOME_OTHER_TEXT;
    }
    return outcome;
}

static bool is_text(const pyunw_frame *frame)
{
    return is_good_text(frame->name, sizeof frame->name, frame->name_length) &&
           is_good_text(frame->filename, sizeof frame->filename, frame->filename_length) &&
           is_good_text(frame->qualname, sizeof frame->qualname, frame->qualname_length);
}

static void capture(struct flips_result *result, const struct word *word, uint64_t value, enum memory memory,
                    int thread, uint64_t chance)
{
    static const uint64_t mark = 0xA5C35A3C0FF0E11Eull;
    const pyunw_target *target = &targets[memory];
    pyunw_status status = {.end = -1};
    int room = (chance >> 4 & 7) == 5 ? FEW : (chance >> 4 & 7) == 7 ? 1 : ROOM;
    pyunw_frame *given = frames + ROOM - room; /* what is written beyond it has nowhere to go */
    int as_current = thread == 0 && memory < IMAGE;
    uint64_t before = reads;
    memcpy((uint8_t *)given - sizeof mark, &mark, sizeof mark);
    int count = pyunw_capture(target, as_current ? 0 : threads[thread], given, room, &status);
    if (reads - before > result->most_reads[memory])
        result->most_reads[memory] = reads - before;
    result->captures[memory]++;
    result->outcomes[judge(given, thread, count, room, &status)]++;
    if (memcmp((uint8_t *)given - sizeof mark, &mark, sizeof mark) != 0)
        break_rule(result, word, value, memory, "written before the array of", room);
    if (count > room)
        break_rule(result, word, value, memory, "frames:", count);
    if (count >= 0 && (status.end < 0 || status.end > PYUNW_NO_FRAME))
        break_rule(result, word, value, memory, "end:", status.end);
    for (int n = 0; n < count && n < room; n++) {
        if (!is_text(&given[n]))
            break_rule(result, word, value, memory, "no text in frame", n);
    }
}

static void ask_one(struct flips_result *result, const struct word *word, uint64_t value, enum memory memory,
                    enum ask which)
{
    uint64_t before = reads;
    long number;
    const char *why = ask_else(which, &targets[memory], threads[1], memory < IMAGE, &number);
    if (reads - before > result->most_ask_reads)
        result->most_ask_reads = reads - before;
    result->asks++;
    if (why != NULL)
        break_rule(result, word, value, memory, why, number);
}

static void ask_captures(struct flips_result *result, const struct word *word, uint64_t value, uint64_t chance,
                         unsigned dear_each)
{
    int thread = (word->readers & BY_OWN) == 0 || ((word->readers & BY_OTHER) != 0 && chance >> 8 & 1);
    uint64_t part = chance % dear_each;
    capture(result, word, value, TRAPPED, thread, chance);
    if (part == 0)
        capture(result, word, value, GUARDED, thread, chance);
    if (part == 1)
        capture(result, word, value, IMAGE, thread, chance);
    if (part == 2)
        capture(result, word, value, RUNNING, thread, chance);
    /* Of the calling thread it trusts the frames. */
    if ((word->readers & BY_OWN) == 0)
        capture(result, word, value, DIRECT, 1, chance);
}

static void ask_list(struct flips_result *result)
{
    uint64_t before = reads;
    (void)list_threads(TRAPPED);
    (void)list_threads(IMAGE);
    if (reads - before > result->most_list_reads)
        result->most_list_reads = reads - before;
    result->lists += 2;
}

static void ask(struct flips_result *result, const struct word *word, uint64_t value, uint64_t chance,
                unsigned dear_each)
{
    enum ask values = chance >> 9 & 1 ? ASK_EXCEPTION : ASK_VARIABLES;
    if (word->readers != BY_ASKS)
        ask_captures(result, word, value, chance, dear_each);
    if ((word->readers & BY_LIST) != 0)
        ask_list(result);
    if ((word->readers & BY_ASKS) != 0)
        ask_one(result, word, value, chance >> 10 & 1 ? DIRECT : TRAPPED, values); /* both are read alike */
    if ((word->readers & BY_ASKS) != 0 && chance % dear_each == 1)
        ask_one(result, word, value, IMAGE, values);
    if (chance % dear_each == 3)
        ask_one(result, word, value, chance >> 16 & 7 ? TRAPPED : GUARDED, (enum ask)((chance >> 32) % ASKS));
}

/* The stacks that both threads have while the caller is in flips_run(). */
static void learn_truth(void)
{
    for (int thread = 0; thread < 2; thread++) {
        pyunw_status status;
        truth_count[thread] = pyunw_capture(&targets[TRAPPED], threads[thread], truth[thread], ROOM, &status);
    }
}

/* Without damage all is as before. */
static int is_whole(void)
{
    for (int thread = 0; thread < 2; thread++) {
        pyunw_status status = {.end = -1};
        int count = pyunw_capture(&targets[TRAPPED], threads[thread], frames, ROOM, &status);
        if (count <= 0 || judge(frames, thread, count, ROOM, &status) != OUTCOME_SAME)
            return 0;
    }
    return 1;
}

/*
 * Damages from number begin on. The first words * KINDS damages are each kind of each word once; later ones are of two
 * words at once, by chance. dear_each: of so many damages one is met by the memories that take long. Afterwards all is
 * as it was; 0: it is not.
 */
int flips_run(uint64_t begin, uint64_t count, unsigned dear_each, struct flips_result *result)
{
    learn_truth();
    random_state = begin * 2 + 0x9E3779B97F4A7C15ull;
    for (uint64_t turn = begin; turn < begin + count; turn++) {
        int is_pair = turn >= word_count * KINDS;
        const struct word *word = &words[(is_pair ? next_random() : turn) % word_count];
        const struct word *second = is_pair ? &words[next_random() % word_count] : word;
        volatile uint64_t *at = (volatile uint64_t *)(uintptr_t)word->address;
        volatile uint64_t *second_at = (volatile uint64_t *)(uintptr_t)second->address;
        uint64_t whole = *at;
        uint64_t second_whole = *second_at;
        /* Of each word another kind at first, so that a few damages show some of all. */
        uint64_t kind = is_pair ? next_random() : turn / word_count + turn % word_count;
        uint64_t value = damaged(word->address, whole, (unsigned)(kind % KINDS));
        struct word both = {word->address, word->readers | second->readers};
        if (is_pair)
            *second_at = damaged(second->address, second_whole, (unsigned)(next_random() % KINDS));
        *at = value;
        ask(result, &both, value, next_random(), dear_each);
        *at = whole;
        *second_at = second_whole;
        result->damages++;
    }
    return is_whole();
}
