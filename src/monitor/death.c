/*
 * Write the reports that no handler could write.
 */
#include "death.h"

#include "crash_document.h"
#include "crash_options.h"
#include "crash_snapshot.h"
#include "deliver.h"
#include "finish.h"
#include "memory_kill.h"
#include "process_figures.h"
#include "report_file.h"
#include "report_folder.h"
#include "report_name.h"
#include "signal_names.h"
#include "trace.h"
#include "tree.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Others end a program because it, or who runs it, wants it to (signal(7)). */
static bool is_of_interest(int signal)
{
    static const int deaths[] = {SIGKILL, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
    for (size_t n = 0; n < sizeof deaths / sizeof deaths[0]; n++) {
        if (deaths[n] == signal)
            return true;
    }
    return false;
}

/* ---- What is in the folder ---- */

/* Its own sidecar, which has become a child of the monitor by the process's end. */
static bool sidecar_lives(const struct watched *process)
{
    pid_t *pids = NULL;
    size_t count = 0;
    bool lives = false;
    char pid[32];
    (void)snprintf(pid, sizeof pid, "%d", (int)process->inner_pid);
    bool good = tree_find(getpid(), &pids, &count);
    for (size_t n = 1; good && n < count && !lives; n++) {
        char path[64];
        size_t size = 0;
        (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pids[n]);
        char *text = read_whole_file(path, &size);
        /* pyunwind collect process|journal PID */
        const char *words[4] = {NULL};
        const char *at = text;
        for (size_t word = 0; text != NULL && word < 4 && at < text + size; word++, at += strlen(at) + 1)
            words[word] = at;
        lives = words[3] != NULL && strcmp(words[1], "collect") == 0 && strcmp(words[3], pid) == 0;
        free(text);
    }
    free(pids);
    return lives;
}

/* Is the finished report of this death? One may be of a moment long before that the process went on after. */
static bool tells_of(int dir_fd, const struct report_entry *entry, int signal)
{
    const int shortly = 30;
    char message[256];
    struct report_file file;
    if (!report_file_load(dir_fd, entry->file, &file, message, sizeof message))
        return false;
    const json_t *of = json_object_get(file.document, "signal");
    bool same = json_integer_value(json_object_get(of, "number")) == signal;
    bool recent = json_is_object(of) && entry->name.seconds + shortly >= time(NULL);
    report_file_free(&file);
    return same || recent;
}

struct traces {
    bool finished;
    char partial[REPORT_NAME_SIZE + 16]; /* the newest; "": none */
};

static struct traces find_traces(const struct death *death)
{
    struct traces traces = {0};
    struct report_folder folder;
    /* Names hold whole seconds, and the clock may have been set a little. */
    time_t from = death->process->first_seen - (time_t)death->process->info.uptime - 1;
    if (!report_folder_open(crash_option("PYUNWIND_REPORT_DIR"), true, &folder))
        return traces;
    for (size_t n = 0; n < folder.count && !traces.finished; n++) {
        const struct report_entry *entry = &folder.entries[n];
        if (entry->name.pid != death->process->inner_pid || entry->name.seconds < from)
            continue;
        if (entry->name.kind == REPORT_FINISHED)
            traces.finished = tells_of(folder.fd, entry, death->signal);
        else if (entry->name.kind == REPORT_PARTIAL && traces.partial[0] == '\0')
            (void)snprintf(traces.partial, sizeof traces.partial, "%s", entry->file);
    }
    report_folder_close(&folder);
    return traces;
}

/* ---- The document ---- */

static void add_text(json_t *document, const char *list, json_t *text)
{
    if (text != NULL)
        (void)json_array_append_new(json_object_get(document, list), text);
}

static json_t *uptime_of(const struct process_info *info)
{
    struct timespec now;
    if (info->start == 0 || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return json_null();
    double seconds =
        (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)info->start / (double)sysconf(_SC_CLK_TCK);
    return json_real(seconds > 0 ? seconds : 0);
}

/* Memory is what it was when the process was last seen; the peak is the kernel's own, from its end. */
static void take_memory(json_t *document, const struct death *death)
{
    json_t *memory = json_object_get(death->process->figures, "memory");
    json_t *group = control_group_memory(death->process->info.control_group);
    if (!json_is_object(memory)) {
        json_decref(group);
        return;
    }
    memory = json_deep_copy(memory);
    (void)json_object_update(memory, group);
    json_decref(group);
    if (death->usage != NULL && death->usage->ru_maxrss > 0) {
        json_int_t peak = (json_int_t)death->usage->ru_maxrss * 1024;
        if (peak > json_integer_value(json_object_get(memory, "peak")))
            (void)json_object_set_new(memory, "peak", json_integer(peak));
    }
    (void)json_object_set_new(document, "memory", memory);
}

/* What was seen of the process while it lived, where the document does not know. */
static void take_figures(json_t *document, const struct death *death)
{
    static const char *const keys[] = {"ppid",   "command",      "executable", "working_directory",
                                       "cgroup", "container_id", "limits"};
    const struct watched *process = death->process;
    for (size_t n = 0; n < sizeof keys / sizeof keys[0]; n++) {
        json_t *value = json_object_get(process->figures, keys[n]);
        bool secret = strcmp(keys[n], "command") == 0 && !crash_option_is_set("PYUNWIND_COMMAND", true);
        if (value != NULL && !secret && json_is_null(json_object_get(document, keys[n])))
            (void)json_object_set(document, keys[n], value);
    }
    if (json_is_null(json_object_get(document, "uptime")))
        (void)json_object_set_new(document, "uptime", uptime_of(&process->info));
    if (json_is_null(json_object_get(document, "memory")))
        take_memory(document, death);
}

static bool deliver(const struct monitor_wish *wish, json_t *document, const char *base, const char *partial)
{
    const int64_t for_hook = 1000 * (int64_t)crash_option_number("PYUNWIND_TIME_LIMIT", 10);
    const struct delivery delivery = {
        .folder = wish->folder,
        .base = base,
        .done = partial,
        .output = wish->output,
        .standard_error = crash_option_is_set("PYUNWIND_TEXT", false) ? STDERR_FILENO : -1,
        .deadline = deliver_now() + for_hook,
    };
    return report_deliver(&delivery, document);
}

/* ---- An unfinished report ---- */

static bool finish_partial(const struct monitor_wish *wish, const struct death *death, const char *partial)
{
    size_t size = 0;
    struct report_name name;
    char base[REPORT_NAME_SIZE];
    char left_over[REPORT_NAME_SIZE + 16];
    char *bytes = report_file_read(wish->folder, partial, &size);
    json_t *document = bytes != NULL ? report_from_partial(bytes, size) : NULL;
    free(bytes);
    if (document == NULL || !report_name_parse(partial, &name)) {
        json_decref(document);
        return false;
    }
    report_name_base(&name, base);
    (void)snprintf(left_over, sizeof left_over, ".%s.json.tmp", base);
    (void)unlinkat(wish->folder, left_over, 0);
    take_figures(document, death);
    bool good = deliver(wish, document, base, partial);
    json_decref(document);
    return good;
}

/* ---- A report of what was seen ---- */

static json_t *bare_document(const struct death *death)
{
    char time_text[64];
    char whole[96];
    struct tm utc;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(whole, sizeof whole, "%s.%06ldZ", time_text, now.tv_nsec / 1000);
    json_t *record = json_pack("{s:s, s:s, s:i, s:n, s:n, s:{s:i, s:n, s:n, s:n}, s:b, s:n}",   //
                               "schema", "pyunwind.fault/1", "time", whole,                     //
                               "pid", (int)death->process->inner_pid, "native_id", "thread_id", //
                               "signal", "number", death->signal, "code", "address", "sender",  //
                               "recovered", 0, "registers");
    char *line = record != NULL ? json_dumps(record, JSON_COMPACT) : NULL;
    json_t *document = line != NULL ? report_from_partial(line, strlen(line)) : NULL;
    free(line);
    json_decref(record);
    if (document == NULL)
        return NULL;
    /* Nothing was there to be saved, and which of its threads was at work when it ended is not known. */
    (void)json_array_clear(json_object_get(document, "notes"));
    (void)json_array_clear(json_object_get(document, "threads"));
    return document;
}

static void tell_passed_on(const struct death *death, json_t *evidence)
{
    const struct passed_on *passed_on = death->passed_on;
    if (passed_on == NULL || passed_on->signal == 0)
        return;
    const char *name = signal_name(passed_on->signal);
    (void)json_array_append_new(
        evidence, json_sprintf("%s, sent by process %d of user %u, had been passed on to it %.1f seconds before",
                               name != NULL ? name : "a signal", (int)passed_on->pid, (unsigned)passed_on->uid,
                               (double)(deliver_now() - passed_on->when) / 1000));
}

static void diagnose(json_t *document, const struct death *death)
{
    json_t *diagnosis = json_object_get(document, "diagnosis");
    json_t *evidence = json_object_get(diagnosis, "evidence");
    const char *name = signal_name(death->signal);
    const char *cause = NULL;
    const char *words = NULL;
    if (death->signal == SIGKILL && memory_kill_find(death->process, evidence)) {
        cause = "out_of_memory";
        words = "The kernel killed the process for want of memory";
    } else if (death->signal == SIGKILL) {
        cause = "killed";
        words = "The process was killed";
        (void)json_array_append_new(evidence, json_string("the kernel does not tell who sent the signal"));
    } else if (death->signal == SIGABRT) {
        cause = "abort";
        words = "The process aborted";
    } else if (death->signal == SIGXCPU) {
        cause = "sent_signal";
        words = "The process used more processor time than its limit";
    } else if (death->signal == SIGXFSZ) {
        cause = "sent_signal";
        words = "The process wrote a file beyond the limit of its size";
    }
    if (death->signal != SIGKILL && death->signal != SIGXCPU && death->signal != SIGXFSZ)
        (void)json_array_append_new(
            evidence,
            json_string("no handler of pyunwind's saw the signal: the program has set another, or the process "
                        "runs without the preloaded library"));
    tell_passed_on(death, evidence);
    if (cause == NULL)
        return;
    (void)json_object_set_new(diagnosis, "cause", json_string(cause));
    (void)json_object_set_new(diagnosis, "sentence", json_sprintf("%s (%s).", words, name != NULL ? name : "?"));
}

static bool write_report(const struct monitor_wish *wish, const struct death *death)
{
    char base[REPORT_NAME_SIZE];
    const struct report_name name = {.seconds = time(NULL), .pid = death->process->inner_pid};
    json_t *document = bare_document(death);
    if (document == NULL)
        return false;
    take_figures(document, death);
    add_text(document, "notes",
             json_string("There are no stacks: a process that has ended cannot be read any more. This is what was seen "
                         "of it before, once a second at most, and what the kernel tells of its end."));
    if (!wish->trace_kills)
        add_text(document, "notes",
                 json_string("`pyunwind run --trace-kills` reads the stacks of a process before its end."));
    diagnose(document, death);
    report_name_base(&name, base);
    bool good = deliver(wish, document, base, NULL);
    json_decref(document);
    return good;
}

/* ---- A report of a process that stands before its end ---- */

static bool is_unseen(const struct death *death)
{
    const struct traces traces = find_traces(death);
    return !traces.finished && traces.partial[0] == '\0';
}

/* The memory that it had: of the last look at it, unless it has more now; after an OOM kill it has less from now on. */
static void keep_memory(const struct watched *process)
{
    json_t *before = json_object_get(process->figures, "memory");
    json_t *now = process_memory(process->pid);
    json_int_t resident = json_integer_value(json_object_get(now, "resident"));
    if (json_is_object(now) && resident >= json_integer_value(json_object_get(before, "resident")))
        (void)json_object_set(process->figures, "memory", now);
    json_decref(now);
}

static struct crash_wish wish_of(const struct watched *process)
{
    return (struct crash_wish){
        .thread = process->pid,
        .target = process->has_target ? &process->target : NULL,
        .native = crash_option_is_set("PYUNWIND_NATIVE", true),
        .locals = crash_option_is_set("PYUNWIND_LOCALS", false),
    };
}

/* Of one that is killed for want of memory nothing is there any more after two seconds, and before this process may
 * have to wait for every page: its stacks come first. */
bool death_read(const struct death *death, struct crash_snapshot *crash)
{
    struct crash_wish wish = wish_of(death->process);
    bool killed = death->signal == SIGKILL;
    if (!death->process->is_python || !is_of_interest(death->signal) || (!killed && !is_unseen(death)))
        return false;
    if (wish.native)
        wish.context = trace_save_registers(wish.thread, &wish.thread_pointer);
    crash_snapshot_read_ending(wish.thread, &wish, crash);
    keep_memory(death->process);
    if (!killed || is_unseen(death))
        return true;
    crash_snapshot_free(crash);
    return false;
}

/* What has been taken back reads as zeros: an interpreter that was there looks as if it were not initialized. */
static void tell_of_lost_memory(json_t *document, const struct death *death, const struct crash_snapshot *crash)
{
    if (death->process->has_target && crash->snapshot.list_error < 0)
        (void)json_array_append_new(json_object_get(document, "notes"),
                                    json_string("The kernel had taken its memory back before it was read."));
}

bool death_tell_read(const struct monitor_wish *wish, const struct death *death, struct crash_snapshot *crash)
{
    char base[REPORT_NAME_SIZE];
    const struct report_name name = {.seconds = time(NULL), .pid = death->process->inner_pid};
    json_t *document = bare_document(death);
    crash_snapshot_describe_ending(crash);
    bool good =
        document != NULL && crash_document_complete(document, crash, crash_option_is_set("PYUNWIND_COMMAND", true));
    if (good) {
        (void)json_object_set_new(document, "memory", json_null());
        take_figures(document, death);
        diagnose(document, death);
        tell_of_lost_memory(document, death, crash);
        report_name_base(&name, base);
        good = deliver(wish, document, base, NULL);
    }
    json_decref(document);
    return good;
}

void death_rehearse(const struct watched *process)
{
    struct crash_snapshot crash;
    struct crash_wish wish = wish_of(process);
    wish.context = wish.native ? 1 : 0; /* where nothing is: its stack is walked no further */
    crash_snapshot_read_ending(process->pid, &wish, &crash);
    crash_snapshot_free(&crash);
}

enum death_told death_told(const struct death *death)
{
    const struct traces traces = find_traces(death);
    if (traces.finished)
        return DEATH_IS_TOLD;
    if (sidecar_lives(death->process))
        return DEATH_IN_WORK;
    if (traces.partial[0] != '\0' || (death->process->is_python && is_of_interest(death->signal)))
        return DEATH_UNTOLD;
    return DEATH_IS_TOLD;
}

bool death_tell(const struct monitor_wish *wish, const struct death *death)
{
    const struct traces traces = find_traces(death);
    if (traces.finished)
        return true;
    if (traces.partial[0] != '\0')
        return finish_partial(wish, death, traces.partial);
    return !death->process->is_python || !is_of_interest(death->signal) || write_report(wish, death);
}
