/*
 * The unfinished report: a file that has no name until something has died.
 * Signal-safe: yes.
 */
#include "crash.h"
#include "text_buffer.h"
#include "utc.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

enum { NAMES = 99 }; /* of reports of one process in one second */

/* "pyunwind-20261125T074049Z-4711", "...-4711-2" */
static void make_name(struct crash_journal *journal, int64_t seconds, int64_t pid, int number)
{
    struct output text;
    struct utc utc = utc_of(seconds);
    text_begin(&text, journal->name, sizeof journal->name);
    put_padded(&text, "pyunwind-", utc.year, 4);
    put_padded(&text, "", utc.month, 2);
    put_padded(&text, "", utc.day, 2);
    put_padded(&text, "T", utc.hour, 2);
    put_padded(&text, "", utc.minute, 2);
    put_padded(&text, "", utc.second, 2);
    put_padded(&text, "Z-", pid, 1);
    if (number > 1)
        put_padded(&text, "-", number, 1);
    text_end(&text);
}

/* ---- The file ---- */

static char path[PATH_MAX + 80]; /* one report is made at a time */

static const char *make_path(const char *folder, const char *name)
{
    struct output text;
    text_begin(&text, path, sizeof path);
    pyunw_output_string(&text, folder);
    pyunw_output_string(&text, *folder != '\0' ? "/" : "");
    pyunw_output_string(&text, name);
    pyunw_output_string(&text, ".partial");
    text_end(&text);
    return path;
}

static const char *with_extension(const char *name)
{
    return make_path("", name);
}

static const char *whole_path(const char *name)
{
    return make_path(pyunw_crash_settings.folder_path, name);
}

/* 0, or -errno. */
static long give_name(int fd, const char *name)
{
    char link[32];
    struct output text;
    int folder = pyunw_crash_settings.folder.fd;
    text_begin(&text, link, sizeof link);
    put_padded(&text, "/proc/self/fd/", fd, 1);
    text_end(&text);
    const char *wanted = with_extension(name);
    long result = raw_syscall6(SYS_linkat, AT_FDCWD, (long)link, folder, (long)wanted, AT_SYMLINK_FOLLOW, 0);
    if (result == 0 || result == -EEXIST)
        return result;
    /* Without /proc. */
    return raw_syscall6(SYS_linkat, fd, (long)"", folder, (long)wanted, AT_EMPTY_PATH, 0);
}

/* A descriptor, or -errno. */
static long create(const char *name)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    const mode_t mode = 0600;
    const struct crash_settings *settings = &pyunw_crash_settings;
    long fd = -EBADF;
    if (pyunw_crash_holds(&settings->folder))
        fd = raw_syscall4(SYS_openat, settings->folder.fd, (long)with_extension(name), flags, mode);
    if (fd < 0 && fd != -EEXIST && fd != -EMFILE && fd != -ENFILE)
        fd = raw_syscall4(SYS_openat, AT_FDCWD, (long)whole_path(name), flags, mode);
    return fd;
}

/* The file that was made beforehand, where it is this process's own: a child of fork() shares its parent's. */
static bool take_prepared(struct crash_journal *journal, int64_t seconds, int64_t pid)
{
    struct crash_settings *settings = &pyunw_crash_settings;
    if (settings->pid != pid || !pyunw_crash_holds(&settings->journal))
        return false;
    journal->file = settings->journal;
    for (int number = 1; number <= NAMES; number++) {
        make_name(journal, seconds, pid, number);
        long result = pyunw_crash_holds(&settings->folder) ? give_name(journal->file.fd, journal->name) : -EBADF;
        if (result == 0)
            return true;
        if (result != -EEXIST)
            break;
    }
    /* It cannot be named any more, by this user perhaps: the sidecar is handed it as it is. */
    journal->name[0] = '\0';
    return true;
}

static void create_file(struct crash_journal *journal, int64_t seconds, int64_t pid)
{
    struct held_file *prepared = &pyunw_crash_settings.journal;
    for (int number = 1; number <= NAMES; number++) {
        make_name(journal, seconds, pid, number);
        long fd = create(journal->name);
        if ((fd == -EMFILE || fd == -ENFILE) && pyunw_crash_holds(prepared)) {
            /* No number is free: the parent's file is of no use here. */
            (void)raw_syscall3(SYS_close, prepared->fd, 0, 0);
            prepared->fd = -1;
            fd = create(journal->name);
        }
        journal->file = pyunw_crash_hold_own(fd < 0 ? -1 : (int)fd);
        if (fd != -EEXIST)
            break;
    }
    if (journal->file.fd < 0)
        journal->name[0] = '\0';
}

void pyunw_crash_journal_open(struct crash_journal *journal)
{
    int64_t seconds = pyunw_crash_now(CLOCK_REALTIME) / NANOSECONDS;
    int64_t pid = raw_syscall0(SYS_getpid);
    if (!take_prepared(journal, seconds, pid))
        create_file(journal, seconds, pid);
}

/* As at the installation: out of the way of the numbers that the program counts on. */
static struct held_file prepare(void)
{
    enum { HIGH = 200 };
    const struct crash_settings *settings = &pyunw_crash_settings;
    const int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
    long fd = -EBADF;
    if (pyunw_crash_holds(&settings->folder))
        fd = raw_syscall4(SYS_openat, settings->folder.fd, (long)".", flags, 0600);
    if (fd < 0)
        return (struct held_file){.fd = -1};
    long high = raw_syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
    if (high >= 0)
        (void)raw_syscall3(SYS_close, fd, 0, 0);
    return pyunw_crash_hold_own(high >= 0 ? (int)high : (int)fd);
}

void pyunw_crash_journal_close(struct crash_journal *journal)
{
    struct crash_settings *settings = &pyunw_crash_settings;
    bool prepared = journal->file.fd >= 0 && journal->file.fd == settings->journal.fd;
    /* Meanwhile another thread may have closed it, and the number be another file's. */
    if (pyunw_crash_holds(&journal->file))
        (void)raw_syscall3(SYS_close, journal->file.fd, 0, 0);
    if (prepared)
        settings->journal = prepare();
    journal->file.fd = -1;
}

int pyunw_crash_journal_fd(const struct crash_journal *journal)
{
    return pyunw_crash_holds(&journal->file) ? journal->file.fd : -1;
}
