/*
 * Tell the cause by the signal, its code, the address and the registers: what cannot be told so is "unknown".
 */
#include "fault_diagnosis.h"

#include "signal_names.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verdict {
    const char *cause;
    const char *words; /* the beginning of the sentence; NULL: the signal's name */
};

/* ---- The record ---- */

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* False where it is not known. */
static bool address_of(const json_t *object, const char *key, unsigned long long *address)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL)
        return false;
    *address = strtoull(text, NULL, 16);
    return true;
}

/* ---- The cause ---- */

/* Bits 1 and 4 of the processor's error code: a write, a fetch of an instruction. */
static struct verdict judge_access(bool null, bool known, unsigned long long error_code)
{
    if (known && (error_code & 16) != 0)
        return null ? (struct verdict){"null_jump", "A null pointer was called"}
                    : (struct verdict){"wild_jump", "The program jumped to an address that holds no code"};
    if (known && (error_code & 2) != 0)
        return null ? (struct verdict){"null_write", "It was written through a null pointer"}
                    : (struct verdict){"wild_write", "It was written to an address that is not to be written to"};
    if (known)
        return null ? (struct verdict){"null_read", "It was read through a null pointer"}
                    : (struct verdict){"wild_read", "It was read from an address that is not to be read from"};
    return (struct verdict){"unknown", null ? "A null pointer was followed" : "Memory was used that is not to be used"};
}

static struct verdict judge_segfault(const struct fault *fault)
{
    enum { FIRST_PAGE = 4096 };
    unsigned long long address = 0;
    unsigned long long counter = 0;
    unsigned long long error_code = 0;
    /* The processor tells no address of one that is none: its upper bits are neither all 0 nor all 1. */
    if (json_integer_value(json_object_get(fault->signal, "code")) == SI_KERNEL)
        return (struct verdict){"wild_read", "Memory was read or written at what is no address"};
    if (!address_of(fault->signal, "address", &address))
        return (struct verdict){"unknown", NULL};
    bool known = address_of(fault->registers, "err", &error_code);
    bool jumped = address_of(fault->registers, "rip", &counter) || address_of(fault->registers, "pc", &counter);
    if (jumped && counter == address)
        return judge_access(address < FIRST_PAGE, true, 16);
    return judge_access(address < FIRST_PAGE, known, error_code);
}

static struct verdict judge_arithmetic(json_int_t code)
{
    if (code == FPE_INTDIV)
        return (struct verdict){"division_by_zero", "An integer was divided by zero"};
    return (struct verdict){"floating_point", "An arithmetic operation failed"};
}

static struct verdict judge_sent(const struct fault *fault)
{
    const json_t *sender = json_object_get(fault->signal, "sender");
    bool itself = json_is_object(sender) && fault->pid != 0 && number_of(sender, "pid") == fault->pid;
    if (number_of(fault->signal, "number") == SIGABRT && (itself || number_of(fault->signal, "code") == SI_TKILL))
        return (struct verdict){"abort", "The process aborted itself"};
    return (struct verdict){"sent_signal", itself ? "The process sent itself a signal" : "A signal was sent to it"};
}

static struct verdict judge(const struct fault *fault)
{
    const json_t *code = json_object_get(fault->signal, "code");
    if (!fault->is_known)
        return (struct verdict){"unknown", "What ended the process was not saved"};
    if (!json_is_object(fault->signal))
        return (struct verdict){"on_demand", "The report was asked for, and the process went on"};
    if (json_is_integer(code) && json_integer_value(code) <= 0)
        return judge_sent(fault);
    switch (number_of(fault->signal, "number")) {
    case SIGSEGV:
        return judge_segfault(fault);
    case SIGFPE:
        return judge_arithmetic(json_integer_value(code));
    case SIGBUS:
        return (struct verdict){"bus_error", "Mapped memory could not be had"};
    case SIGILL:
        return (struct verdict){"illegal_instruction", "The processor does not know the instruction"};
    case SIGSYS:
        return (struct verdict){"forbidden_system_call", "A system call was made that is forbidden"};
    case SIGTRAP:
        return (struct verdict){"breakpoint", "A breakpoint was reached"};
    default:
        return (struct verdict){"unknown", NULL};
    }
}

/* ---- The words ---- */

/* NULL for one that is not known, or holds a NUL. */
static const char *function_name(const json_t *frame)
{
    const json_t *name = json_object_get(frame, "qualname");
    if (!json_is_string(name))
        name = json_object_get(frame, "name");
    const char *text = json_string_value(name);
    return text != NULL && strlen(text) == json_string_length(name) ? text : NULL;
}

/* "It was read through a null pointer (SIGSEGV at 0x0) while its Python code was in Parser.parse." */
static json_t *write_sentence(const struct fault *fault, const struct verdict *verdict, const json_t *frame)
{
    char signal[128] = "";
    const char *name = json_string_value(json_object_get(fault->signal, "name"));
    const char *address = json_string_value(json_object_get(fault->signal, "address"));
    const char *function = function_name(frame);
    if (json_is_object(fault->signal))
        (void)snprintf(signal, sizeof signal, " (%s%s%s)", name != NULL ? name : "a signal without a name",
                       address != NULL ? " at " : "", address != NULL ? address : "");
    return json_sprintf("%s%s%s%s.", verdict->words != NULL ? verdict->words : "The process ended", signal,
                        function != NULL ? " while its Python code was in " : "", function != NULL ? function : "");
}

static json_t *write_evidence(const struct fault *fault)
{
    json_t *evidence = json_array();
    json_int_t signal = number_of(fault->signal, "number");
    const json_t *code = json_object_get(fault->signal, "code");
    const json_t *sender = json_object_get(fault->signal, "sender");
    const char *name = json_string_value(json_object_get(fault->signal, "code_name"));
    const char *words = signal_code_words((int)signal, (int)json_integer_value(code));
    if (json_is_integer(code) && name != NULL)
        (void)json_array_append_new(evidence, json_sprintf("the code of the signal is %s%s%s", name,
                                                           words != NULL ? ": " : "", words != NULL ? words : ""));
    if (json_is_integer(json_object_get(fault->signal, "system_call")))
        (void)json_array_append_new(
            evidence, json_sprintf("the system call is number %lld", number_of(fault->signal, "system_call")));
    if (json_is_object(sender))
        (void)json_array_append_new(evidence, json_sprintf("it was sent by process %lld of user %lld",
                                                           number_of(sender, "pid"), number_of(sender, "uid")));
    if (fault->recovered)
        (void)json_array_append_new(
            evidence, json_string("another handler had the signal first: the fault is the one that interrupted that"));
    return evidence;
}

json_t *fault_diagnose(const struct fault *fault, const json_t *frame)
{
    struct verdict verdict = judge(fault);
    return json_pack("{s:s, s:o, s:o}", "cause", verdict.cause, "sentence", write_sentence(fault, &verdict, frame),
                     "evidence", write_evidence(fault));
}
