/*
 * Tell the cause of a crash from the stack of the thread, the mapped memory and what the C library said. What the
 * signal alone tells was found before (fault_diagnosis.c).
 */
#include "crash_diagnosis.h"

#include "json_text.h"
#include "stack_overflow.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct finding {
    const char *cause;
    char words[512];    /* the beginning of the sentence */
    char evidence[512]; /* "": none of its own */
};

/* ---- The stack ---- */

static const json_t *crashed_thread(const json_t *document)
{
    const json_t *first = json_array_get(json_object_get(document, "threads"), 0);
    return json_is_true(json_object_get(first, "crashed")) ? first : NULL;
}

/* Native frames: merged into the stack, or beside it. */
static const json_t *native_rows(const json_t *thread)
{
    const json_t *apart = json_object_get(thread, "native_frames");
    return json_is_array(apart) ? apart : json_object_get(thread, "frames");
}

static bool is_python(const json_t *frame)
{
    const char *kind = text_of(frame, "kind");
    return kind != NULL && strcmp(kind, "python") == 0;
}

static const json_t *innermost_python(const json_t *thread)
{
    size_t index;
    const json_t *frame;
    json_array_foreach(json_object_get(thread, "frames"), index, frame)
    {
        if (is_python(frame))
            return frame;
    }
    return NULL;
}

/* Is one of the functions among the native frames that the innermost Python frame has called? */
static const char *find_function(const json_t *thread, const char *const *functions, size_t count)
{
    size_t index;
    const json_t *frame;
    json_array_foreach(native_rows(thread), index, frame)
    {
        const char *function = text_of(frame, "function");
        if (is_python(frame))
            break;
        for (size_t n = 0; function != NULL && n < count; n++) {
            if (strcmp(function, functions[n]) == 0)
                return functions[n];
        }
    }
    return NULL;
}

#define FIND_FUNCTION(thread, functions) find_function(thread, functions, sizeof(functions) / sizeof(functions)[0])

/* ---- Aborted ---- */

static bool is_of_allocator(const char *message)
{
    static const char *const parts[] = {"free()",      "malloc",   "realloc()", "calloc",  "memalign",
                                        "double free", "corrupt",  "unsorted",  "tcache",  "fastbin",
                                        "chunk",       "top size", "smallbin",  "largebin"};
    for (size_t n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        if (strstr(message, parts[n]) != NULL)
            return true;
    }
    return false;
}

static bool judge_message(const char *message, struct finding *finding)
{
    if (message == NULL || *message == '\0')
        return false;
    (void)snprintf(finding->evidence, sizeof finding->evidence, "the C library said: %s", message);
    if (strstr(message, "ssertion") != NULL) {
        finding->cause = "assertion";
        (void)snprintf(finding->words, sizeof finding->words, "An assertion failed: %s", message);
    } else if (strstr(message, "stack smashing") != NULL || strstr(message, "buffer overflow") != NULL) {
        finding->cause = "abort";
        (void)snprintf(finding->words, sizeof finding->words, "A buffer was written to beyond its end: %s", message);
    } else if (is_of_allocator(message)) {
        finding->cause = "heap_corruption";
        (void)snprintf(finding->words, sizeof finding->words, "The allocator found the heap damaged: %s", message);
    } else {
        return false;
    }
    return true;
}

static bool judge_functions(const json_t *thread, struct finding *finding)
{
    /* Where the C++ library is stripped only these have names. What they throw is on its way as long as they stand. */
    static const char *const terminate[] = {"_ZSt9terminatev", "_ZN10__cxxabiv111__terminateEPFvvE", "__cxa_throw",
                                            "__cxa_rethrow", "__gxx_personality_v0"};
    static const char *const fatal[] = {"fatal_error", "Py_FatalError", "_Py_FatalErrorFunc", "_Py_FatalErrorFormat",
                                        "fatal_error_exit"};
    static const char *const assertion[] = {"__assert_fail", "__assert_fail_base", "__assert_perror_fail"};
    static const char *const allocator[] = {"malloc_printerr", "free",     "cfree",     "malloc",     "realloc",
                                            "calloc",          "memalign", "_int_free", "_int_malloc"};
    const struct {
        const char *function;
        const char *cause;
        const char *words;
    } verdicts[] = {
        {FIND_FUNCTION(thread, terminate), "uncaught_exception", "A C++ exception was not caught"},
        {FIND_FUNCTION(thread, fatal), "python_fatal_error", "The interpreter met a fatal error"},
        {FIND_FUNCTION(thread, assertion), "assertion", "An assertion failed"},
        {FIND_FUNCTION(thread, allocator), "heap_corruption", "The allocator found the heap damaged"},
    };
    for (size_t n = 0; n < sizeof verdicts / sizeof verdicts[0]; n++) {
        if (verdicts[n].function == NULL)
            continue;
        finding->cause = verdicts[n].cause;
        (void)snprintf(finding->words, sizeof finding->words, "%s", verdicts[n].words);
        (void)snprintf(finding->evidence, sizeof finding->evidence, "%s is on the stack of the thread that aborted",
                       verdicts[n].function);
        return true;
    }
    return false;
}

/* ---- The sentence ---- */

static void put_signal(const json_t *document, char *text, size_t size)
{
    const json_t *signal = json_object_get(document, "signal");
    const char *name = text_of(signal, "name");
    const char *address = text_of(signal, "address");
    if (name != NULL)
        (void)snprintf(text, size, " (%s%s%s)", name, address != NULL ? " at " : "", address != NULL ? address : "");
}

static void put_place(const json_t *thread, char *text, size_t size)
{
    const json_t *python = innermost_python(thread);
    const char *function = text_of(python, "qualname") != NULL ? text_of(python, "qualname") : text_of(python, "name");
    const char *file = base_name(text_of(python, "filename"));
    json_int_t line = json_integer_value(json_object_get(python, "lineno"));
    if (function != NULL && file != NULL && line > 0)
        (void)snprintf(text, size, " while its Python code was in %s (%s:%lld)", function, file, (long long)line);
    else if (function != NULL)
        (void)snprintf(text, size, " while its Python code was in %s", function);
}

static void set_diagnosis(json_t *document, const json_t *thread, const struct finding *finding)
{
    char signal[64] = "";
    char place[1024] = "";
    json_t *diagnosis = json_object_get(document, "diagnosis");
    put_signal(document, signal, sizeof signal);
    put_place(thread, place, sizeof place);
    json_t *sentence = json_sprintf("%s%s%s.", finding->words, signal, place);
    if (sentence == NULL) /* cut within a character */
        sentence = json_sprintf("%s%s.", finding->cause, signal);
    (void)json_object_set_new(diagnosis, "cause", json_string(finding->cause));
    (void)json_object_set_new(diagnosis, "sentence", sentence);
}

static void add_evidence(json_t *document, const char *text)
{
    json_t *evidence = json_object_get(json_object_get(document, "diagnosis"), "evidence");
    if (*text != '\0')
        (void)json_array_append_new(evidence, json_string(text));
}

static void tell_innermost(json_t *document, const json_t *thread)
{
    char text[512];
    const json_t *frame = json_array_get(native_rows(thread), 0);
    const char *kind = text_of(frame, "kind");
    const char *function = text_of(frame, "function");
    const char *module = base_name(text_of(frame, "module"));
    const char *address = text_of(frame, "address");
    if (kind == NULL || strcmp(kind, "native") != 0)
        return;
    /* Where the fault's registers were not to be had, the stack begins in the handler. */
    if (!json_is_object(json_object_get(document, "registers")))
        return;
    if (module == NULL)
        (void)snprintf(text, sizeof text, "the processor was at %s, in no file", address != NULL ? address : "?");
    else if (function != NULL)
        (void)snprintf(text, sizeof text, "the processor was in %s of %s", function, module);
    else
        (void)snprintf(text, sizeof text, "the processor was in %s", module);
    add_evidence(document, text);
}

/* ---- All ---- */

static bool judge(const json_t *document, const json_t *thread, const char *maps, const char *abort_message,
                  struct finding *finding)
{
    const json_t *signal = json_object_get(document, "signal");
    json_int_t number = json_integer_value(json_object_get(signal, "number"));
    struct stack_overflow overflow;
    if (number == SIGABRT)
        return judge_functions(thread, finding) ? (judge_message(abort_message, finding), true)
                                                : judge_message(abort_message, finding);
    if ((number == SIGSEGV || number == SIGBUS) && stack_overflow_find(document, maps, &overflow)) {
        finding->cause = "stack_overflow";
        (void)snprintf(finding->words, sizeof finding->words, "The stack overflowed");
        (void)snprintf(finding->evidence, sizeof finding->evidence,
                       "the stack pointer is %s, and the stack of %llu KiB begins at %s", overflow.pointer,
                       overflow.size >> 10, overflow.begin);
        return true;
    }
    return false;
}

void crash_diagnose(json_t *document, const char *maps, const char *abort_message)
{
    struct finding finding = {0};
    const json_t *thread = crashed_thread(document);
    if (thread != NULL && json_is_object(json_object_get(document, "signal"))) {
        if (judge(document, thread, maps, abort_message, &finding)) {
            set_diagnosis(document, thread, &finding);
            add_evidence(document, finding.evidence);
        }
        tell_innermost(document, thread);
        if (finding.cause != NULL && strcmp(finding.cause, "python_fatal_error") == 0)
            (void)json_object_set_new(document, "fatal_error", json_pack("{s:n}", "message"));
    }
    json_t *fingerprint = crash_fingerprint(document);
    (void)json_object_set_new(document, "fingerprint", fingerprint != NULL ? fingerprint : json_null());
}
