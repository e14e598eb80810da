/*
 * Alternate signal stacks, so that the overflow of a stack can be reported: with a page below that cannot be written.
 * The handler itself needs little of one, as it goes on upon a stack of its own.
 * Signal-safe: no.
 */
#include "install.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The kernel's frame holds all registers, which are more on some machines than on others; then what handlers need. */
static size_t stack_size(void)
{
    const size_t for_handlers = (size_t)24 << 10;
    size_t page = page_size();
    return (getauxval(AT_MINSIGSTKSZ) + for_handlers + page - 1) / page * page;
}

void *pyunw_crash_map_stack(size_t size)
{
    size_t page = page_size();
    char *memory = mmap(NULL, size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (mprotect(memory + page, size, PROT_READ | PROT_WRITE) == 0)
        return memory + page;
    (void)munmap(memory, size + page);
    return NULL;
}

/* What tells our stacks from others: a word at the bottom, which an overflow destroys, but then the process dies. */
static uint64_t mark_of(const void *stack)
{
    return (uint64_t)(uintptr_t)stack ^ UINT64_C(0x70797577696e6421);
}

static bool is_ours(const stack_t *stack)
{
    return (stack->ss_flags & SS_DISABLE) == 0 && stack->ss_size == stack_size() &&
           *(const uint64_t *)stack->ss_sp == mark_of(stack->ss_sp);
}

static int unmap(void *stack)
{
    size_t page = page_size();
    return munmap((char *)stack - page, stack_size() + page) == 0 ? PYUNW_OK : PYUNW_ERR_SYSTEM;
}

/* Stacks of threads that have ended, for those to come: mapping one anew takes longer than the rest of a thread's
 * start. */
enum { SPARE_STACKS = 16 };
static void *spare_stacks[SPARE_STACKS];

/* To be given back by give_stack(); NULL: no memory. */
static void *take_stack(void)
{
    for (size_t n = 0; n < SPARE_STACKS; n++) {
        void *stack = __atomic_exchange_n(&spare_stacks[n], NULL, __ATOMIC_ACQ_REL);
        if (stack != NULL)
            return stack;
    }
    void *stack = pyunw_crash_map_stack(stack_size());
    if (stack != NULL)
        *(uint64_t *)stack = mark_of(stack);
    return stack;
}

static int give_stack(void *stack)
{
    for (size_t n = 0; n < SPARE_STACKS; n++) {
        void *none = NULL;
        if (__atomic_compare_exchange_n(&spare_stacks[n], &none, stack, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return PYUNW_OK;
    }
    return unmap(stack);
}

int pyunw_crash_attach_thread(void)
{
    stack_t found;
    if (sigaltstack(NULL, &found) != 0)
        return PYUNW_ERR_SYSTEM;
    if ((found.ss_flags & SS_DISABLE) == 0)
        return PYUNW_OK;
    const stack_t given = {.ss_sp = take_stack(), .ss_size = stack_size()};
    if (given.ss_sp == NULL)
        return PYUNW_ERR_SYSTEM;
    if (sigaltstack(&given, NULL) == 0)
        return PYUNW_OK;
    (void)give_stack(given.ss_sp);
    return PYUNW_ERR_SYSTEM;
}

int pyunw_crash_detach_thread(void)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    stack_t found;
    if (sigaltstack(NULL, &found) != 0)
        return PYUNW_ERR_SYSTEM;
    if (!is_ours(&found))
        return PYUNW_OK;
    return sigaltstack(&none, NULL) == 0 ? give_stack(found.ss_sp) : PYUNW_ERR_SYSTEM;
}
