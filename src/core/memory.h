/*
 * The one door to foreign memory: an address goes in, bytes or a refusal come out.
 *
 * Two levels. pyunw_read() copies bytes out of any memory. A view is a structure made ready for its fields to be
 * loaded: where plain or trapped loads will do, the structure stays where it is; elsewhere it is copied once. Code
 * that walks is written once against views and compiled for each way of loading, so that a direct walk costs loads.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_MEMORY_H
#define PYUNW_CORE_MEMORY_H

#include "pyunwind.h"

#include <stdbool.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum memory_kind {
    MEMORY_DIRECT,
    MEMORY_TRAPPED, /* all that follow are read by calls only */
    MEMORY_READV,
    MEMORY_PROC_MEM,
    MEMORY_PIPE,
    MEMORY_IMAGE,
};

struct memory {
    enum memory_kind kind;
    int32_t pid;              /* MEMORY_READV: the own process, asked for when this memory was begun */
    const pyunw_image *image; /* MEMORY_IMAGE */
};

/* How fields are loaded from a view: the three ways the walking code is compiled for. */
enum load_kind { LOAD_DIRECT, LOAD_TRAPPED, LOAD_COPY };

static inline enum load_kind load_kind_of(const struct memory *memory)
{
    if (memory->kind == MEMORY_DIRECT)
        return LOAD_DIRECT;
    return memory->kind == MEMORY_TRAPPED ? LOAD_TRAPPED : LOAD_COPY;
}

/* Copy size bytes from address, all or nothing: 0 or PYUNW_ERR_FAULT, whatever error an image's reader gave. */
int pyunw_read(const struct memory *memory, pyunw_addr address, void *buffer, size_t size);

/* Copy as many of size bytes as can be had before the next page ends, and at least min. The count, or an error. */
int pyunw_read_some(const struct memory *memory, pyunw_addr address, void *buffer, size_t min, size_t size);

/* Does telling it what will be read make reading faster? */
static inline bool memory_takes_hints(const struct memory *memory)
{
    return memory->kind == MEMORY_IMAGE && memory->image->expect != NULL;
}

static inline void memory_expect(const struct memory *memory, pyunw_addr address, size_t size)
{
    memory->image->expect(memory->image->context, address, size);
}

/* Could a structure of CPython's begin here? Aligned, not in the first page, in the lower half of the address space. */
ALWAYS_INLINE bool plausible_address(pyunw_addr address)
{
    return (address & UINT64_C(0xff00000000000007)) == 0 && address >= 4096;
}

/*
 * A labelled load: where it faults, pyunwind's trap handler resumes at its fixup, which sets *fault and leaves 0.
 * The table of labels is the section pyunw_fixups: pairs of offsets, each from its own place, of load and fixup.
 */
#if defined(__x86_64__)
#define TRAPPED_LOAD(width_instruction, modifier, value, fault, pointer)                                               \
    __asm__ volatile("1: " width_instruction " (%[from]), %" modifier "[to]\n"                                         \
                     "2:\n"                                                                                            \
                     ".pushsection .text.unlikely,\"ax\",@progbits\n"                                                  \
                     "3: movl $1, %[bad]\n"                                                                            \
                     "   xorl %k[to], %k[to]\n"                                                                        \
                     "   jmp 2b\n"                                                                                     \
                     ".popsection\n"                                                                                   \
                     ".pushsection pyunw_fixups,\"a\",@progbits\n"                                                     \
                     ".balign 4\n"                                                                                     \
                     ".long 1b - .\n"                                                                                  \
                     ".long 3b - .\n"                                                                                  \
                     ".popsection\n"                                                                                   \
                     : [to] "=&r"(value), [bad] "+r"(fault)                                                            \
                     : [from] "r"(pointer)                                                                             \
                     : "cc")
#define TRAPPED_LOAD64(value, fault, pointer) TRAPPED_LOAD("movq", "q", value, fault, pointer)
#define TRAPPED_LOAD32(value, fault, pointer) TRAPPED_LOAD("movl", "k", value, fault, pointer)
#define TRAPPED_LOAD8(value, fault, pointer) TRAPPED_LOAD("movzbl", "k", value, fault, pointer)
#else
#define TRAPPED_LOAD(width_instruction, modifier, value, fault, pointer)                                               \
    __asm__ volatile("1: " width_instruction " %" modifier "[to], [%[from]]\n"                                         \
                     "2:\n"                                                                                            \
                     ".pushsection .text.unlikely,\"ax\",@progbits\n"                                                  \
                     "3: mov %w[bad], #1\n"                                                                            \
                     "   mov %x[to], #0\n"                                                                             \
                     "   b 2b\n"                                                                                       \
                     ".popsection\n"                                                                                   \
                     ".pushsection pyunw_fixups,\"a\",@progbits\n"                                                     \
                     ".balign 4\n"                                                                                     \
                     ".long 1b - .\n"                                                                                  \
                     ".long 3b - .\n"                                                                                  \
                     ".popsection\n"                                                                                   \
                     : [to] "=&r"(value), [bad] "+r"(fault)                                                            \
                     : [from] "r"(pointer))
#define TRAPPED_LOAD64(value, fault, pointer) TRAPPED_LOAD("ldr", "x", value, fault, pointer)
#define TRAPPED_LOAD32(value, fault, pointer) TRAPPED_LOAD("ldr", "w", value, fault, pointer)
#define TRAPPED_LOAD8(value, fault, pointer) TRAPPED_LOAD("ldrb", "w", value, fault, pointer)
#endif

/*
 * Field loads. The structure may be changed by others meanwhile, so a field is loaded exactly once and as a whole: in
 * place by a relaxed atomic load, which its alignment allows, out of a copy by any load. *fault, which only a trapped
 * load ever sets, is to be looked at before the values are used.
 */
typedef uint64_t __attribute__((may_alias)) field_u64;
typedef uint32_t __attribute__((may_alias)) field_u32;
typedef uint64_t __attribute__((may_alias, aligned(1))) copied_u64;
typedef uint32_t __attribute__((may_alias, aligned(1))) copied_u32;

ALWAYS_INLINE uint64_t load_u64(enum load_kind how, const uint8_t *at, int *fault)
{
    if (how == LOAD_TRAPPED) {
        uint64_t value;
        int bad = *fault;
        TRAPPED_LOAD64(value, bad, at);
        *fault = bad;
        return value;
    }
    if (how == LOAD_DIRECT)
        return __atomic_load_n((const field_u64 *)(const void *)at, __ATOMIC_RELAXED);
    return *(const volatile copied_u64 *)at;
}

ALWAYS_INLINE uint32_t load_u32(enum load_kind how, const uint8_t *at, int *fault)
{
    if (how == LOAD_TRAPPED) {
        uint32_t value;
        int bad = *fault;
        TRAPPED_LOAD32(value, bad, at);
        *fault = bad;
        return value;
    }
    if (how == LOAD_DIRECT)
        return __atomic_load_n((const field_u32 *)(const void *)at, __ATOMIC_RELAXED);
    return *(const volatile copied_u32 *)at;
}

ALWAYS_INLINE uint8_t load_u8(enum load_kind how, const uint8_t *at, int *fault)
{
    if (how == LOAD_TRAPPED) {
        uint32_t value;
        int bad = *fault;
        TRAPPED_LOAD8(value, bad, at);
        *fault = bad;
        return (uint8_t)value;
    }
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* Eight bytes of a text or a table, at any address. */
ALWAYS_INLINE uint64_t load_bytes(enum load_kind how, const uint8_t *at, int *fault)
{
    return how == LOAD_TRAPPED ? load_u64(LOAD_TRAPPED, at, fault) : *(const volatile copied_u64 *)at;
}

/* One word: where a load does, without a call. */
static inline int pyunw_read_u64(const struct memory *memory, pyunw_addr address, uint64_t *value)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)address;
    int fault = 0;
    if (memory->kind > MEMORY_TRAPPED)
        return pyunw_read(memory, address, value, sizeof *value);
    *value = memory->kind == MEMORY_DIRECT ? load_u64(LOAD_DIRECT, at, &fault) : load_u64(LOAD_TRAPPED, at, &fault);
    return fault ? PYUNW_ERR_FAULT : PYUNW_OK;
}

static inline int pyunw_read_u32(const struct memory *memory, pyunw_addr address, uint32_t *value)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)address;
    int fault = 0;
    if (memory->kind > MEMORY_TRAPPED)
        return pyunw_read(memory, address, value, sizeof *value);
    *value = memory->kind == MEMORY_DIRECT ? load_u32(LOAD_DIRECT, at, &fault) : load_u32(LOAD_TRAPPED, at, &fault);
    return fault ? PYUNW_ERR_FAULT : PYUNW_OK;
}

/*
 * Make the structure of size bytes at address ready for its fields to be loaded. scratch has room for size bytes and
 * is used only where the structure must be copied. NULL where it cannot be read.
 */
ALWAYS_INLINE const uint8_t *view_structure(enum load_kind how, const struct memory *memory, pyunw_addr address,
                                            size_t size, uint8_t *scratch)
{
    if (how != LOAD_COPY)
        return (const uint8_t *)(uintptr_t)address;
    return pyunw_read(memory, address, scratch, size) < 0 ? NULL : scratch;
}

#endif
