/*
 * Fuzz target: the same as interpreter.c, in the own process: the image is mapped at its addresses, and read by loads
 * that survive a fault and by each of the system calls that cannot fault. They have to answer alike wherever there is a
 * whole stack; loads need not read the whole of a structure, and /proc/self/mem tells what no load may read. The
 * calling thread is found where the image says that it is one of its own.
 *
 * Input: an image file (image_file.h).
 */
#include "ask_bounds.h"
#include "fuzz.h"
#include "image_file.h"
#include "target.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE = 4096, THREADS_MAX = 4, FRAMES_MAX = 24, OUTPUT_SIZE = 1 << 18, ADDRESSES = 1 << 26 };

/* ---- The image, mapped ---- */

/*
 * Whole pages from begin to end, but for those before *mapped, which are there; false where there is no room. What is
 * not in use is not mapped: /proc/self/mem reads what no load may.
 */
static bool map_pages(pyunw_addr begin, pyunw_addr end, pyunw_addr *mapped)
{
    pyunw_addr first = begin & ~(pyunw_addr)(PAGE - 1);
    pyunw_addr last = (end + PAGE - 1) & ~(pyunw_addr)(PAGE - 1);
    if (first < IMAGE_BASE || last > IMAGE_BASE + ADDRESSES)
        return false;
    if (first < *mapped)
        first = *mapped;
    if (first < last)
        REQUIRE(mmap((void *)(uintptr_t)first, last - first, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)(uintptr_t)first);
    if (last > *mapped)
        *mapped = last;
    return true;
}

/* _PyRuntime is a variable of the process: all of it is there, of itself. */
static bool map_image(const struct image_file *file, pyunw_addr runtime, uint64_t runtime_size)
{
    pyunw_addr mapped = 0;
    if (!map_pages(runtime, runtime + runtime_size, &mapped))
        return false;
    pyunw_addr with_runtime = mapped;
    mapped = 0;
    for (size_t n = 0; n < file->piece_count; n++) {
        const pyunw_segment *piece = &file->pieces[n];
        pyunw_addr end = piece->address + piece->size;
        if (piece->address >= (runtime & ~(pyunw_addr)(PAGE - 1)) && mapped < with_runtime)
            mapped = with_runtime;
        if (map_pages(piece->address, end, &mapped))
            memcpy((void *)(uintptr_t)piece->address, piece->bytes, piece->size);
    }
    return true;
}

/*
 * Two words that follow each other are overwritten after the target was opened, as are the runtime's two pointers to
 * its interpreters: by the end of the runtime, by what is behind it, by nothing that is mapped, or by what is
 * misaligned.
 */
static void damage_image(const struct image_file *file, pyunw_addr runtime, uint64_t runtime_size)
{
    const pyunw_addr values[] = {(runtime + runtime_size - 8) & ~UINT64_C(7),
                                 (runtime + runtime_size + 4096) & ~UINT64_C(7), UINT64_C(1) << 40, runtime + 1};
    uint64_t at = 8 * (uint64_t)file->choice;
    for (size_t n = 0; file->choice != 0 && n < file->piece_count; n++) {
        const pyunw_segment *piece = &file->pieces[n];
        if (at + 16 <= piece->size && piece->address + piece->size <= IMAGE_BASE + ADDRESSES) {
            uint64_t words[2] = {values[file->object & 3], values[file->object & 3]};
            memcpy((void *)(uintptr_t)(piece->address + at), words, sizeof words);
            return;
        }
        at -= at < piece->size ? at : piece->size;
    }
}

static void unmap_image(void)
{
    REQUIRE(munmap((void *)(uintptr_t)IMAGE_BASE, ADDRESSES) == 0);
}

/* ---- Answers ---- */

struct answers {
    int thread_count;
    pyunw_addr threads[THREADS_MAX];
    int current;
    pyunw_addr current_thread;
    int count;
    pyunw_status status;
    pyunw_frame frames[FRAMES_MAX];
    int exception;
    pyunw_exception_text exception_text;
    int value;
    char value_text[400];
    int json;
    size_t json_size;
    char json_bytes[1 << 14];
};

static void ask_own(const pyunw_target *target, pyunw_addr other, struct answers *answers)
{
    struct asked asked = {.target = target};
    pyunw_exception exception;
    size_t size = 0;
    memset(answers, 0, sizeof *answers);
    answers->thread_count = list_threads(&asked, answers->threads, THREADS_MAX);
    answers->current = pyunw_current_thread(target, &answers->current_thread);
    answers->count = pyunw_capture(target, other, answers->frames, FRAMES_MAX, &answers->status);
    answers->exception = pyunw_exception_find(target, other, &exception);
    if (answers->exception == 1)
        (void)pyunw_describe_exception(target, &exception, &answers->exception_text);
    answers->value = pyunw_describe_value(target, other, NULL, answers->value_text, sizeof answers->value_text, NULL);
    answers->json = pyunw_write_json(target, output_begin(OUTPUT_SIZE), answers->current == 0 ? 0 : other);
    const char *bytes = output_bytes(&size);
    answers->json_size = size;
    memcpy(answers->json_bytes, bytes, size < sizeof answers->json_bytes ? size : sizeof answers->json_bytes);
}

static void require_frames_alike(const struct answers *one, const struct answers *other)
{
    REQUIRE(one->count == other->count && memcmp(&one->status, &other->status, sizeof one->status) == 0);
    for (int n = 0; n < one->count; n++)
        REQUIRE(memcmp(&one->frames[n], &other->frames[n], offsetof(pyunw_frame, filename)) == 0 &&
                strcmp(one->frames[n].filename, other->frames[n].filename) == 0 &&
                strcmp(one->frames[n].name, other->frames[n].name) == 0);
}

static void require_alike(const struct answers *one, const struct answers *other)
{
    REQUIRE(one->thread_count == other->thread_count);
    REQUIRE(memcmp(one->threads, other->threads, sizeof one->threads) == 0);
    REQUIRE(one->current == other->current && one->current_thread == other->current_thread);
    require_frames_alike(one, other);
    REQUIRE(one->exception == other->exception &&
            strcmp(one->exception_text.message, other->exception_text.message) == 0);
    REQUIRE(one->value == other->value && strcmp(one->value_text, other->value_text) == 0);
    REQUIRE(one->json == other->json && one->json_size == other->json_size);
    REQUIRE(memcmp(one->json_bytes, other->json_bytes, sizeof one->json_bytes) == 0);
}

/* ---- The target ---- */

/*
 * The calling thread is the one whose thread state stands at file->object, if one does: it has its pthread_t, the
 * kernel's number of this one, and a name of any bytes.
 */
static void become_thread(struct target *own, const struct image_file *file)
{
    const struct layout_thread *at = &own->layout.at.thread;
    struct memory memory = pyunw_safe_memory(own);
    char name[16] = "";
    uint64_t id = 0;
    if (file->object == 0 || pyunw_read_u64(&memory, file->object + at->thread_id, &id) < 0)
        return;
    own->thread_offset = (int64_t)(id - thread_pointer());
    if (at->native_thread_id != 0 && pyunw_read_u64(&memory, file->object + at->native_thread_id, &id) == 0) {
        id = (uint64_t)gettid();
        memcpy((void *)(uintptr_t)(file->object + at->native_thread_id), &id, sizeof id);
    }
    memcpy(name, file->bytes, file->size < sizeof name - 1 ? (size_t)file->size : sizeof name - 1);
    (void)prctl(PR_SET_NAME, name);
}

static void ask_in_way(const pyunw_target *opened, const struct image_file *file, enum pyunw_memory memory,
                       enum pyunw_guard guard, struct answers *answers)
{
    pyunw_target handle = *opened;
    struct target *own = (struct target *)(void *)&handle;
    own->memory = (uint8_t)memory;
    own->guard = (uint8_t)guard;
    memset(&own->image, 0, sizeof own->image);
    become_thread(own, file);
    ask_own(&handle, file->object, answers);
}

static bool is_whole(const struct answers *answers)
{
    return answers->count >= 0 && answers->status.end == PYUNW_COMPLETE && answers->status.undescribed == 0;
}

static void ask_in_all_ways(const pyunw_target *opened, const struct image_file *file)
{
    static struct answers first;
    static struct answers others;
    ask_in_way(opened, file, PYUNW_MEMORY_GUARDED, PYUNW_GUARD_READV, &first);
    ask_in_way(opened, file, PYUNW_MEMORY_GUARDED, PYUNW_GUARD_PIPE, &others);
    require_alike(&first, &others);
    ask_in_way(opened, file, PYUNW_MEMORY_GUARDED, PYUNW_GUARD_PROC_MEM, &others);
    if (is_whole(&first))
        require_frames_alike(&first, &others);
    ask_in_way(opened, file, PYUNW_MEMORY_TRAPPED, PYUNW_GUARD_READV, &others);
    /* A table that goes on into what is not mapped is read as far as it is needed, in steps of another length. */
    if (is_whole(&first) && is_whole(&others))
        require_frames_alike(&first, &others);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file;
    pyunw_target target;
    if (!image_file_decode(&file, data, size))
        return 0;
    file.flags = 0;
    file.image.may_change = 0;
    REQUIRE(pyunw_trap_install() == 0);
    if (pyunw_open_image(&target, &file.image, NULL) == 0) {
        const struct target *opened = open_target(&target);
        if (map_image(&file, opened->runtime, opened->layout.at.runtime.size)) {
            damage_image(&file, opened->runtime, opened->layout.at.runtime.size);
            ask_in_all_ways(&target, &file);
        }
        pyunw_close(&target);
        unmap_image();
    }
    image_file_free(&file);
    return 0;
}
