/*
 * A task's registers as DWARF numbers them.
 * Signal-safe: no. Include from: native.
 */
#ifndef PYUNW_NATIVE_NATIVE_REGISTERS_H
#define PYUNW_NATIVE_NATIVE_REGISTERS_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

/* The stack pointer's number. */
#if defined(__x86_64__)
enum { STACK_POINTER = 7 };
#else
enum { STACK_POINTER = 31 };
#endif

/* The registers in a ucontext_t that lies in the process, read word by word. */
struct word_reader {
    bool (*read)(const struct word_reader *reader, uint64_t address, uint64_t *word);
};

bool pyunw_native_registers_read(const struct word_reader *reader, uint64_t context,
                                 struct user_regs_struct *registers);

/* Undo a call of what is no code: the registers of the caller, where they can be told. */
bool pyunw_native_registers_leave(const struct word_reader *reader, struct user_regs_struct *registers);

uint64_t pyunw_native_registers_pc(const struct user_regs_struct *registers);

bool pyunw_native_registers_set(Dwfl_Thread *thread, const struct user_regs_struct *registers);

#endif
