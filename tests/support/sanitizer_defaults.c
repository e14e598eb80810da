/*
 * What AddressSanitizer is asked for where a process has no ASAN_OPTIONS: the crash tracker's sidecar, whose
 * environment holds nothing that pyunwind does not need. What it finds goes where tests/sanitizers.py looks for it.
 * Leaks are looked for by ptrace(2), which some of those crashes have forbidden: tests/valgrind does it.
 */
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:"
           "allow_user_segv_handler=1:use_sigaltstack=0:disable_coredump=0:exitcode=86:"
           "log_path=" SANITIZER_REPORTS "/sidecar";
}
