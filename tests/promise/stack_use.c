/*
 * How much stack does a call take? The call is made on a stack of its own that was filled with a pattern; what it
 * wrote over is what it used, the return address included.
 */
#include "pyunwind.h"

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "syscalls.h"

enum { ROOM = 16 * 1024, GUARD = 4096 };

/* long call_on_stack(void *top, void *function, const uint64_t arguments[6]): call function with top as its stack. */
long call_on_stack(void *top, void *function, const uint64_t *arguments);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl call_on_stack\n"
        ".type call_on_stack, @function\n"
        "call_on_stack:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    mov %rdi, %rsp\n"
        "    mov %rsi, %r11\n"
        "    mov %rdx, %r10\n"
        "    mov 0(%r10), %rdi\n"
        "    mov 8(%r10), %rsi\n"
        "    mov 16(%r10), %rdx\n"
        "    mov 24(%r10), %rcx\n"
        "    mov 32(%r10), %r8\n"
        "    mov 40(%r10), %r9\n"
        "    call *%r11\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size call_on_stack, . - call_on_stack\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl call_on_stack\n"
        ".type call_on_stack, %function\n"
        "call_on_stack:\n"
        "    stp x29, x30, [sp, #-16]!\n"
        "    mov x29, sp\n"
        "    mov sp, x0\n"
        "    mov x9, x1\n"
        "    mov x10, x2\n"
        "    ldp x0, x1, [x10]\n"
        "    ldp x2, x3, [x10, #16]\n"
        "    ldp x4, x5, [x10, #32]\n"
        "    blr x9\n"
        "    mov sp, x29\n"
        "    ldp x29, x30, [sp], #16\n"
        "    ret\n"
        ".size call_on_stack, . - call_on_stack\n");
#endif

/* No byte of it is like its neighbour, so that a byte written over is mistaken for one left alone hardly ever. */
static uint8_t pattern(size_t index)
{
    return (uint8_t)((uint32_t)index * 2654435761u >> 13 ^ 0xa5u);
}

static uint8_t *make_stack(void)
{
    uint8_t *room = mmap(NULL, GUARD + ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + GUARD, ROOM, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    for (size_t n = 0; n < ROOM; n++)
        room[GUARD + n] = pattern(n);
    return room + GUARD;
}

/* Bytes of stack that function used, or -1 where there is no memory for one; *result: what it returned. */
long measure_stack_use(void *function, const uint64_t *arguments, long *result)
{
    static uint8_t *stack;
    size_t unused = 0;
    if (stack == NULL && (stack = make_stack()) == NULL)
        return -1;
    *result = call_on_stack(stack + ROOM, function, arguments);
    while (unused < ROOM && stack[unused] == pattern(unused))
        unused++;
    for (size_t n = unused; n < ROOM; n++)
        stack[n] = pattern(n);
    return (long)(ROOM - unused);
}

/* Faults of the calling thread get a stack of their own: what the kernel pushes is not the library's. */
int use_alternate_stack(void)
{
    static uint8_t room[64 * 1024];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    return sigaltstack(&stack, NULL);
}

/* A call of known need, to measure the measure with. */
__attribute__((noinline)) long use_of_stack(uint64_t bytes)
{
    volatile uint8_t *room = __builtin_alloca(bytes);
    for (uint64_t n = 0; n < bytes; n++)
        room[n] = 0;
    return (long)room[bytes / 2];
}

/* A pyunw_read_function over the own process that needs next to no stack: its own is not the library's. */
int read_own_memory(void *context, pyunw_addr address, void *buffer, size_t size)
{
    static struct iovec to, from;
    (void)context;
    to = (struct iovec){buffer, size};
    from = (struct iovec){(void *)(uintptr_t)address, size};
    long pid = raw_syscall0(SYS_getpid);
    long got = raw_syscall6(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0);
    return got == (long)size ? 0 : PYUNW_ERR_FAULT;
}
