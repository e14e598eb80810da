/*
 * A client of libpyunwind-remote: loads a core file, and tells what the C API says of it, a line each: facts, threads,
 * mapped files, and the stacks as pyunwind.h writes them.
 *
 *     client CORE [EXE [SYSROOT [DEBUG-DIR]]]     "-": not given
 *
 * Exits with minus the error of what failed, and its message on standard error.
 */
#include <pyunwind_remote.h>
#include <stdio.h>
#include <string.h>

static const char *argument(int argc, char **argv, int n)
{
    return n < argc && strcmp(argv[n], "-") != 0 ? argv[n] : NULL;
}

static int fail(int err, const char *message)
{
    (void)fprintf(stderr, "%s\n", message[0] != '\0' ? message : pyunw_strerror(err));
    return -err;
}

static void tell_core(const pyunw_core *core)
{
    pyunw_core_info info;
    pyunw_core_thread thread;
    pyunw_core_file file;
    if (pyunw_core_describe(core, &info) != 0)
        return;
    printf("pid %d parent %d signal %d code %d %d address %d %#llx crashed %d executable %s missing %llu packed %s\n",
           (int)info.pid, (int)info.parent, info.signal, info.has_signal_code, info.signal_code,
           info.has_signal_address, (unsigned long long)info.signal_address, (int)info.crashed,
           info.executable != NULL ? info.executable : "unknown", (unsigned long long)info.missing,
           info.packed != NULL ? info.packed : "no");
    for (size_t n = 0; n < info.thread_count && pyunw_core_thread_at(core, n, &thread) == 0; n++)
        printf("thread %d crashed %d pointer %d %#llx name %s\n", (int)thread.native_id, thread.crashed,
               thread.has_thread_pointer, (unsigned long long)thread.thread_pointer, thread.name);
    for (size_t n = 0; n < info.file_count && pyunw_core_file_at(core, n, &file) == 0; n++)
        printf("file %d executable %d id %s there %s %s\n", file.state, file.executable, file.build_id,
               file.found_build_id, file.path);
    if (pyunw_core_thread_at(core, info.thread_count, &thread) != PYUNW_ERR_ARGUMENT ||
        pyunw_core_file_at(core, info.file_count, &file) != PYUNW_ERR_ARGUMENT)
        puts("an index out of range is taken");
}

/* What every function has to refuse. */
static void check_arguments(const pyunw_core *core)
{
    pyunw_core *other = NULL;
    pyunw_native *native = NULL;
    pyunw_target target;
    pyunw_core_info info;
    const pyunw_core_options small = {.size = sizeof(size_t)};
    if (pyunw_load_core(NULL, &other, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_load_core("/", NULL, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_load_core("/", &other, &small) != PYUNW_ERR_ARGUMENT ||
        pyunw_load_core("/", &other, NULL) != PYUNW_ERR_ARGUMENT || other != NULL ||
        pyunw_core_describe(NULL, &info) != PYUNW_ERR_ARGUMENT ||
        pyunw_core_describe(core, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_open_core(NULL, core, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_open_core(&target, NULL, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_native_open_core(NULL, core, NULL) != PYUNW_ERR_ARGUMENT ||
        pyunw_native_open_core(&native, NULL, NULL) != PYUNW_ERR_ARGUMENT || native != NULL)
        puts("a wrong argument is taken");
    pyunw_unload_core(NULL);
}

int main(int argc, char **argv)
{
    char message[1024] = "";
    pyunw_target target;
    pyunw_core *core = NULL;
    const pyunw_core_options load = {
        .size = sizeof load,
        .executable = argument(argc, argv, 2),
        .sysroot = argument(argc, argv, 3),
        .debug_dir = argument(argc, argv, 4),
        .message = message,
        .message_size = sizeof message,
    };
    const pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    int err = argc > 1 ? pyunw_load_core(argv[1], &core, &load) : PYUNW_ERR_ARGUMENT;
    if (err < 0)
        return fail(err, message);
    check_arguments(core);
    tell_core(core);
    (void)fflush(stdout);
    err = pyunw_open_core(&target, core, &options);
    if (err < 0) {
        pyunw_unload_core(core);
        return fail(err, message);
    }
    err = pyunw_write_json_threads(&target, 1);
    pyunw_close(&target);
    pyunw_unload_core(core);
    return -err;
}
