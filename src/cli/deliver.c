/*
 * Write a report wherever it is wanted.
 */
#include "deliver.h"

#include "crash_options.h"
#include "document.h"
#include "finish.h"
#include "report_folder.h"
#include "report_output.h"
#include "report_size.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_REPORTS_KEPT = 100, DEFAULT_REPORT_SIZE = 16 << 20 };

int64_t deliver_now(void)
{
    struct timespec time = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ---- The document ---- */

/* The one that crashed comes first. */
static void leave_out_others(json_t *document)
{
    const char *wanted = crash_option("PYUNWIND_THREADS");
    json_t *threads = json_object_get(document, "threads");
    if (wanted == NULL || strcmp(wanted, "crashed") != 0)
        return;
    while (json_array_size(threads) > 1)
        (void)json_array_remove(threads, json_array_size(threads) - 1);
}

/* Nobody may read what is written: it is not waited for beyond the time. Of a pipe, what poll(2) says has room. */
static bool write_until(int fd, const char *bytes, size_t size, int64_t deadline)
{
    while (size > 0) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        int64_t rest = deadline - deliver_now();
        if (rest <= 0 || (poll(&room, 1, (int)rest) == 0) || (room.revents & (POLLERR | POLLNVAL)) != 0)
            return false;
        ssize_t written = write(fd, bytes, size < PIPE_BUF ? size : PIPE_BUF);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static bool write_to(int fd, const json_t *document, int64_t deadline)
{
    char *text = json_dumps(document, JSON_COMPACT);
    bool good = text != NULL && write_until(fd, text, strlen(text), deadline) && write_until(fd, "\n", 1, deadline);
    free(text);
    return good;
}

static void write_text(int fd, const json_t *document)
{
    FILE *out = fdopen(dup(fd), "w");
    if (out == NULL)
        return;
    report_print_text(out, document, document_wants_colour(out), false);
    (void)fclose(out);
}

/* ---- Afterwards ---- */

static void ignore_complaint(const char *file, const char *why)
{
    (void)file, (void)why;
}

static void prune(void)
{
    const long kept = crash_option_number("PYUNWIND_REPORTS_KEPT", DEFAULT_REPORTS_KEPT);
    const struct prune_wish wish = {.has_keep = true, .keep = (size_t)kept};
    struct report_folder folder;
    FILE *nowhere = kept > 0 ? fopen("/dev/null", "we") : NULL;
    if (nowhere == NULL)
        return;
    if (report_folder_open(crash_option("PYUNWIND_REPORT_DIR"), true, &folder)) {
        (void)report_folder_prune(nowhere, &folder, &wish, ignore_complaint);
        report_folder_close(&folder);
    }
    (void)fclose(nowhere);
}

static void execute_hook(const char *hook, const char *path)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)alarm(0);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execl("/bin/sh", "sh", "-c", hook, "sh", path, (char *)NULL);
    _exit(127);
}

/* It is waited for, since what ends with the process may be the container; but not beyond the time. */
void report_run_hook(const char *file, int64_t deadline)
{
    char path[PATH_MAX];
    const char *hook = crash_option("PYUNWIND_HOOK");
    const char *folder = crash_option("PYUNWIND_REPORT_DIR");
    if (hook == NULL || folder == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    pid_t child = fork();
    if (child == 0)
        execute_hook(hook, path);
    const int moment = 2;
    while (child > 0 && waitpid(child, NULL, WNOHANG) == 0) {
        if (deliver_now() < deadline - 2L * moment) {
            (void)poll(NULL, 0, moment);
            continue;
        }
        /* With all that it has started: nothing of ours is left behind. */
        (void)kill(-child, SIGKILL);
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
        break;
    }
}

bool report_deliver(const struct delivery *delivery, json_t *document)
{
    char stored[REPORT_STORED_SIZE] = "";
    long size = crash_option_number("PYUNWIND_REPORT_SIZE", DEFAULT_REPORT_SIZE);
    leave_out_others(document);
    report_fold(document);
    report_limit(document, size > 0 ? (size_t)size : DEFAULT_REPORT_SIZE);
    bool good = delivery->folder >= 0 && report_store(delivery->folder, delivery->base, document, stored);
    if (good && delivery->done != NULL)
        (void)unlinkat(delivery->folder, delivery->done, 0);
    if (delivery->output >= 0)
        good = write_to(delivery->output, document, delivery->deadline) || good;
    if (delivery->standard_error >= 0 && crash_option_is_set("PYUNWIND_TEXT", false))
        write_text(delivery->standard_error, document);
    if (stored[0] == '\0')
        return good;
    prune();
    report_run_hook(stored, delivery->deadline);
    return true;
}
