/*
 * The own process as an image whose words are damaged at random while they are read: for test_damage.py.
 */
#include <pyunwind.h>

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct damage {
    uint64_t state;       /* of the random numbers, not 0 */
    uint64_t word_odds;   /* one in so many words is another; 0: none */
    uint64_t refuse_odds; /* one in so many reads is refused; 0: none */
    uint64_t reads;
    uint64_t damaged;
    uint64_t last_address; /* read before: what a damaged word may point to */
};

static uint64_t next_random(struct damage *damage)
{
    damage->state ^= damage->state << 13;
    damage->state ^= damage->state >> 7;
    damage->state ^= damage->state << 17;
    return damage->state;
}

static int happens(struct damage *damage, uint64_t odds)
{
    return odds != 0 && next_random(damage) % odds == 0;
}

static uint64_t damaged_word(struct damage *damage, uint64_t word)
{
    uint64_t random = next_random(damage);
    damage->damaged++;
    switch (next_random(damage) % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return random;
    case 3:
        return random % 256;
    case 4:
        return word ^ UINT64_C(1) << random % 64;
    case 5:
        return damage->last_address & ~UINT64_C(7);
    case 6:
        return word + (random % 64 - 32) * 8;
    default:
        return random >> random % 64;
    }
}

int read_damaged(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct damage *damage = context;
    struct iovec to = {buffer, size};
    struct iovec from = {(void *)(uintptr_t)address, size};
    damage->reads++;
    if (happens(damage, damage->refuse_odds))
        return PYUNW_ERR_FAULT;
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)size)
        return PYUNW_ERR_FAULT;
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        size_t part = size - at < sizeof(uint64_t) ? size - at : sizeof(uint64_t);
        uint64_t word = 0;
        memcpy(&word, (char *)buffer + at, part);
        if (happens(damage, damage->word_odds)) {
            word = damaged_word(damage, word);
            memcpy((char *)buffer + at, &word, part);
        }
    }
    damage->last_address = address;
    return 0;
}
