/*
 * Pages of another process, kept and read many at once.
 *
 * A page is served only within the generation that it was read in: pyunw_blocks_renew() begins another. What was used
 * for the same purpose in the last generations is expected then, as is what the core names: at the first page that is
 * missing, all that are expected are read with it, by one process_vm_readv(2). So one walk mostly is one system call,
 * and its bytes are those of nearly one moment.
 * Signal-safe: yes.
 */
#include "process_blocks.h"

#include "process_pause.h"
#include "process_read.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum { PAGE = 4096, PURPOSES = PYUNW_FOR_CHECK + 1, MANY_AT_ONCE = 256, ROOM_MIN = 1 << 16, BLOCKS_MAX = 1 << 15 };

/* Generations of the same purpose after which a page is no longer expected. Two: of two threads one may be new. */
enum { REMEMBERED = 2 };

/* A place for a page. */
struct block {
    pyunw_addr address;      /* 0: none */
    uint32_t generation;     /* in which its bytes were read; 0: not at all */
    uint32_t used[PURPOSES]; /* in which round of each purpose; 0: none */
    uint16_t next;           /* of the same hash: index + 1; 0: the last */
    bool wanted;             /* to be read together with the next one that is missing */
    bool recent;             /* used since its place was asked for last */
};

struct blocks {
    pid_t pid;
    const pyunw_pause *pause;
    uint32_t generation;
    uint32_t rounds[PURPOSES];
    int purpose;
    bool refused; /* process_vm_readv(2) is: nothing is kept */
    bool ahead;   /* what is missing is noted, and not read */
    uint32_t count;
    uint32_t hand; /* the place to be asked next */
    uint32_t last; /* that was used */
    uint32_t wanted;
    uint32_t hash_mask;
    uint16_t *hashed; /* index + 1 of the first block of each hash */
    struct block *list;
    uint8_t *pages;
    uint32_t asked[MANY_AT_ONCE];
    struct iovec to[MANY_AT_ONCE];
    struct iovec from[MANY_AT_ONCE];
};

_Static_assert(sizeof(struct blocks) < ROOM_MIN / 4, "the least room is mostly for pages");

/* ---- Room ---- */

static uintptr_t align(uintptr_t at, uintptr_t to)
{
    return (at + to - 1) & ~(to - 1);
}

struct blocks *pyunw_blocks_begin(void *room, size_t size, pid_t pid, const pyunw_pause *pause)
{
    uintptr_t begin = align((uintptr_t)room, _Alignof(struct blocks));
    uintptr_t end = (uintptr_t)room + size;
    if (room == NULL || size < ROOM_MIN || end < (uintptr_t)room)
        return NULL;
    struct blocks *blocks = (struct blocks *)begin;
    size_t left = end - begin - sizeof *blocks - PAGE;
    size_t count = left / (PAGE + sizeof(struct block) + 2 * sizeof(uint16_t));
    count = count < BLOCKS_MAX ? count : BLOCKS_MAX;
    uint32_t hashes = 1;
    while (2 * (size_t)hashes <= count)
        hashes *= 2;
    memset(blocks, 0, sizeof *blocks);
    blocks->pid = pid;
    blocks->pause = pause;
    blocks->generation = 1;
    for (int n = 0; n < PURPOSES; n++)
        blocks->rounds[n] = 1;
    blocks->count = (uint32_t)count;
    blocks->hash_mask = hashes - 1;
    blocks->list = (struct block *)(void *)(blocks + 1);
    blocks->hashed = (uint16_t *)(void *)(blocks->list + count);
    blocks->pages = (uint8_t *)align((uintptr_t)(blocks->hashed + hashes), PAGE);
    memset(blocks->list, 0, count * sizeof *blocks->list);
    memset(blocks->hashed, 0, hashes * sizeof *blocks->hashed);
    return blocks;
}

/* ---- Places ---- */

static uint16_t *hash_of(struct blocks *blocks, pyunw_addr address)
{
    uint64_t page = address / PAGE;
    return &blocks->hashed[(page ^ page >> 9) & blocks->hash_mask];
}

static struct block *find_block(struct blocks *blocks, pyunw_addr address)
{
    for (uint32_t n = *hash_of(blocks, address); n != 0; n = blocks->list[n - 1].next) {
        if (blocks->list[n - 1].address == address)
            return &blocks->list[n - 1];
    }
    return NULL;
}

static void want(struct blocks *blocks, struct block *block, bool wanted)
{
    blocks->wanted += (uint32_t)wanted - (uint32_t)block->wanted;
    block->wanted = wanted;
}

static void take_off(struct blocks *blocks, struct block *block)
{
    uint16_t *link = hash_of(blocks, block->address);
    uint16_t index = (uint16_t)(block - blocks->list + 1);
    while (*link != index)
        link = &blocks->list[*link - 1].next;
    *link = block->next;
    want(blocks, block, false);
    block->address = 0;
}

/* A place for a page: a free one, else that of a page which was not used for longest, more or less (second chance). */
static struct block *make_block(struct blocks *blocks, pyunw_addr address)
{
    struct block *block = NULL;
    for (uint32_t n = 0; n <= 2 * blocks->count; n++) {
        block = &blocks->list[blocks->hand];
        blocks->hand = blocks->hand + 1 < blocks->count ? blocks->hand + 1 : 0;
        if (block->address == 0 || (!block->recent && !block->wanted) || n == 2 * blocks->count)
            break;
        block->recent = false;
    }
    if (block->address != 0)
        take_off(blocks, block);
    uint16_t *first = hash_of(blocks, address);
    *block = (struct block){.address = address, .next = *first};
    *first = (uint16_t)(block - blocks->list + 1);
    return block;
}

static uint8_t *page_of(const struct blocks *blocks, const struct block *block)
{
    return blocks->pages + (size_t)(block - blocks->list) * PAGE;
}

/* ---- Reading ---- */

static void ask_for(struct blocks *blocks, uint32_t at, struct block *block)
{
    blocks->asked[at] = (uint32_t)(block - blocks->list);
    blocks->to[at] = (struct iovec){page_of(blocks, block), PAGE};
    blocks->from[at] = (struct iovec){(void *)(uintptr_t)block->address, PAGE};
}

/* The one that is missing, if any, and as many of those that are wanted as one call takes. */
static uint32_t collect(struct blocks *blocks, struct block *missing)
{
    uint32_t asked = 0;
    if (missing != NULL) {
        want(blocks, missing, false);
        ask_for(blocks, asked++, missing);
    }
    uint32_t left = blocks->wanted;
    for (uint32_t n = 0; n < blocks->count && left > 0 && asked < MANY_AT_ONCE; n++) {
        struct block *block = &blocks->list[n];
        if (!block->wanted)
            continue;
        left--;
        /* What is kept already is wanted for the next generation. */
        if (block->generation == blocks->generation)
            continue;
        want(blocks, block, false);
        ask_for(blocks, asked++, block);
    }
    return asked;
}

static bool is_asked(const struct blocks *blocks, uint32_t asked, const struct block *block)
{
    for (uint32_t n = 0; n < asked; n++) {
        if (&blocks->list[blocks->asked[n]] == block)
            return true;
    }
    return false;
}

static void hold(struct blocks *blocks, uint32_t asked, bool held)
{
    for (uint32_t n = 0; n < asked; n++)
        want(blocks, &blocks->list[blocks->asked[n]], held);
}

/*
 * What stands beside a page that nothing foretold is likely to be next: frames, thread states and code objects that
 * were made one after the other. These come last, so that where there are no such pages nothing is lost.
 */
static uint32_t collect_beside(struct blocks *blocks, pyunw_addr address, uint32_t asked)
{
    enum { BESIDE = 4, MANY_PLACES = 64 };
    static const int order[BESIDE] = {-1, 1, -2, -3};
    if (asked > BESIDE || blocks->wanted > blocks->count / 4 || blocks->count < MANY_PLACES)
        return asked;
    for (size_t n = 0; n < BESIDE; n++) {
        hold(blocks, asked, true); /* keep their places while one is made */
        pyunw_addr beside = address + (pyunw_addr)(int64_t)order[n] * PAGE;
        struct block *block = beside >= PAGE ? find_block(blocks, beside) : NULL;
        if (block == NULL && beside >= PAGE)
            block = make_block(blocks, beside);
        hold(blocks, asked, false);
        if (block != NULL && block->generation != blocks->generation && !is_asked(blocks, asked, block))
            ask_for(blocks, asked++, block);
    }
    return asked;
}

/* The call ends at the first page that cannot be read: that one is left out, and it goes on behind it. */
static uint32_t fetch(struct blocks *blocks, struct block *missing)
{
    int saved = errno;
    uint32_t sure = collect(blocks, missing);
    uint32_t asked = missing != NULL ? collect_beside(blocks, missing->address, sure) : sure;
    for (uint32_t at = 0; at < sure;) {
        ssize_t n = process_vm_readv(blocks->pid, &blocks->to[at], asked - at, &blocks->from[at], asked - at, 0);
        if (n < 0 && errno != EFAULT) {
            blocks->refused = blocks->refused || errno == EPERM || errno == ENOSYS;
            break;
        }
        uint32_t whole = n < 0 ? 0 : (uint32_t)(n / PAGE);
        for (uint32_t end = at + whole; at < end; at++)
            blocks->list[blocks->asked[at]].generation = blocks->generation;
        if (at == 0 && missing != NULL)
            break; /* that one: the others are not worth another call */
        at++;
    }
    /* Of a process that was let go while these were read, none is what it was while it stood. */
    bool passed = blocks->pause != NULL && pyunw_pause_passed(blocks->pause);
    for (uint32_t n = 0; passed && n < asked; n++)
        blocks->list[blocks->asked[n]].generation = 0;
    errno = saved;
    return sure;
}

/* The bytes of a page, or NULL. */
static const uint8_t *find_page(struct blocks *blocks, pyunw_addr address)
{
    struct block *block = &blocks->list[blocks->last]; /* mostly the same page as before */
    if (block->address != address)
        block = find_block(blocks, address);
    if (block == NULL)
        block = make_block(blocks, address);
    if (block->generation != blocks->generation && blocks->ahead) {
        want(blocks, block, true);
        return NULL;
    }
    if (block->generation != blocks->generation) {
        (void)fetch(blocks, block);
        if (block->generation != blocks->generation)
            return NULL;
    }
    blocks->last = (uint32_t)(block - blocks->list);
    block->recent = true;
    block->used[blocks->purpose] = blocks->rounds[blocks->purpose];
    return page_of(blocks, block);
}

static int read_directly(const struct blocks *blocks, pyunw_addr address, void *buffer, size_t size)
{
    int err = pyunw_process_read(blocks->pid, address, buffer, size);
    return blocks->pause != NULL && pyunw_pause_passed(blocks->pause) ? PYUNW_ERR_TORN : err;
}

int pyunw_blocks_read(void *context, pyunw_addr address, void *buffer, size_t size)
{
    struct blocks *blocks = context;
    uint8_t *to = buffer;
    bool keeps = size <= PAGE && address >= PAGE && address + size >= address; /* address 0 is that of a free place */
    if (!keeps && blocks->ahead)
        return PYUNW_ERR_FAULT;
    if (!keeps)
        return read_directly(blocks, address, buffer, size);
    while (size > 0 && !blocks->refused) {
        size_t skip = (size_t)(address % PAGE);
        size_t part = PAGE - skip < size ? PAGE - skip : size;
        const uint8_t *page = find_page(blocks, address - skip);
        if (page == NULL)
            break;
        memmove(to, page + skip,
                part); /* GCC makes a slow string instruction of a memcpy() that is known to be short */
        to += part;
        address += part;
        size -= part;
    }
    if (blocks->ahead && size > 0)
        return PYUNW_ERR_FAULT;
    /* Also says why not. */
    return size > 0 ? read_directly(blocks, address, to, size) : PYUNW_OK;
}

/* ---- What the core tells ---- */

void pyunw_blocks_renew(void *context, int purpose)
{
    struct blocks *blocks = context;
    if (purpose < 0 || purpose >= PURPOSES)
        purpose = PYUNW_FOR_CHECK;
    if (++blocks->generation == 0)
        blocks->generation = 1;
    blocks->purpose = purpose;
    uint32_t round = ++blocks->rounds[purpose];
    for (uint32_t n = 0; n < blocks->count; n++) {
        struct block *block = &blocks->list[n];
        if (block->used[purpose] != 0 && round - block->used[purpose] <= REMEMBERED)
            want(blocks, block, true);
    }
}

void pyunw_blocks_expect(void *context, pyunw_addr address, size_t size)
{
    struct blocks *blocks = context;
    pyunw_addr end = address + size;
    if (blocks->refused || size > (size_t)MANY_AT_ONCE * PAGE / 4 || end < address || address < PAGE)
        return;
    for (address -= address % PAGE; address < end; address += PAGE) {
        if (blocks->wanted >= blocks->count / 2)
            return;
        struct block *block = find_block(blocks, address);
        if (block == NULL)
            block = make_block(blocks, address);
        if (block->generation != blocks->generation || blocks->pause == NULL)
            want(blocks, block, true);
        /* What is told before a walk is for that walk and those that confirm it, or for the thread behind. */
        if (blocks->purpose != PYUNW_FOR_TEXTS)
            block->used[PYUNW_FOR_FRAMES] = blocks->rounds[PYUNW_FOR_FRAMES] + 1;
    }
}

int pyunw_blocks_look_ahead(void *context, bool begin)
{
    struct blocks *blocks = context;
    int count = 0;
    uint32_t fetched = begin ? 0 : 1;
    blocks->ahead = begin && !blocks->refused;
    for (; fetched > 0 && !blocks->refused; count += (int)fetched)
        fetched = fetch(blocks, NULL);
    return count;
}
