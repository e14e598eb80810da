/*
 * The names of sigaction(2).
 */
#include "signal_names.h"

#include <signal.h>
#include <stddef.h>

struct code {
    int signal; /* 0: any */
    int code;
    const char *name;
    const char *words;
};

static const struct code codes[] = {
    {SIGSEGV, SEGV_MAPERR, "SEGV_MAPERR", "nothing is mapped there"},
    {SIGSEGV, SEGV_ACCERR, "SEGV_ACCERR", "what is mapped there forbids it"},
    {SIGSEGV, SEGV_BNDERR, "SEGV_BNDERR", NULL},
    {SIGSEGV, SEGV_PKUERR, "SEGV_PKUERR", "a protection key forbids it"},
    {SIGBUS, BUS_ADRALN, "BUS_ADRALN", "an address that is not aligned"},
    {SIGBUS, BUS_ADRERR, "BUS_ADRERR", "beyond the end of a mapped file"},
    {SIGBUS, BUS_OBJERR, "BUS_OBJERR", "an error of the hardware"},
    {SIGBUS, BUS_MCEERR_AR, "BUS_MCEERR_AR", "an error of the memory"},
    {SIGBUS, BUS_MCEERR_AO, "BUS_MCEERR_AO", "an error of the memory"},
    {SIGILL, ILL_ILLOPC, "ILL_ILLOPC", NULL},
    {SIGILL, ILL_ILLOPN, "ILL_ILLOPN", NULL},
    {SIGILL, ILL_ILLADR, "ILL_ILLADR", NULL},
    {SIGILL, ILL_ILLTRP, "ILL_ILLTRP", NULL},
    {SIGILL, ILL_PRVOPC, "ILL_PRVOPC", NULL},
    {SIGILL, ILL_PRVREG, "ILL_PRVREG", NULL},
    {SIGILL, ILL_COPROC, "ILL_COPROC", NULL},
    {SIGILL, ILL_BADSTK, "ILL_BADSTK", NULL},
    {SIGFPE, FPE_INTDIV, "FPE_INTDIV", "an integer divided by zero"},
    {SIGFPE, FPE_INTOVF, "FPE_INTOVF", "an integer overflow"},
    {SIGFPE, FPE_FLTDIV, "FPE_FLTDIV", NULL},
    {SIGFPE, FPE_FLTOVF, "FPE_FLTOVF", NULL},
    {SIGFPE, FPE_FLTUND, "FPE_FLTUND", NULL},
    {SIGFPE, FPE_FLTRES, "FPE_FLTRES", NULL},
    {SIGFPE, FPE_FLTINV, "FPE_FLTINV", NULL},
    {SIGFPE, FPE_FLTSUB, "FPE_FLTSUB", NULL},
    {SIGTRAP, TRAP_BRKPT, "TRAP_BRKPT", NULL},
    {SIGTRAP, TRAP_TRACE, "TRAP_TRACE", NULL},
    {0, SI_USER, "SI_USER", "sent by kill(2)"},
    {0, SI_KERNEL, "SI_KERNEL", "sent by the kernel"},
    {0, SI_QUEUE, "SI_QUEUE", "sent by sigqueue(3)"},
    {0, SI_TIMER, "SI_TIMER", "sent by a timer"},
    {0, SI_MESGQ, "SI_MESGQ", NULL},
    {0, SI_ASYNCIO, "SI_ASYNCIO", NULL},
    {0, SI_TKILL, "SI_TKILL", "sent by tgkill(2), as by abort(3)"},
};

const char *signal_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},     {SIGILL, "SIGILL"},
        {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},       {SIGFPE, "SIGFPE"},
        {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"},     {SIGUSR2, "SIGUSR2"},
        {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},     {SIGSTKFLT, "SIGSTKFLT"},
        {SIGCHLD, "SIGCHLD"}, {SIGCONT, "SIGCONT"}, {SIGSTOP, "SIGSTOP"},     {SIGTSTP, "SIGTSTP"},
        {SIGTTIN, "SIGTTIN"}, {SIGTTOU, "SIGTTOU"}, {SIGURG, "SIGURG"},       {SIGXCPU, "SIGXCPU"},
        {SIGXFSZ, "SIGXFSZ"}, {SIGPROF, "SIGPROF"}, {SIGVTALRM, "SIGVTALRM"}, {SIGWINCH, "SIGWINCH"},
        {SIGIO, "SIGIO"},     {SIGPWR, "SIGPWR"},   {SIGSYS, "SIGSYS"},
    };
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        if (names[n].number == number)
            return names[n].name;
    }
    return NULL;
}

static const struct code *find_code(int number, int code)
{
    for (size_t n = 0; n < sizeof codes / sizeof codes[0]; n++) {
        if (codes[n].code == code && (codes[n].signal == 0 || codes[n].signal == number))
            return &codes[n];
    }
    return NULL;
}

const char *signal_code_name(int number, int code)
{
    const struct code *found = find_code(number, code);
    return found != NULL ? found->name : NULL;
}

const char *signal_code_words(int number, int code)
{
    const struct code *found = find_code(number, code);
    return found != NULL ? found->words : NULL;
}
