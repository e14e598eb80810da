/*
 * snapshot PID QUESTION OUTPUT [OBJECT]: write what answering a question reads of a process as an image file
 * (image_file.h), which is an input of the fuzz targets.
 *
 * QUESTION: threads, values: what ask.h asks; object: only the one at OBJECT, a hexadecimal address;
 * exception: likewise, described as one; offsets: no image, but its _Py_DebugOffsets.
 */
#include "ask.h"
#include "debug_offsets.h"
#include "fuzz.h"
#include "image_file.h"
#include "pyunwind_remote.h"
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { PAGE = 4096, WORDS = PAGE / 8, LIMIT_MS = 60000, PAGES_MAX = 1 << 16 };

struct page {
    pyunw_addr address;
    bool touched[WORDS]; /* which words were read */
    uint32_t place;      /* in the image */
    uint64_t words[WORDS];
};

struct mapping_range {
    pyunw_addr begin;
    pyunw_addr end;
};

struct snapshot {
    pid_t pid;
    uint64_t reads;
    size_t page_count;
    struct page *pages[PAGES_MAX];
    size_t range_count;
    struct mapping_range ranges[PAGES_MAX];
};

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "snapshot: %s\n", what);
    exit(1);
}

/* ---- Recording ---- */

static bool read_process(pid_t pid, pyunw_addr address, void *buffer, size_t size)
{
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)size;
}

static struct page *page_of(struct snapshot *snapshot, pyunw_addr address)
{
    for (size_t n = 0; n < snapshot->page_count; n++) {
        if (snapshot->pages[n]->address == address)
            return snapshot->pages[n];
    }
    if (snapshot->page_count == PAGES_MAX)
        fail("too many pages");
    struct page *page = calloc(1, sizeof *page);
    if (page == NULL)
        fail("no memory");
    page->address = address;
    snapshot->pages[snapshot->page_count++] = page;
    return page;
}

static int read_recorded(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct snapshot *snapshot = context;
    snapshot->reads++;
    if (!read_process(snapshot->pid, address, buffer, size))
        return PYUNW_ERR_FAULT;
    for (pyunw_addr word = address & ~UINT64_C(7); word < address + size; word += 8)
        page_of(snapshot, word & ~(pyunw_addr)(PAGE - 1))->touched[word % PAGE / 8] = true;
    return 0;
}

/* ---- Moving ---- */

static void read_ranges(struct snapshot *snapshot)
{
    char path[64];
    char line[8192];
    (void)snprintf(path, sizeof path, "/proc/%d/maps", snapshot->pid);
    FILE *maps = fopen(path, "re");
    if (maps == NULL)
        fail("no maps");
    while (fgets(line, sizeof line, maps) != NULL && snapshot->range_count < PAGES_MAX) {
        char *end = NULL;
        struct mapping_range *range = &snapshot->ranges[snapshot->range_count++];
        range->begin = strtoull(line, &end, 16);
        range->end = strtoull(end + 1, NULL, 16);
    }
    (void)fclose(maps);
}

static bool is_mapped(const struct snapshot *snapshot, pyunw_addr address)
{
    for (size_t n = 0; n < snapshot->range_count; n++) {
        if (address >= snapshot->ranges[n].begin && address < snapshot->ranges[n].end)
            return true;
    }
    return false;
}

/* Pages that are only pointed to have a place too: what is compared stays different. */
static void take_words(struct snapshot *snapshot)
{
    size_t touched = snapshot->page_count;
    for (size_t n = 0; n < touched; n++) {
        struct page *page = snapshot->pages[n];
        if (!read_process(snapshot->pid, page->address, page->words, PAGE))
            fail("a page is gone");
        for (size_t word = 0; word < WORDS; word++) {
            if (page->touched[word] && is_mapped(snapshot, page->words[word]))
                (void)page_of(snapshot, page->words[word] & ~(pyunw_addr)(PAGE - 1));
        }
    }
}

static int by_address(const void *left, const void *right)
{
    pyunw_addr a = (*(struct page *const *)left)->address;
    pyunw_addr b = (*(struct page *const *)right)->address;
    return a < b ? -1 : a > b;
}

/* Structures keep together, which may be far longer than a page: only long gaps between pages are made short. */
static void place_pages(struct snapshot *snapshot)
{
    enum { LONG_GAP = 1 << 20 };
    uint32_t place = PAGE;
    qsort(snapshot->pages, snapshot->page_count, sizeof(struct page *), by_address);
    for (size_t n = 0; n < snapshot->page_count; n++) {
        if (n > 0) {
            pyunw_addr gap = snapshot->pages[n]->address - snapshot->pages[n - 1]->address;
            place += gap < LONG_GAP ? (uint32_t)gap : 2 * PAGE;
        }
        snapshot->pages[n]->place = place;
    }
}

static uint32_t place_of(struct snapshot *snapshot, pyunw_addr address)
{
    if (address == 0 || !is_mapped(snapshot, address))
        return 0;
    return page_of(snapshot, address & ~(pyunw_addr)(PAGE - 1))->place + (uint32_t)(address % PAGE);
}

static void move_words(struct snapshot *snapshot)
{
    for (size_t n = 0; n < snapshot->page_count; n++) {
        struct page *page = snapshot->pages[n];
        for (size_t word = 0; word < WORDS; word++) {
            uint32_t place = page->touched[word] ? place_of(snapshot, page->words[word]) : 0;
            if (place != 0)
                page->words[word] = IMAGE_BASE + place;
        }
    }
}

/* ---- Writing ---- */

static void put_number(FILE *out, uint64_t value, size_t size)
{
    for (size_t n = 0; n < size; n++)
        (void)fputc((int)(value >> 8 * n & 0xff), out);
}

struct piece {
    uint32_t place;
    uint32_t size;
    const uint8_t *bytes;
};

/* Runs of words that were read; those with little between them are one. */
static size_t find_pieces(const struct snapshot *snapshot, struct piece *pieces, size_t max)
{
    size_t count = 0;
    for (size_t n = 0; n < snapshot->page_count; n++) {
        const struct page *page = snapshot->pages[n];
        for (uint32_t word = 0; word < WORDS; word++) {
            uint32_t place = page->place + 8 * word;
            struct piece *last = count > 0 ? &pieces[count - 1] : NULL;
            if (!page->touched[word])
                continue;
            /* Bytes of two pages do not lie together here. */
            if (last != NULL && last->place >= page->place && place - (last->place + last->size) <= 8) {
                last->size = place + 8 - last->place;
                continue;
            }
            if (count == max)
                fail("too many pieces");
            pieces[count++] = (struct piece){place, 8, (const uint8_t *)&page->words[word]};
        }
    }
    return count;
}

static void write_image(struct snapshot *snapshot, const pyunw_image *image, pyunw_addr object, const char *path)
{
    static struct piece pieces[IMAGE_PIECES_MAX];
    uint32_t object_place = place_of(snapshot, object); /* before the pages are counted */
    size_t count = find_pieces(snapshot, pieces, IMAGE_PIECES_MAX);
    FILE *out = fopen(path, "wbe");
    if (out == NULL)
        fail("the output cannot be written");
    put_number(out, image->version >> 16 & 0xff, 1);
    put_number(out, image->free_threaded ? IMAGE_FREE_THREADED : 0, 1);
    put_number(out, 0, 2);
    put_number(out, image->version, 4);
    put_number(out, place_of(snapshot, image->runtime), 4);
    put_number(out, place_of(snapshot, image->code_type), 4);
    put_number(out, place_of(snapshot, image->text_type), 4);
    put_number(out, object_place, 4);
    put_number(out, 0, 6);
    put_number(out, count, 2);
    for (size_t n = 0; n < count; n++) {
        put_number(out, pieces[n].place, 4);
        put_number(out, pieces[n].size, 4);
    }
    for (size_t n = 0; n < count; n++)
        (void)fwrite(pieces[n].bytes, 1, pieces[n].size, out);
    if (fclose(out) != 0)
        fail("the output was not written whole");
}

static void write_offsets(const struct snapshot *snapshot, pyunw_addr runtime, const char *path)
{
    uint8_t bytes[DEBUG_OFFSETS_SIZE_MAX];
    FILE *out = fopen(path, "wbe");
    if (out == NULL || !read_process(snapshot->pid, runtime, bytes, sizeof bytes))
        fail("the table cannot be had");
    (void)fwrite(bytes, 1, sizeof bytes, out);
    if (fclose(out) != 0)
        fail("the output was not written whole");
}

/* ---- Asking ---- */

static void ask(const pyunw_target *target, struct snapshot *snapshot, const char *question, pyunw_addr object)
{
    char text[4000];
    struct asked asked = {.target = target, .reads = &snapshot->reads, .steady = true};
    pyunw_local_cursor cursor;
    pyunw_local local;
    if (strcmp(question, "threads") == 0) {
        ask_threads(&asked, object);
    } else if (strcmp(question, "values") == 0) {
        ask_values(&asked, object, 0);
    } else if (strcmp(question, "object") == 0) {
        (void)pyunw_describe_value(target, object, NULL, text, sizeof text, NULL);
        if (pyunw_namespace_begin(target, object, &cursor) == 0)
            (void)pyunw_locals_next(&cursor, &local);
    } else if (strcmp(question, "exception") == 0) {
        pyunw_exception exception = {.object = object, .flags = PYUNW_EXCEPTION_RAISED};
        pyunw_exception_text described;
        pyunw_addr type_at = object + open_target(target)->layout.at.object.type;
        if (read_recorded(snapshot, type_at, &exception.type, sizeof exception.type) < 0)
            fail("no such object");
        (void)pyunw_describe_exception(target, &exception, &described);
    } else {
        fail("no such question");
    }
}

/* Each way of reading touches something that others do not. */
static void record(struct snapshot *snapshot, pyunw_image *image, const char *question, pyunw_addr object)
{
    enum { TYPES_UNKNOWN = 1, RUNS = 2, WAYS = 4 };
    for (int way = 0; way < WAYS; way++) {
        pyunw_image other = *image;
        pyunw_target target;
        if ((way & TYPES_UNKNOWN) != 0)
            other.code_type = other.text_type = 0;
        other.may_change = (way & RUNS) != 0;
        if (pyunw_open_image(&target, &other, NULL) < 0)
            fail("the image cannot be opened");
        ask(&target, snapshot, question, object);
        pyunw_close(&target);
    }
}

static pyunw_addr main_thread(const pyunw_target *target)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread = {0};
    if (pyunw_threads_begin(target, &cursor) == 0) {
        while (pyunw_threads_next(&cursor, &thread) == 1 && (thread.flags & PYUNW_THREAD_MAIN) == 0)
            continue;
    }
    return thread.tstate;
}

int main(int argc, char **argv)
{
    static struct snapshot snapshot;
    pyunw_pause *pause = NULL;
    pyunw_target target;
    pyunw_target_info info;
    char message[512] = "";
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    if (argc < 4)
        fail("usage: snapshot PID QUESTION OUTPUT [OBJECT]");
    pyunw_addr object = argc > 4 ? strtoull(argv[4], NULL, 16) : 0;
    snapshot.pid = (pid_t)strtol(argv[1], NULL, 10);
    if (pyunw_pause_process(snapshot.pid, LIMIT_MS, &pause, &options) < 0 ||
        pyunw_open_paused(&target, pause, &options) < 0 || pyunw_target_describe(&target, &info) < 0)
        fail(message);
    pyunw_image image = {
        .size = sizeof image,
        .read = read_recorded,
        .context = &snapshot,
        .runtime = info.runtime,
        .version = info.version,
        .free_threaded = info.free_threaded,
        .code_type = info.code_type,
        .text_type = open_target(&target)->text_type,
    };
    if (object == 0)
        object = main_thread(&target);
    pyunw_close(&target);
    if (strcmp(argv[2], "offsets") == 0) {
        write_offsets(&snapshot, image.runtime, argv[3]);
    } else {
        read_ranges(&snapshot);
        record(&snapshot, &image, argv[2], object);
        /* The types are compared by their addresses, which need a place. */
        const pyunw_addr named[] = {image.runtime, image.code_type, image.text_type, object};
        for (size_t n = 0; n < sizeof named / sizeof named[0]; n++) {
            if (named[n] != 0)
                (void)page_of(&snapshot, named[n] & ~(pyunw_addr)(PAGE - 1));
        }
        take_words(&snapshot);
        place_pages(&snapshot);
        move_words(&snapshot);
        write_image(&snapshot, &image, object, argv[3]);
    }
    return pyunw_resume_process(pause) == 0 ? 0 : 1;
}
