/*
 * What a person reads. Names come from a foreign process: whatever could move a cursor is escaped.
 */
#include "page.h"

#include <inttypes.h>
#include <string.h>

/* ---- Text ---- */

size_t utf8_length(const unsigned char *bytes, size_t size)
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
    return value >= least[length] && value <= 0x10ffff && !surrogate ? length : 0;
}

static bool is_control(const unsigned char *bytes, size_t length)
{
    return length == 1 ? bytes[0] < 0x20 || bytes[0] == 0x7f : length == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0;
}

/* U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069: they change the order of what is around them, or break a line. */
static bool is_reordering(const unsigned char *bytes, size_t length)
{
    if (length != 3 || bytes[0] != 0xe2)
        return false;
    if (bytes[1] == 0x81)
        return bytes[2] >= 0xa6 && bytes[2] <= 0xa9;
    return bytes[1] == 0x80 && (bytes[2] == 0x8e || bytes[2] == 0x8f || (bytes[2] >= 0xa8 && bytes[2] <= 0xae));
}

void page_bytes(FILE *out, const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t plain = 0; /* from here on nothing is written yet, for it can be written as it is */
    for (size_t n = 0; n < size;) {
        size_t length = utf8_length(bytes + n, size - n);
        bool reordering = is_reordering(bytes + n, length);
        if (length > 0 && !reordering && !is_control(bytes + n, length)) {
            n += length;
            continue;
        }
        (void)fwrite(bytes + plain, 1, n - plain, out);
        if (reordering)
            (void)fprintf(out, "\\u20%02x", (unsigned)(bytes[n + 1] & 3u) << 6 | (bytes[n + 2] & 0x3fu));
        else
            (void)fprintf(out, "\\x%02x", bytes[n + (length == 2)]);
        n += length == 0 ? 1 : length;
        plain = n;
    }
    (void)fwrite(bytes + plain, 1, size - plain, out);
}

static void print_text(FILE *out, const struct line_text *text)
{
    if (text->bytes == NULL)
        (void)fputs("???", out);
    else
        page_bytes(out, text->bytes, text->length);
    if (text->cut)
        (void)fputs("...", out);
}

/* ---- Colour ---- */

static const char *const styles[] = {"\x1b[1m", "\x1b[36m", "\x1b[32m", "\x1b[2m", "\x1b[33m"};
_Static_assert(sizeof styles / sizeof styles[0] == STYLE_COUNT, "one sequence a style");

void page_begin_style(const struct page *page, enum style style)
{
    if (page->coloured)
        (void)fputs(styles[style], page->out);
}

void page_end_style(const struct page *page)
{
    if (page->coloured)
        (void)fputs("\x1b[0m", page->out);
}

/* ---- Lines ---- */

void page_note(const struct page *page, const char *note)
{
    page_begin_style(page, STYLE_WARNING);
    (void)fprintf(page->out, "    (%s)\n", note);
    page_end_style(page);
}

void page_python_frame(const struct page *page, const struct frame_line *frame)
{
    (void)fputs("    ", page->out);
    page_begin_style(page, STYLE_NAME);
    print_text(page->out, &frame->function);
    page_end_style(page);
    (void)fputs(" (", page->out);
    print_text(page->out, &frame->filename);
    if (frame->lineno >= 0)
        (void)fprintf(page->out, ":%" PRId64 ")\n", frame->lineno);
    else
        (void)fputs(")\n", page->out); /* an instruction without a line */
}

void page_native_frame(const struct page *page, const struct frame_line *frame)
{
    const struct line_text *module = &frame->module;
    page_begin_style(page, STYLE_NATIVE);
    (void)fputs("    ", page->out);
    print_text(page->out, &frame->function);
    (void)fputs(" (", page->out);
    if (frame->filename.bytes != NULL && frame->lineno >= 0) {
        print_text(page->out, &frame->filename);
        (void)fprintf(page->out, ":%" PRId64 ")", frame->lineno);
    } else if (module->bytes != NULL) {
        const char *slash = memrchr(module->bytes, '/', module->length);
        size_t folder = slash != NULL ? (size_t)(slash + 1 - module->bytes) : 0;
        page_bytes(page->out, module->bytes + folder, module->length - folder);
        (void)fprintf(page->out, "+0x%" PRIx64 ")", frame->module_offset);
    } else {
        (void)fprintf(page->out, "0x%" PRIx64 ")", frame->address);
    }
    page_end_style(page);
    (void)fputc('\n', page->out);
}

void page_uptime(FILE *out, double seconds)
{
    uint64_t whole = (uint64_t)seconds;
    if (whole < 60)
        (void)fprintf(out, "%.1f s", seconds);
    else if (whole < UINT64_C(60) * 60)
        (void)fprintf(out, "%" PRIu64 " min %" PRIu64 " s", whole / 60, whole % 60);
    else if (whole < UINT64_C(24) * 60 * 60)
        (void)fprintf(out, "%" PRIu64 " h %" PRIu64 " min", whole / 3600, whole / 60 % 60);
    else
        (void)fprintf(out, "%" PRIu64 " d %" PRIu64 " h", whole / 86400, whole / 3600 % 24);
}
