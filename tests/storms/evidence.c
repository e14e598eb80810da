/*
 * The first stacks that were wrong or marked, as text in static memory, written inside the signal handler and
 * printed at the end.
 */
#include "checker.h"
#include "storm.h"

#include <string.h>
#include <unistd.h>

enum { KEPT = 6, TEXT_SIZE = 12288, SHOWN = 48 };

struct text {
    char bytes[TEXT_SIZE];
    size_t length;
};

static struct text kept[EVIDENCE_KINDS][KEPT];
static _Atomic int kept_count[EVIDENCE_KINDS];

static void put(struct text *text, const char *word)
{
    size_t length = strlen(word);
    if (length > TEXT_SIZE - text->length)
        length = TEXT_SIZE - text->length;
    memcpy(text->bytes + text->length, word, length);
    text->length += length;
}

static void put_number(struct text *text, const char *label, int64_t value)
{
    char digits[24];
    char *at = digits + sizeof digits - 1;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    *at = 0;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        *--at = '-';
    put(text, label);
    put(text, at);
}

static void put_address(struct text *text, const char *label, uint64_t value)
{
    char digits[17] = {0};
    char *at = digits + sizeof digits - 1;
    do {
        *--at = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    put(text, label);
    put(text, "0x");
    put(text, at);
}

static void put_verdict(struct text *text, int verdict)
{
    static const struct {
        int bit;
        const char *word;
    } words[] = {
        {VERDICT_UNKNOWN, " unknown-frame"},
        {VERDICT_WRONG_LINE, " wrong-line"},
        {VERDICT_STALE_LINE, " caller-line-stale"},
        {VERDICT_ILLEGAL_PAIR, " illegal-pair"},
        {VERDICT_CUT, " complete-but-cut"},
        {VERDICT_DAMAGED, " undescribed-frame"},
        {VERDICT_LOST, " lost"},
    };
    for (size_t n = 0; n < sizeof words / sizeof words[0]; n++) {
        if ((verdict & words[n].bit) != 0)
            put(text, words[n].word);
    }
}

static void put_frame(struct text *text, int index, const pyunw_frame *frame)
{
    const char *base = strrchr(frame->filename, '/');
    put_number(text, "    ", index);
    put(text, " ");
    put(text, frame->qualname);
    put(text, " ");
    put(text, base != NULL ? base + 1 : frame->filename);
    put_number(text, ":", frame->position.lineno);
    put_number(text, "  offset ", frame->raw.offset);
    put_address(text, " frame ", frame->raw.frame);
    put_address(text, " code ", frame->raw.code);
    if ((frame->raw.flags & PYUNW_FRAME_ENTRY) != 0)
        put(text, " entry");
    if (frame->flags != 0)
        put_number(text, " flags ", frame->flags);
    put(text, "\n");
}

static struct text *next_text(enum evidence kind)
{
    if (atomic_load_explicit(&kept_count[kind], memory_order_relaxed) >= KEPT)
        return NULL;
    int index = atomic_fetch_add(&kept_count[kind], 1);
    return index < KEPT ? &kept[kind][index] : NULL;
}

void evidence_keep_list(pyunw_addr missing, const pyunw_thread *threads, int count)
{
    struct text *text = next_text(EVIDENCE_WRONG);
    if (text == NULL)
        return;
    put_address(text, "thread left out: ", missing);
    put_number(text, " of a list of ", count);
    put(text, "\n");
    for (int n = 0; n < count; n++) {
        put_number(text, "    ", n);
        put_address(text, " tstate ", threads[n].tstate);
        put_number(text, " id ", (int64_t)threads[n].id);
        put_address(text, " thread_id ", threads[n].thread_id);
        put_number(text, " native_id ", (int64_t)threads[n].native_id);
        put_address(text, " flags ", threads[n].flags);
        put(text, "\n");
    }
}

void evidence_keep(enum evidence kind, bool own, pyunw_addr tstate, int verdict, int where, const pyunw_frame *frames,
                   int count, const pyunw_status *status)
{
    struct text *text = next_text(kind);
    if (text == NULL)
        return;
    put(text, own ? "own thread:" : "other thread:");
    put_verdict(text, verdict);
    put(text, " end=");
    put(text, status->end < 0 ? pyunw_strerror(status->end) : pyunw_end_name(status->end));
    put_number(text, " count=", count);
    put_number(text, " depth=", status->depth);
    put_number(text, " unconfirmed=", status->unconfirmed);
    put_number(text, " undescribed=", status->undescribed);
    put_address(text, " address=", status->address);
    put_address(text, " tstate=", tstate);
    put_number(text, " first bad frame: ", where);
    put(text, "\n");
    int first = where > SHOWN - 8 ? where - (SHOWN - 8) : 0;
    for (int n = first; n < count && n < first + SHOWN; n++)
        put_frame(text, n, &frames[n]);
    if (count > first + SHOWN) {
        put(text, "    ...\n");
        for (int n = count - 3; n < count; n++)
            put_frame(text, n, &frames[n]);
    }
}

void evidence_print(int fd, enum evidence kind)
{
    int count = atomic_load(&kept_count[kind]);
    for (int n = 0; n < count && n < KEPT; n++) {
        size_t written = 0;
        while (written < kept[kind][n].length) {
            ssize_t size = write(fd, kept[kind][n].bytes + written, kept[kind][n].length - written);
            if (size <= 0)
                return;
            written += (size_t)size;
        }
    }
}
