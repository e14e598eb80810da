/*
 * pyunwind core: the stacks of all threads in a core file.
 */
#include "cli.h"
#include "complain.h"
#include "core_snapshot.h"
#include "document.h"
#include "dump_output.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

struct core_options {
    const char *core;
    const char *executable;
    const char *sysroot;
    const char *debug_dir;
    const char *output; /* NULL: standard output */
    bool json;
    struct core_wish wish;
};

enum { KEY_SYSROOT = 0x100, KEY_DEBUG_DIR };

static const char documentation[] =
    "Print the Python stack of every thread in a core file, innermost frame first, the thread that crashed before all "
    "others. CORE may be compressed (zstd, lz4, gzip), or truncated.\v"
    "The files that the process had mapped are needed, with the core's build ids. EXE is read in place of the "
    "executable that the core names.\n"
    "\n"
    "Exit status: 0 all was read, 1 something is missing (it is said what), 2 wrong usage.";

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Write one JSON document (docs/core.md)", 0},
    {"locals", 'l', NULL, 0, "Tell arguments and locals, which may hold secrets", 0},
    {"native", 'n', NULL, 0, "Native frames, too, and threads of no Python", 0},
    {"output", 'o', "FILE", 0, "Write to FILE instead of standard output", 0},
    {"sysroot", KEY_SYSROOT, "DIR", 0, "Look for the mapped files below DIR", 0},
    {"debug-dir", KEY_DEBUG_DIR, "DIR", 0, "Look for .build-id/xx/yyyy below DIR, too", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct core_options *options = state->input;
    switch (key) {
    case 'j':
        options->json = true;
        return 0;
    case 'l':
        options->wish.locals = true;
        return 0;
    case 'n':
        options->wish.native = true;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case KEY_SYSROOT:
        options->sysroot = argument;
        return 0;
    case KEY_DEBUG_DIR:
        options->debug_dir = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (options->core == NULL)
            options->core = argument;
        else if (options->executable == NULL)
            options->executable = argument;
        else
            argp_error(state, "more than a core file and an executable: %s", argument);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no core file given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void complain(const char *what, const char *why)
{
    complain_as("pyunwind core", what, why);
}

/* ---- What is missing ---- */

/* Is anything of the core itself missing? */
static bool complain_of_core(const struct core_options *options, const pyunw_core *core)
{
    pyunw_core_info info;
    char why[256];
    if (pyunw_core_describe(core, &info) < 0)
        return false;
    if (info.is_cut) {
        (void)snprintf(why, sizeof why, "its %s stream ends early, or is damaged: %" PRIu64 " bytes could be unpacked",
                       info.packed, info.size);
        complain(options->core, why);
    }
    if (info.missing > 0) {
        (void)snprintf(why, sizeof why,
                       "truncated: %" PRIu64 " of the bytes that it should hold are missing, from offset %" PRIu64
                       " on; what was in them is not shown",
                       info.missing, info.missing_from);
        complain(options->core, why);
    }
    if (info.thread_count == 0)
        complain(options->core, "it tells of no thread: neither a signal nor native frames are known");
    return info.is_cut || info.missing > 0 || info.thread_count == 0;
}

/* After all has been read: did a disk fail meanwhile? */
static bool complain_of_reading(const struct core_options *options, const pyunw_core *core)
{
    pyunw_core_info info;
    char why[256];
    if (pyunw_core_describe(core, &info) < 0 || info.read_error == 0)
        return false;
    (void)snprintf(why, sizeof why,
                   "it, or a file that was mapped, could not be read everywhere: %s; what was there may be missing",
                   strerror(info.read_error));
    complain(options->core, why);
    return true;
}

static void complain_of_file(const pyunw_core_file *file)
{
    char why[256];
    (void)snprintf(why, sizeof why, "not the file that was mapped, and not used: its build id is %s, in the core %s",
                   file->found_build_id[0] != '\0' ? file->found_build_id : "none",
                   file->build_id[0] != '\0' ? file->build_id : "none");
    complain(file->found != NULL ? file->found : file->path, why);
}

static bool has_files(const pyunw_core *core)
{
    pyunw_core_file file;
    for (size_t n = 0; pyunw_core_file_at(core, n, &file) == 0; n++) {
        if (file.state == PYUNW_CORE_FILE_DIFFERS || (file.state == PYUNW_CORE_FILE_MISSING && file.begin != 0))
            return false;
    }
    return true;
}

static void complain_of_files(const pyunw_core *core, bool is_whole)
{
    enum { MANY = 4 };
    pyunw_core_file file;
    int differs = 0;
    int missing = 0;
    for (size_t n = 0; pyunw_core_file_at(core, n, &file) == 0; n++) {
        missing += file.state == PYUNW_CORE_FILE_MISSING && file.begin != 0;
        if (file.state == PYUNW_CORE_FILE_DIFFERS && ++differs <= MANY)
            complain_of_file(&file);
    }
    if (differs > MANY)
        (void)fprintf(stderr, "pyunwind core: nor were %d others\n", differs - MANY);
    if (missing > 0 && !is_whole)
        (void)fprintf(stderr,
                      "pyunwind core: %d of the files that were mapped are not here: --sysroot and --debug-dir say "
                      "where they are\n",
                      missing);
}

/* A native stack may be cut without anything missing, where code lies in no file. */
static bool is_cut(const struct thread *thread, bool files_are_here)
{
    const struct native_stack *native = thread->native;
    if (native != NULL && (native->error < 0 || (native->end == PYUNW_NATIVE_CUT && !files_are_here)))
        return true;
    return thread->error < 0 || (thread->status.end != PYUNW_COMPLETE && thread->status.end != PYUNW_NO_FRAME);
}

/* How many stacks do not reach their bottom. */
static size_t count_cut_stacks(const struct snapshot *snapshot, bool files_are_here)
{
    size_t cut = 0;
    for (size_t n = 0; n < snapshot->thread_count; n++)
        cut += is_cut(&snapshot->threads[n], files_are_here);
    return cut;
}

/* Is anything of the threads missing? */
static bool complain_of_threads(const struct core_options *options, const struct snapshot *snapshot,
                                bool files_are_here)
{
    char why[256];
    size_t cut = count_cut_stacks(snapshot, files_are_here);
    if (cut > 0) {
        (void)snprintf(why, sizeof why,
                       "%zu of %zu stacks are not whole: what they lead to is not there, or is damaged", cut,
                       snapshot->thread_count);
        complain(options->core, why);
    }
    if (snapshot->list_error < 0) {
        (void)snprintf(why, sizeof why, "there may be more threads, the list of which could not be read: %s",
                       pyunw_strerror(snapshot->list_error));
        complain(options->core, why);
    }
    return cut > 0 || snapshot->list_error < 0;
}

/* ---- The dump ---- */

static int write_snapshot(const struct core_options *options, const struct snapshot *snapshot)
{
    FILE *out = document_open(options->output);
    const char *name = options->output != NULL ? options->output : "standard output";
    if (out == NULL) {
        complain(name, strerror(errno));
        return CLI_INCOMPLETE;
    }
    if (options->json) {
        dump_json_begin(out);
        dump_json_process(out, snapshot, true);
        dump_json_end(out);
    } else {
        dump_text_process(out, snapshot, true, document_wants_colour(out));
    }
    if (document_close(out))
        return CLI_OK;
    complain(name, strerror(errno));
    return CLI_INCOMPLETE;
}

static int dump_loaded(const struct core_options *options, const pyunw_core *core)
{
    char message[1024];
    struct snapshot snapshot;
    int status = complain_of_core(options, core) ? CLI_INCOMPLETE : CLI_OK;
    if (!core_snapshot_read(core, &options->wish, &snapshot, message, sizeof message)) {
        complain(options->core, message);
        status = CLI_INCOMPLETE;
    } else {
        int written = write_snapshot(options, &snapshot);
        if (snapshot.native_error < 0) {
            complain("without native stacks", message);
            status = CLI_INCOMPLETE;
        }
        bool missing = complain_of_threads(options, &snapshot, has_files(core));
        complain_of_files(core, !missing);
        if (written != CLI_OK || missing)
            status = CLI_INCOMPLETE;
    }
    snapshot_free(&snapshot);
    return complain_of_reading(options, core) ? CLI_INCOMPLETE : status;
}

/* Each mapped file takes a descriptor, and a large program maps more than the 1,024 that are mostly given at first. */
static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else what cannot be opened is missing, and that is said */
}

static int dump_core(const struct core_options *options)
{
    char message[1024] = "";
    pyunw_core *core = NULL;
    const pyunw_core_options load = {
        .size = sizeof load,
        .executable = options->executable,
        .sysroot = options->sysroot,
        .debug_dir = options->debug_dir,
        .message = message,
        .message_size = sizeof message,
    };
    allow_many_files();
    int err = pyunw_load_core(options->core, &core, &load);
    if (err < 0) {
        complain("", message[0] != '\0' ? message : pyunw_strerror(err));
        return CLI_INCOMPLETE;
    }
    int status = dump_loaded(options, core);
    pyunw_unload_core(core);
    return status;
}

int cli_core(int argc, char **argv)
{
    static const struct argp argp = {option_list, parse, "CORE [EXE]", documentation, NULL, NULL, NULL};
    struct core_options options = {0};
    return argp_parse(&argp, argc, argv, 0, NULL, &options) == 0 ? dump_core(&options) : CLI_USAGE;
}
