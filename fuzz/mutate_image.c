/*
 * libFuzzer's mutation of image files: mostly of words, at their places, so that the rest stays an interpreter.
 */
#include "fuzz.h"
#include "image_file.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t random_word(const uint8_t *words, size_t count, uint64_t *random)
{
    uint64_t word;
    memcpy(&word, words + 8 * (next_random(random) % count), sizeof word);
    return word;
}

static uint64_t mutate_word(uint64_t word, const uint8_t *words, size_t count, uint64_t *random)
{
    static const uint64_t telling[] = {0,          1,          0x7f,        0x80,       0xff,       0xffff,
                                       0x7fffffff, 0x80000000, 0xffffffff,  UINT64_MAX, 1ull << 63, 1ull << 40,
                                       4096,       IMAGE_BASE, 0xd800d800u, 0x110000u};
    unsigned shift = 8 * (unsigned)(next_random(random) & 7);
    switch (next_random(random) % 9) {
    case 0:
        return word ^ UINT64_C(1) << (next_random(random) & 63);
    case 1:
        return telling[next_random(random) % (sizeof telling / sizeof telling[0])];
    case 2:
        return random_word(words, count, random);
    case 3:
        return random_word(words, count, random) + 8 * (next_random(random) & 15) - 64;
    case 4:
        return word + (next_random(random) & 31) - 16;
    case 5: /* a byte */
        return (word & ~(UINT64_C(0xff) << shift)) | (next_random(random) & 0xff) << shift;
    case 6: /* half of it: structures hold int, too */
        shift &= 32;
        return (word & ~(UINT64_C(0xffffffff) << shift)) |
               (telling[next_random(random) % (sizeof telling / sizeof telling[0])] & 0xffffffff) << shift;
    case 7: /* a tag, where there are some */
        return word ^ (next_random(random) & 7);
    default:
        return next_random(random);
    }
}

static void mutate_head(uint8_t *data, uint64_t *random)
{
    size_t at = next_random(random) % 3;
    if (at == 0)
        data[1] ^= (uint8_t)(1u << (next_random(random) % 7));
    else if (at == 1)
        data[2 + next_random(random) % 2] = (uint8_t)next_random(random);
    else
        memset(data + 24, 0, 6), data[24] = (uint8_t)next_random(random), data[25] = next_random(random) & 3;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    size_t pieces = size >= IMAGE_HEAD ? (size_t)data[30] + ((size_t)data[31] << 8) : 0;
    size_t words_at = IMAGE_HEAD + 8 * pieces;
    unsigned choice = (unsigned)(next_random(&random) >> 32) % 16;
    if (choice < 2 || pieces == 0 || size < words_at + 8)
        return LLVMFuzzerMutate(data, size, max_size);
    if (choice == 2) {
        mutate_head(data, &random);
        return size;
    }
    size_t count = (size - words_at) / 8;
    for (uint64_t n = 1 + next_random(&random) % 4; n > 0; n--) {
        uint8_t *at = data + words_at + 8 * (next_random(&random) % count);
        uint64_t word;
        memcpy(&word, at, sizeof word);
        word = mutate_word(word, data + words_at, count, &random);
        memcpy(at, &word, sizeof word);
    }
    return size;
}
