/*
 * A task's registers as DWARF numbers them: System V ABI, AMD64 supplement, figure 3.36; DWARF for the Arm 64-bit
 * architecture, section 4.1.
 * Signal-safe: no.
 */
#include "native_registers.h"

#include <stddef.h>
#include <ucontext.h>

#if defined(__x86_64__)

bool pyunw_native_registers_read(const struct word_reader *reader, uint64_t context, struct user_regs_struct *registers)
{
    const struct {
        int index;
        unsigned long long *value;
    } wanted[] = {
        {REG_RAX, &registers->rax}, {REG_RDX, &registers->rdx}, {REG_RCX, &registers->rcx}, {REG_RBX, &registers->rbx},
        {REG_RSI, &registers->rsi}, {REG_RDI, &registers->rdi}, {REG_RBP, &registers->rbp}, {REG_RSP, &registers->rsp},
        {REG_R8, &registers->r8},   {REG_R9, &registers->r9},   {REG_R10, &registers->r10}, {REG_R11, &registers->r11},
        {REG_R12, &registers->r12}, {REG_R13, &registers->r13}, {REG_R14, &registers->r14}, {REG_R15, &registers->r15},
        {REG_RIP, &registers->rip},
    };
    *registers = (struct user_regs_struct){0};
    for (size_t n = 0; n < sizeof wanted / sizeof wanted[0]; n++) {
        uint64_t word = 0;
        uint64_t at = context + offsetof(ucontext_t, uc_mcontext.gregs) + sizeof(greg_t) * (size_t)wanted[n].index;
        if (!reader->read(reader, at, &word))
            return false;
        *wanted[n].value = word;
    }
    return true;
}

/* The call has pushed where it was to return to. */
bool pyunw_native_registers_leave(const struct word_reader *reader, struct user_regs_struct *registers)
{
    uint64_t caller = 0;
    if (!reader->read(reader, registers->rsp, &caller))
        return false;
    registers->rip = caller;
    registers->rsp += sizeof caller;
    return true;
}

uint64_t pyunw_native_registers_pc(const struct user_regs_struct *registers)
{
    return registers->rip;
}

bool pyunw_native_registers_set(Dwfl_Thread *thread, const struct user_regs_struct *registers)
{
    const Dwarf_Word values[] = {
        registers->rax, registers->rdx, registers->rcx, registers->rbx, registers->rsi, registers->rdi,
        registers->rbp, registers->rsp, registers->r8,  registers->r9,  registers->r10, registers->r11,
        registers->r12, registers->r13, registers->r14, registers->r15, registers->rip,
    };
    return dwfl_thread_state_registers(thread, 0, sizeof values / sizeof values[0], values);
}

#elif defined(__aarch64__)

bool pyunw_native_registers_read(const struct word_reader *reader, uint64_t context, struct user_regs_struct *registers)
{
    uint64_t at = context + offsetof(ucontext_t, uc_mcontext.regs);
    uint64_t words[33]; /* x0 to x30, sp, pc */
    for (size_t n = 0; n < 33; n++) {
        if (!reader->read(reader, at + n * sizeof words[0], &words[n]))
            return false;
    }
    *registers = (struct user_regs_struct){.sp = words[31], .pc = words[32]};
    for (size_t n = 0; n < 31; n++)
        registers->regs[n] = words[n];
    return true;
}

/* The call has put where it was to return to into the link register. */
bool pyunw_native_registers_leave(const struct word_reader *reader, struct user_regs_struct *registers)
{
    (void)reader;
    registers->pc = registers->regs[30];
    return registers->pc != 0;
}

uint64_t pyunw_native_registers_pc(const struct user_regs_struct *registers)
{
    return registers->pc;
}

bool pyunw_native_registers_set(Dwfl_Thread *thread, const struct user_regs_struct *registers)
{
    Dwarf_Word values[32]; /* x0 to x30, sp */
    for (int n = 0; n < 31; n++)
        values[n] = registers->regs[n];
    values[31] = registers->sp;
    dwfl_thread_state_register_pc(thread, registers->pc);
    return dwfl_thread_state_registers(thread, 0, 32, values);
}

#else
#error "pyunwind supports x86-64 and aarch64 Linux"
#endif
