/*
 * Read an image file, and the memory in it.
 */
#include "image_file.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static pyunw_addr take_place(struct input *input)
{
    uint64_t place = take_number(input, 4);
    return place != 0 ? IMAGE_BASE + place : 0;
}

/* The last piece that begins at address or before it; NULL: none does. */
static const pyunw_segment *piece_before(const struct image_file *file, pyunw_addr address)
{
    size_t low = 0;
    size_t high = file->piece_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->pieces[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &file->pieces[low - 1] : NULL;
}

static uint64_t mix(uint64_t word)
{
    word ^= word >> 33;
    word *= UINT64_C(0xff51afd7ed558ccd);
    word ^= word >> 33;
    word *= UINT64_C(0xc4ceb9fe1a85ec53);
    return word ^ word >> 33;
}

/* A word that could stand in an interpreter's memory. */
static uint64_t make_word(const struct image_file *file, uint64_t seed)
{
    uint64_t random = mix(seed ^ (uint64_t)file->choice << 48);
    uint64_t kind = random & 7;
    if (kind == 0 || file->piece_count == 0)
        return 0;
    if (kind == 1)
        return random >> 8 & 0xff;
    const pyunw_segment *piece = &file->pieces[(random >> 8) % file->piece_count];
    return piece->address + ((random >> 24) % piece->size & ~UINT64_C(7));
}

static bool read_byte(const struct image_file *file, pyunw_addr address, uint8_t *byte)
{
    enum { NEAR = 1 << 16 };
    const pyunw_segment *piece = piece_before(file, address);
    uint64_t at = piece != NULL ? address - piece->address : 0;
    if (piece != NULL && at < piece->size) {
        *byte = ((const uint8_t *)piece->bytes)[at];
        return true;
    }
    *byte = (uint8_t)(make_word(file, address >> 3) >> 8 * (address & 7));
    return (file->flags & IMAGE_ENDLESS) != 0 && piece != NULL && at - piece->size < NEAR;
}

/* One read in eight sees a word that another thread has just written. */
static void change_word(const struct image_file *file, uint8_t *bytes, size_t size)
{
    uint64_t random = mix(file->reads);
    if ((random & 7) != 0 || size < 8)
        return;
    uint64_t word = make_word(file, random >> 3);
    memcpy(bytes + ((random >> 3) % size & ~UINT64_C(7)) % (size - 7), &word, sizeof word);
}

static int read_image(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct image_file *file = context;
    uint8_t *out = buffer;
    file->reads++;
    REQUIRE(size > 0 && size <= 1 << 20);
    if (file->reads >= file->refuse_first && file->reads <= file->refuse_last)
        return PYUNW_ERR_FAULT;
    const pyunw_segment *piece = piece_before(file, address);
    uint64_t at = piece != NULL ? address - piece->address : 0;
    if (piece != NULL && at < piece->size && piece->size - at >= size) {
        memcpy(out, (const uint8_t *)piece->bytes + at, size);
    } else {
        for (size_t n = 0; n < size; n++) {
            if (address + n < address || !read_byte(file, address + n, &out[n]))
                return PYUNW_ERR_FAULT;
        }
    }
    if ((file->flags & IMAGE_CHANGES) != 0)
        change_word(file, out, size);
    return 0;
}

/* Hints are guesses: any address may come, of no size that no structure has. */
static void expect_image(void *context, pyunw_addr address, size_t size)
{
    (void)context;
    (void)address;
    REQUIRE(size > 0 && size <= 1 << 20);
}

static void renew_image(void *context, int purpose)
{
    (void)context;
    REQUIRE(purpose >= PYUNW_FOR_THREADS && purpose <= PYUNW_FOR_CHECK);
}

static void take_pieces(struct image_file *file, struct input *table, size_t count)
{
    pyunw_addr end = IMAGE_BASE;
    uint64_t at = 0;
    for (size_t n = 0; n < count; n++) {
        pyunw_addr begin = IMAGE_BASE + take_number(table, 4);
        uint64_t size = take_number(table, 4);
        if (begin < end || size == 0 || size > IMAGE_BYTES_MAX - at)
            continue;
        file->pieces[file->piece_count++] = (pyunw_segment){.address = begin, .size = size};
        end = begin + size;
        at += size;
    }
    file->size = at;
}

/* The bytes are a copy of just their size, so that a sanitizer sees a read behind them. */
static bool take_bytes(struct image_file *file, const struct input *input)
{
    size_t present = input->left < file->size ? input->left : (size_t)file->size;
    uint64_t at = 0;
    file->bytes = calloc(1, file->size + 1);
    if (file->bytes == NULL)
        return false;
    memcpy(file->bytes, input->at, present);
    for (size_t n = 0; n < file->piece_count; n++) {
        file->pieces[n].bytes = file->bytes + at;
        at += file->pieces[n].size;
    }
    return true;
}

bool image_file_decode(struct image_file *file, const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    *file = (struct image_file){.minor = (uint8_t)take_number(&input, 1)};
    file->flags = (uint8_t)take_number(&input, 1);
    file->choice = (uint16_t)take_number(&input, 2);
    uint32_t version = (uint32_t)take_number(&input, 4);
    file->image = (pyunw_image){.size = sizeof file->image, .context = file};
    file->image.runtime = take_place(&input);
    file->image.code_type = take_place(&input);
    file->image.text_type = take_place(&input);
    file->object = take_place(&input);
    file->refuse_first = take_number(&input, 4);
    file->refuse_last = file->refuse_first + take_number(&input, 2);
    size_t count = (size_t)take_number(&input, 2);
    if (file->refuse_first == 0)
        file->refuse_last = 0, file->refuse_first = UINT64_MAX;
    if (size < IMAGE_HEAD || count > IMAGE_PIECES_MAX || input.left < 8 * count)
        return false;
    file->pieces = calloc(count + 1, sizeof *file->pieces);
    if (file->pieces == NULL)
        return false;
    struct input table = {input.at, 8 * count};
    take_pieces(file, &table, count);
    input = (struct input){input.at + 8 * count, input.left - 8 * count};
    if (!take_bytes(file, &input)) {
        free(file->pieces);
        return false;
    }
    file->image.version = (file->flags & IMAGE_READS_VERSION) != 0 ? 0 : version;
    file->image.free_threaded = (file->flags & IMAGE_FREE_THREADED) != 0;
    file->image.may_change = (file->flags & IMAGE_MAY_CHANGE) != 0;
    if ((file->flags & IMAGE_TAKES_HINTS) != 0) {
        file->image.expect = expect_image;
        file->image.renew = renew_image;
    }
    if ((file->flags & IMAGE_IN_SEGMENTS) != 0) {
        file->image.segments = file->pieces;
        file->image.segment_count = file->piece_count;
    } else {
        file->image.read = read_image;
    }
    return true;
}

void image_file_free(struct image_file *file)
{
    free(file->pieces);
    free(file->bytes);
}
