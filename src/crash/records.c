/*
 * The records of an unfinished report: JSON lines (docs/crash.md), each written by as few calls as can be, the safest
 * first.
 * Signal-safe: yes.
 */
#include "crash.h"
#include "output.h"
#include "text_buffer.h"
#include "utc.h"

#include <sys/resource.h>
#include <time.h>
#include <ucontext.h>

/* One report is made at a time. */
static char buffer[8192];
static char record[4096]; /* of the fault; room for a NUL is kept */

/* ---- Values ---- */

static void put_field(struct output *output, const char *key, int64_t value, bool known)
{
    pyunw_output_string(output, key);
    if (known)
        pyunw_output_decimal(output, value);
    else
        pyunw_output_string(output, "null");
}

static void put_address(struct output *output, const char *key, uint64_t value, bool known)
{
    pyunw_output_string(output, key);
    pyunw_output_string(output, known ? "\"0x" : "null");
    if (!known)
        return;
    pyunw_output_hex(output, value, 1);
    pyunw_output_string(output, "\"");
}

/* RFC 3339, microseconds */
static void put_time(struct output *output)
{
    int64_t now = pyunw_crash_now(CLOCK_REALTIME);
    struct utc utc = utc_of(now / NANOSECONDS);
    put_padded(output, "\"", utc.year, 4);
    put_padded(output, "-", utc.month, 2);
    put_padded(output, "-", utc.day, 2);
    put_padded(output, "T", utc.hour, 2);
    put_padded(output, ":", utc.minute, 2);
    put_padded(output, ":", utc.second, 2);
    put_padded(output, ".", now % NANOSECONDS / 1000, 6);
    pyunw_output_string(output, "Z\"");
}

/* pthread_self(), where it is the thread pointer itself. */
#if defined(__x86_64__)
enum { THREAD_ID_IS_KNOWN = 1 };
#else
enum { THREAD_ID_IS_KNOWN = 0 };
#endif

static int64_t own_thread_id(void)
{
    return (int64_t)thread_pointer();
}

/* ---- The signal ---- */

static void put_signal(struct output *output, const struct crash_fault *fault)
{
    if (fault->signal == 0) {
        pyunw_output_string(output, ",\"signal\":null");
        return;
    }
    put_field(output, ",\"signal\":{\"number\":", fault->signal, true);
    put_field(output, ",\"code\":", fault->code, fault->has_code);
    put_address(output, ",\"address\":", fault->address, fault->has_address);
    put_field(output, ",\"system_call\":", fault->system_call, fault->system_call >= 0);
    if (fault->has_sender) {
        put_field(output, ",\"sender\":{\"pid\":", fault->sender, true);
        put_field(output, ",\"uid\":", (int64_t)fault->sender_user, true);
        pyunw_output_string(output, "}}");
    } else {
        pyunw_output_string(output, ",\"sender\":null}");
    }
}

static void put_registers(struct output *output, const ucontext_t *context)
{
#if defined(__x86_64__)
    static const struct {
        const char *key;
        int index;
    } registers[] = {
        {"\"rip\":", REG_RIP},  {",\"rsp\":", REG_RSP},    {",\"rbp\":", REG_RBP},       {",\"rax\":", REG_RAX},
        {",\"rbx\":", REG_RBX}, {",\"rcx\":", REG_RCX},    {",\"rdx\":", REG_RDX},       {",\"rsi\":", REG_RSI},
        {",\"rdi\":", REG_RDI}, {",\"r8\":", REG_R8},      {",\"r9\":", REG_R9},         {",\"r10\":", REG_R10},
        {",\"r11\":", REG_R11}, {",\"r12\":", REG_R12},    {",\"r13\":", REG_R13},       {",\"r14\":", REG_R14},
        {",\"r15\":", REG_R15}, {",\"eflags\":", REG_EFL}, {",\"trapno\":", REG_TRAPNO}, {",\"err\":", REG_ERR},
    };
    for (size_t n = 0; n < sizeof registers / sizeof registers[0]; n++)
        put_address(output, registers[n].key, (uint64_t)context->uc_mcontext.gregs[registers[n].index], true);
#else
    put_address(output, "\"pc\":", context->uc_mcontext.pc, true);
    put_address(output, ",\"sp\":", context->uc_mcontext.sp, true);
    for (int n = 0; n <= 30; n++) {
        pyunw_output_string(output, ",\"x");
        pyunw_output_decimal(output, n);
        put_address(output, "\":", context->uc_mcontext.regs[n], true);
    }
#endif
}

/* Nothing is written yet: the buffer has room for all of it. */
static void put_fault(struct output *output, const struct crash_fault *fault)
{
    pyunw_output_string(output, "{\"schema\":\"pyunwind.fault/1\",\"time\":");
    put_time(output);
    put_field(output, ",\"pid\":", raw_syscall0(SYS_getpid), true);
    put_field(output, ",\"native_id\":", fault->thread, true);
    put_field(output, ",\"thread_id\":", own_thread_id(), THREAD_ID_IS_KNOWN);
    put_signal(output, fault);
    pyunw_output_string(output, fault->recovered ? ",\"recovered\":true" : ",\"recovered\":false");
    if (fault->context != 0) {
        pyunw_output_string(output, ",\"registers\":{");
        put_registers(output, (const ucontext_t *)(uintptr_t)fault->context);
        pyunw_output_string(output, "}");
    } else {
        pyunw_output_string(output, ",\"registers\":null");
    }
    put_address(output, ",\"context\":", fault->context, fault->context != 0);
    pyunw_output_string(output, "}\n");
}

void pyunw_crash_write_fault(const struct crash_journal *journal, const struct crash_fault *fault)
{
    struct output output;
    record[0] = '\0';
    pyunw_output_begin_with(&output, pyunw_crash_journal_fd(journal), record, sizeof record - 1);
    put_fault(&output, fault);
    record[output.used] = '\0';
    (void)pyunw_output_flush(&output);
}

const char *pyunw_crash_fault_record(void)
{
    return record;
}

/* ---- Stacks ---- */

void pyunw_crash_write_note(const struct crash_journal *journal, const char *note)
{
    struct output output;
    pyunw_output_begin_with(&output, pyunw_crash_journal_fd(journal), buffer, sizeof buffer);
    pyunw_output_string(&output, "{\"schema\":\"pyunwind.note/1\",\"note\":\"");
    pyunw_output_string(&output, note); /* ours: nothing in it is to be escaped */
    pyunw_output_string(&output, "\"}\n");
    (void)pyunw_output_flush(&output);
}

/* Does this way of reading still work? A sandbox may have been entered since. */
static bool is_unreadable(int error)
{
    return error == PYUNW_ERR_FAULT || error == PYUNW_ERR_PERMISSION || error == PYUNW_ERR_SYSTEM;
}

void pyunw_crash_write_stack(const struct crash_journal *journal)
{
    const struct crash_settings *settings = &pyunw_crash_settings;
    int error = PYUNW_ERR_NO_PYTHON;
    for (int n = 0; n < settings->target_count; n++) {
        error = pyunw_write_json(&settings->targets[n], pyunw_crash_journal_fd(journal), 0);
        if (!is_unreadable(error))
            break;
    }
    if (error < 0 && error != PYUNW_ERR_NO_PYTHON && error != PYUNW_ERR_NO_THREAD)
        pyunw_crash_write_note(journal, pyunw_strerror(error));
}

static void write_all(const struct crash_journal *journal)
{
    const struct crash_settings *settings = &pyunw_crash_settings;
    for (int n = 0; n < settings->target_count; n++) {
        if (!is_unreadable(pyunw_write_json_threads(&settings->targets[n], pyunw_crash_journal_fd(journal))))
            return;
    }
}

/* What goes wrong in the copy is to end it, without a report of its own and without a core file. */
static void be_mortal(void)
{
    const struct kernel_sigaction by_default = {0};
    const struct rlimit none = {0};
    for (int signal = 1; signal <= SIGNAL_COUNT; signal++) {
        if ((pyunw_crash_settings.signals & signal_bit(signal)) != 0)
            (void)raw_syscall4(SYS_rt_sigaction, signal, (long)&by_default, 0, sizeof by_default.mask);
    }
    (void)raw_syscall4(SYS_prlimit64, 0, RLIMIT_CORE, (long)&none, 0);
}

/*
 * The copy's memory does not move under the reading, and to read it needs nobody's leave. It has no exit signal, so
 * that who waits for any child sees none.
 */
void pyunw_crash_write_all_stacks(const struct crash_journal *journal, int64_t deadline)
{
    const unsigned long untraced = 0x00800000; /* CLONE_UNTRACED */
    const int all = 0x40000000;                /* __WALL */
    const int no_hang = 1;                     /* WNOHANG */
    if (pyunw_crash_settings.target_count == 0)
        return;
    long child = raw_syscall6(SYS_clone, (long)untraced, 0, 0, 0, 0, 0);
    if (child == 0) {
        be_mortal();
        write_all(journal);
        raw_syscall3(SYS_exit_group, 0, 0, 0);
    }
    if (child < 0) {
        pyunw_crash_write_note(journal,
                               "no copy of the process could be made: its threads ran on while they were read");
        write_all(journal);
        return;
    }
    while (raw_syscall4(SYS_wait4, child, 0, no_hang | all, 0) == 0) {
        int64_t now = pyunw_crash_now(CLOCK_MONOTONIC);
        if (now > deadline)
            (void)raw_syscall3(SYS_kill, child, SIGKILL, 0);
        if (now > deadline + NANOSECONDS)
            return;
        pyunw_crash_sleep(500000);
    }
}
