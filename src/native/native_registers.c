/*
 * A task's registers as DWARF numbers them: System V ABI, AMD64 supplement, figure 3.36; DWARF for the Arm 64-bit
 * architecture, section 4.1.
 * Signal-safe: no.
 */
#include "native_registers.h"

#if defined(__x86_64__)

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
