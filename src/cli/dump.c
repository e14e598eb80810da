/*
 * pyunwind dump: the stacks of all threads of running processes.
 */
#include "cli.h"
#include "complain.h"
#include "document.h"
#include "dump_output.h"
#include "native_stacks.h"
#include "tree.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dump_options {
    bool json;
    bool pause;
    bool native; /* for which each is stopped, where it can be */
    bool children;
    bool locals;
    const char *output; /* NULL: standard output */
    pid_t *pids;
    int count;
};

static const char documentation[] =
    "Print the Python stack of every thread of running processes, innermost frame first; what could not be settled "
    "because a thread ran on is said.\v"
    "A process is read that the ptrace access check of the kernel lets this user read: mostly one's own, or any as "
    "root.\n"
    "\n"
    "Exit status: 0 all were read, 1 some could not be (each is named, with the reason), 2 wrong usage.\n"
    "NO_COLOR in the environment: no colour on a terminal.";

static const struct argp_option option_list[] = {
    {"children", 'c', NULL, 0, "Read the Python processes below each, too", 0},
    {"json", 'j', NULL, 0, "Write one JSON document (docs/dump.md)", 0},
    {"locals", 'l', NULL, 0, "Tell arguments and locals, which may hold secrets", 0},
    {"native", 'n', NULL, 0, "Native frames, too; stops each as --pause does", 0},
    {"pause", 'p', NULL, 0, "Stop each while it is read (5 s at most): exact", 0},
    {"output", 'o', "FILE", 0, "Write to FILE instead of standard output", 0},
    {0},
};

static pid_t parse_pid(const char *text)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    bool good = errno == 0 && end != text && *end == '\0' && text[0] != '+' && value > 0 && value <= INT_MAX;
    return good ? (pid_t)value : 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct dump_options *options = state->input;
    switch (key) {
    case 'c':
        options->children = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'l':
        options->locals = true;
        return 0;
    case 'n':
        options->native = true;
        return 0;
    case 'p':
        options->pause = true;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        options->pids[options->count] = parse_pid(argument);
        if (options->pids[options->count] == 0)
            argp_error(state, "not a process id: %s", argument);
        options->count++;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no process id given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void complain(const char *what, const char *why)
{
    complain_as("pyunwind dump", what, why);
}

/* ---- Processes ---- */

struct numbers {
    pid_t *list;
    size_t count;
};

struct dump {
    const struct dump_options *options;
    FILE *out;
    bool coloured;
    int written;
    int write_error; /* errno of the first that failed; 0: none did */
    int status;
    struct numbers seen;     /* with children: each process is dumped once */
    struct numbers left_out; /* with children: those that are not Python */
};

/* One of the processes that are read together. */
struct member {
    pid_t pid;
    struct standing standing;
    bool good;
    struct snapshot snapshot;
    char message[1024]; /* where it is not good, or without native stacks */
    int not_stopped;    /* 0, or why it is read while it runs, though native stacks were asked for */
    char why[1024];     /* the same in words */
};

struct members {
    struct member *list; /* a parent before its children */
    size_t count;
};

/* Is anything missing? message: of the reading. */
static bool complain_of_part(const struct snapshot *snapshot, const char *message)
{
    char why[256];
    if (snapshot->native_error < 0)
        complain("without native stacks", message);
    if (snapshot->list_error == 0)
        return snapshot->native_error < 0;
    (void)snprintf(why, sizeof why, "process %d: there may be more threads, the list of which could not be read: %s",
                   (int)snapshot->info.pid, pyunw_strerror(snapshot->list_error));
    complain("", why);
    return true;
}

static bool stops(const struct dump_options *options)
{
    return options->pause || options->native;
}

static void add_member(const struct dump *dump, struct members *members, pid_t pid)
{
    struct member *grown = realloc(members->list, (members->count + 1) * sizeof *grown);
    if (grown == NULL)
        return;
    members->list = grown;
    struct member *member = &grown[members->count++];
    *member = (struct member){.pid = pid};
    if (!stops(dump->options))
        return;
    int err = standing_begin(pid, &member->standing, member->message, sizeof member->message);
    member->standing.native = dump->options->native;
    /* Native stacks are only those of a process that stands; Python's can be had all the same. */
    if (err < 0 && !dump->options->pause) {
        member->not_stopped = err;
        memcpy(member->why, member->message, sizeof member->why);
    } else {
        member->snapshot.error = err;
    }
}

static bool is_member(const struct members *members, pid_t pid)
{
    for (size_t n = 0; n < members->count; n++) {
        if (members->list[n].pid == pid)
            return true;
    }
    return false;
}

static bool was_seen(const struct dump *dump, pid_t pid)
{
    for (size_t n = 0; n < dump->seen.count; n++) {
        if (dump->seen.list[n] == pid)
            return true;
    }
    return false;
}

/* Bring the members into the order of the tree. */
static void sort_members(struct members *members, const pid_t *pids, size_t count)
{
    size_t placed = 0;
    for (size_t n = 0; n < count; n++) {
        for (size_t at = placed; at < members->count; at++) {
            if (members->list[at].pid != pids[n])
                continue;
            struct member moved = members->list[at];
            memmove(&members->list[placed + 1], &members->list[placed], (at - placed) * sizeof moved);
            members->list[placed++] = moved;
            break;
        }
    }
}

/* How many were found that are no members yet. The own process is not read. */
static size_t add_tree(struct dump *dump, struct members *members, pid_t pid)
{
    pid_t *pids = NULL;
    size_t count = 0;
    size_t before = members->count;
    if (!tree_find(pid, &pids, &count)) {
        complain("/proc", strerror(errno));
        dump->status = CLI_INCOMPLETE;
    }
    for (size_t n = 0; n < count; n++) {
        if (pids[n] != getpid() && !is_member(members, pids[n]) && !was_seen(dump, pids[n]))
            add_member(dump, members, pids[n]);
    }
    sort_members(members, pids, count);
    free(pids);
    return members->count - before;
}

/* Those that stand start no others; those that run may go on to. */
static void find_members(struct dump *dump, struct members *members, pid_t pid)
{
    enum { LOOKS = 64 };
    if (!dump->options->children) {
        add_member(dump, members, pid);
        return;
    }
    int looks = stops(dump->options) ? LOOKS : 1;
    while (add_tree(dump, members, pid) > 0 && --looks > 0) {
    }
}

static void read_member(struct member *member, bool with_locals)
{
    member->good = snapshot_read(member->pid, &member->standing, with_locals, &member->snapshot, member->message,
                                 sizeof member->message);
    if (!member->good || member->not_stopped == 0)
        return;
    member->snapshot.native_error = member->not_stopped;
    memcpy(member->message, member->why, sizeof member->message);
}

/* All run on before anything of them is written: the output may be what one of them is to empty. */
static void read_members(const struct dump *dump, struct members *members)
{
    for (size_t n = 0; n < members->count; n++) {
        struct member *member = &members->list[n];
        if (member->snapshot.error == 0)
            read_member(member, dump->options->locals);
    }
    for (size_t n = 0; n < members->count; n++) {
        struct member *member = &members->list[n];
        if (member->standing.pause == NULL) {
            process_info_free(&member->standing.before);
        } else if (!standing_end(&member->standing, member->message, sizeof member->message)) {
            member->good = false;
            member->snapshot.error = PYUNW_ERR_TORN;
        }
    }
    /* Symbols and debuginfo are read while they run again. */
    for (size_t n = 0; n < members->count; n++)
        native_stacks_describe(&members->list[n].snapshot);
}

static void write_member(struct dump *dump, const struct member *member)
{
    if (dump->options->json)
        dump_json_process(dump->out, &member->snapshot, dump->written == 0);
    else
        dump_text_process(dump->out, &member->snapshot, dump->written == 0, dump->coloured);
    dump->written++;
    bool failed = fflush(dump->out) != 0 || ferror(dump->out) != 0;
    if (failed && dump->write_error == 0)
        dump->write_error = errno;
    if (complain_of_part(&member->snapshot, member->message))
        dump->status = CLI_INCOMPLETE;
}

/* In a tree some are not Python, and some end. But of a tree without any Python, or a single process, that is told. */
static bool may_be_left_out(const struct dump *dump, const struct members *members, const struct member *member)
{
    bool has_good = false;
    for (size_t n = 0; n < members->count; n++)
        has_good |= members->list[n].good;
    bool is_below = dump->options->children && (has_good || member != &members->list[0]);
    return is_below &&
           (member->snapshot.error == PYUNW_ERR_NO_PYTHON || member->snapshot.error == PYUNW_ERR_NO_PROCESS);
}

static void remember(struct numbers *numbers, pid_t pid)
{
    pid_t *grown = realloc(numbers->list, (numbers->count + 1) * sizeof *grown);
    if (grown == NULL)
        return;
    numbers->list = grown;
    numbers->list[numbers->count++] = pid;
}

/* All of them: a list that ends early would be of others. */
static void complain_of_left_out(const struct numbers *left_out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *list = left_out->count > 0 ? open_memstream(&text, &size) : NULL;
    for (size_t n = 0; list != NULL && n < left_out->count; n++)
        (void)fprintf(list, "%s%d", n > 0 ? ", " : "", (int)left_out->list[n]);
    if (list != NULL && fclose(list) == 0)
        complain("left out, since they are not Python", text);
    free(text);
}

static void dump_process(struct dump *dump, pid_t pid)
{
    struct members members = {0};
    find_members(dump, &members, pid);
    read_members(dump, &members);
    for (size_t n = 0; n < members.count; n++) {
        struct member *member = &members.list[n];
        if (member->good) {
            write_member(dump, member);
        } else if (may_be_left_out(dump, &members, member)) {
            if (member->snapshot.error == PYUNW_ERR_NO_PYTHON)
                remember(&dump->left_out, member->pid);
        } else {
            complain("", member->message);
            dump->status = CLI_INCOMPLETE;
        }
        remember(&dump->seen, member->pid);
    }
    for (size_t n = 0; n < members.count; n++)
        snapshot_free(&members.list[n].snapshot);
    free(members.list);
}

/* Each piece is a system call, as is each large block that is mapped for itself. */
static void grow_heap_by_large_pieces(void)
{
    (void)mallopt(M_TOP_PAD, 1 << 20);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 24);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 24);
}

static int dump_all(const struct dump_options *options)
{
    static char buffer[1 << 18]; /* of the output, which is long where there are many threads */
    struct dump dump = {.options = options, .out = document_open(options->output), .status = CLI_OK};
    if (dump.out == NULL) {
        complain(options->output, strerror(errno));
        return CLI_INCOMPLETE;
    }
    grow_heap_by_large_pieces();
    (void)setvbuf(dump.out, buffer, _IOFBF, sizeof buffer);
    dump.coloured = document_wants_colour(dump.out);
    if (options->json)
        dump_json_begin(dump.out);
    for (int n = 0; n < options->count; n++)
        dump_process(&dump, options->pids[n]);
    if (options->json)
        dump_json_end(dump.out);
    complain_of_left_out(&dump.left_out);
    free(dump.seen.list);
    free(dump.left_out.list);
    if (!document_close(dump.out)) {
        complain(options->output != NULL ? options->output : "standard output",
                 strerror(dump.write_error != 0 ? dump.write_error : errno));
        return CLI_INCOMPLETE;
    }
    return dump.status;
}

int cli_dump(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "PID...", documentation, NULL, NULL, NULL};
    struct dump_options options = {.pids = calloc((size_t)argc + 1, sizeof *options.pids)};
    int status = CLI_USAGE;
    if (options.pids == NULL)
        complain("", strerror(errno));
    else if (argp_parse(&argp, argc, argv, 0, NULL, &options) == 0)
        status = dump_all(&options);
    free(options.pids);
    return status;
}
