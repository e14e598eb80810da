/*
 * Where reports are written.
 * Signal-safe: no.
 */
#include "install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *variable(const char *name)
{
    const char *value = secure_getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static bool write_path(char path[PATH_MAX], const char *first, const char *rest)
{
    int length = snprintf(path, PATH_MAX, "%s%s", first, rest);
    return length > 0 && length < PATH_MAX;
}

int pyunw_crash_find_folder(const pyunw_crash_options *options, char path[PATH_MAX])
{
    const char *given = options->report_dir != NULL ? options->report_dir : variable("PYUNWIND_REPORT_DIR");
    const char *state = variable("XDG_STATE_HOME");
    const char *home = variable("HOME");
    bool good = false;
    if (given != NULL && given[0] != '/') {
        char here[PATH_MAX];
        char absolute[PATH_MAX];
        good = getcwd(here, sizeof here) != NULL && snprintf(absolute, sizeof absolute, "%s/", here) < PATH_MAX &&
               write_path(path, absolute, given);
    } else if (given != NULL) {
        good = write_path(path, given, "");
    } else if (state != NULL && state[0] == '/') { /* the XDG Base Directory Specification ignores a relative one */
        good = write_path(path, state, "/pyunwind");
    } else if (home != NULL && home[0] == '/') {
        good = write_path(path, home, "/.local/state/pyunwind");
    } else {
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM,
                                  "no folder for reports is known: neither PYUNWIND_REPORT_DIR nor XDG_STATE_HOME nor "
                                  "HOME is set");
    }
    return good ? PYUNW_OK
                : pyunw_crash_refuse(options, PYUNW_ERR_ARGUMENT, "the path of the report folder is too long");
}

/* As mkdir -p -m 700. */
static bool make_folder(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return false;
    for (size_t n = 1; n <= length; n++) {
        if (path[n] != '/' && path[n] != '\0')
            continue;
        memcpy(part, path, n);
        part[n] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static int check_folder(const pyunw_crash_options *options, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return pyunw_crash_refuse(options, errno == EACCES ? PYUNW_ERR_PERMISSION : PYUNW_ERR_SYSTEM,
                                  "the report folder %s cannot be made: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "the report folder %s is no folder", path);
    /* Whoever owns it reads all reports, and may put others in their place. */
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_PERMISSION,
                                  "the report folder %s belongs to user %u: name one of user %u", path,
                                  (unsigned)status.st_uid, (unsigned)geteuid());
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_PERMISSION,
                                  "everyone can write to the report folder %s: take that away (chmod 700)", path);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_PERMISSION, "the report folder %s cannot be written to: %s", path,
                                  strerror(errno));
    return PYUNW_OK;
}

int pyunw_crash_move_high(int fd)
{
    enum { HIGH = 200 };
    if (fd < 0)
        return -1;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
    if (moved < 0)
        return fd; /* the limit is lower: it stays where it is */
    (void)close(fd);
    return moved;
}

int pyunw_crash_open_folder(const pyunw_crash_options *options, struct crash_settings *settings)
{
    int err = pyunw_crash_find_folder(options, settings->folder_path);
    if (err < 0)
        return err;
    if (!make_folder(settings->folder_path) && errno != EEXIST && errno != EROFS && errno != EACCES)
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "the report folder %s cannot be made: %s",
                                  settings->folder_path, strerror(errno));
    err = check_folder(options, settings->folder_path);
    if (err < 0)
        return err;
    int folder = open(settings->folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return pyunw_crash_refuse(options, PYUNW_ERR_SYSTEM, "the report folder %s cannot be opened: %s",
                                  settings->folder_path, strerror(errno));
    /* Not every file system has files without a name: then one is made when it is needed. */
    int journal = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    settings->folder = pyunw_crash_hold_own(pyunw_crash_move_high(folder));
    settings->journal = pyunw_crash_hold_own(pyunw_crash_move_high(journal));
    return PYUNW_OK;
}
