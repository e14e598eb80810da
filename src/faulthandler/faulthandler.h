/*
 * What the handlers of pyunwind.faulthandler know. All of it is static: they run where the heap is not to be used.
 * Include from: faulthandler.
 */
#ifndef PYUNW_FAULTHANDLER_FAULTHANDLER_H
#define PYUNW_FAULTHANDLER_FAULTHANDLER_H

#include "syscalls.h"

#include <pyunwind_faulthandler.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SIGNAL_COUNT = 64, FATAL_COUNT = 5, FATAL_FUNCTIONS = 4 };

static inline uint64_t signal_bit(int signal)
{
    return UINT64_C(1) << (signal - 1);
}

/* What is written where. */
struct dump {
    int fd;
    bool all_threads;
    int max_threads;
    pyunw_addr interpreter; /* 0: that of the thread concerned, else the main one */
};

struct fatal_signal {
    int number;
    bool taken;
    const char *name;
    struct kernel_sigaction previous;
};

struct user_signal {
    bool taken;
    bool chain;
    struct dump dump;
    struct kernel_sigaction previous;
    struct kernel_sigaction ours;
};

/* The code of a function: a return address into it lies above begin, and not above end. */
struct code_range {
    uint64_t begin;
    uint64_t end;
};

/* Runs in a copy of the process. pc: where the thread was interrupted. */
typedef void (*c_stack_function)(int fd, uint64_t pc);

struct faulthandler {
    atomic_bool is_open;
    pyunw_target target;
    uint32_t version; /* PY_VERSION_HEX */
    atomic_bool enabled;
    struct dump fatal;
    c_stack_function write_c_stack; /* NULL: it is not wanted */
    struct code_range fatal_error[FATAL_FUNCTIONS];
    pyunw_faulthandler_modules modules; /* modules.modules 0: none */
    _Atomic pyunw_addr hidden[PYUNW_FAULTHANDLER_HIDDEN_MAX];
    atomic_int hidden_count;
};

extern struct faulthandler pyunw_faulthandler;
extern struct fatal_signal pyunw_faulthandler_fatal[FATAL_COUNT];
extern struct user_signal pyunw_faulthandler_user[SIGNAL_COUNT + 1];

/* ---- Signal-safe ---- */

void pyunw_faulthandler_on_fatal(int signal, siginfo_t *info, void *context);
void pyunw_faulthandler_on_user(int signal, siginfo_t *info, void *context);

/* Write what dump says; current: the thread concerned, 0 for none. */
int pyunw_faulthandler_write(const struct dump *dump, pyunw_addr current);

/* The calling thread; 0 where Python does not know it. */
pyunw_addr pyunw_faulthandler_current(void);

/* Write the C stack of the interrupted thread, from a copy of the process: what fails there fails there alone. */
void pyunw_faulthandler_write_c_stack_of(int fd, const void *context);

/* Write the names of the extension modules. */
void pyunw_faulthandler_write_modules(int fd);

/* Has Py_FatalError() been called by the interrupted thread? Then it has written the stacks. */
bool pyunw_faulthandler_in_fatal_error(const void *context);

/* The program counter and the stack pointer of an interrupted thread. */
uint64_t pyunw_faulthandler_pc(const void *context);
uint64_t pyunw_faulthandler_sp(const void *context);

/* ---- Not signal-safe ---- */

int pyunw_faulthandler_open(void);

/* Options as a dump by the calling thread; PYUNW_ERR_ARGUMENT. */
int pyunw_faulthandler_take_options(const pyunw_faulthandler_options *options, struct dump *dump);

/* What pyunw_faulthandler_write_c_stack_of() runs; and what it needs that must not be loaded in a crash. */
void pyunw_faulthandler_write_c_stack(int fd, uint64_t pc);
void pyunw_faulthandler_prepare_c_stack(void);

#endif
