/*
 * Read what /proc tells of a process and its tasks.
 */
#include "process_info.h"

#include "control_group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static ssize_t read_again(int fd, char *text, size_t size)
{
    ssize_t n;
    do
        n = read(fd, text, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static char *read_file(const char *path, bool in_pieces, size_t *size)
{
    enum { LONG_FILE = 1 << 24 };
    size_t room = 4096;
    ssize_t n = 0;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? malloc(room) : NULL;
    int error = errno;
    while (text != NULL && (n = read_again(fd, text + *size, room - *size - 1)) > 0) {
        *size += (size_t)n;
        /* The kernel gives all that there is, of the files of /proc that are no lists. */
        if (*size + 1 < room && !in_pieces)
            break;
        if (*size + 1 < room)
            continue;
        if (room >= LONG_FILE)
            break;
        char *grown = realloc(text, room * 2);
        n = grown != NULL ? n : -1;
        if (grown == NULL)
            break;
        text = grown;
        room *= 2;
    }
    error = n < 0 ? errno : error;
    if (fd >= 0)
        (void)close(fd);
    if (n < 0) {
        free(text);
        text = NULL;
    }
    if (text != NULL)
        text[*size] = '\0';
    errno = error;
    return text;
}

char *read_whole_file(const char *path, size_t *size)
{
    return read_file(path, false, size);
}

char *read_whole_list(const char *path, size_t *size)
{
    return read_file(path, true, size);
}

/* ---- stat: "PID (comm) STATE PPID ...", where comm may hold anything, brackets and newlines too ---- */

struct stat_fields {
    char state;
    pid_t parent;
    uint64_t start;  /* field 22 */
    bool has_memory; /* field 23 is its size; a process that ends gives it back before it becomes a zombie */
    /* Fields 26 and 28: where its code and its stack begin, by chance anew with each program (0: not to be told). */
    uint64_t program;
};

static bool parse_stat(const char *text, struct stat_fields *fields, struct task *task)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    if (open == NULL || close == NULL || close < open || close[1] != ' ')
        return false;
    if (task != NULL) {
        size_t length = (size_t)(close - open - 1);
        task->name_length = length < sizeof task->name ? length : sizeof task->name;
        memcpy(task->name, open + 1, task->name_length);
    }
    fields->state = close[2];
    const char *at = close + 2;
    for (int field = 3; field < 22; field++) {
        if (field == 4)
            fields->parent = (pid_t)strtol(at, NULL, 10);
        at = strchr(at, ' ');
        if (at == NULL)
            return false;
        at++;
    }
    uint64_t numbers[28 - 22 + 1] = {0};
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
        char *end = NULL;
        numbers[n] = strtoull(at, &end, 10);
        at = end;
    }
    fields->start = numbers[0];
    fields->has_memory = numbers[23 - 22] != 0;
    fields->program = numbers[28 - 22] != 0 ? numbers[26 - 22] ^ numbers[28 - 22] << 16 : 0;
    return fields->state != '\0';
}

static bool read_stat(const char *path, struct stat_fields *fields)
{
    size_t size = 0;
    char *text = read_whole_file(path, &size);
    *fields = (struct stat_fields){0};
    bool good = text != NULL && parse_stat(text, fields, NULL);
    if (text != NULL && !good)
        errno = EIO;
    free(text);
    return good;
}

static bool read_process_stat(pid_t pid, struct stat_fields *fields)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    return read_stat(path, fields);
}

static double uptime_since(uint64_t start)
{
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return 0;
    double seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)start / (double)sysconf(_SC_CLK_TCK);
    return seconds > 0 ? seconds : 0;
}

/* ---- Tasks ---- */

/* Descriptors that are closed many at once: of a process with many tasks there are as many files to be read. */
struct open_files {
    int first;
    int count; /* first, first + 1, ... */
};

enum { MANY_OPEN = 256 };

static void close_files(struct open_files *files)
{
    if (files->count > 0 && close_range((unsigned)files->first, (unsigned)(files->first + files->count - 1), 0) != 0) {
        for (int n = 0; n < files->count; n++) /* before Linux 5.9 */
            (void)close(files->first + n);
    }
    files->count = 0;
}

static void close_later(struct open_files *files, int fd)
{
    if (files->count > 0 && fd != files->first + files->count)
        close_files(files);
    if (files->count == 0)
        files->first = fd;
    if (++files->count == MANY_OPEN)
        close_files(files);
}

/* False where it has ended meanwhile, or cannot be read: errno. */
static bool read_task(int folder, const char *name, struct open_files *files, struct task *task)
{
    char path[64];
    char text[2048]; /* 52 numbers and a name */
    struct stat_fields fields = {0};
    (void)snprintf(path, sizeof path, "%s/stat", name);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == EMFILE) {
        close_files(files);
        fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return false;
    ssize_t size = read_again(fd, text, sizeof text - 1);
    int error = errno;
    close_later(files, fd);
    errno = size == 0 ? ESRCH : error;
    if (size <= 0)
        return false;
    text[size] = '\0';
    errno = EIO;
    bool good = parse_stat(text, &fields, task);
    task->state = fields.state;
    return good;
}

/* The number in the innermost pid namespace: the last of NSpid. 0: it cannot be read (errno). */
static pid_t read_inner_id(pid_t pid, pid_t id)
{
    char path[64];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, (int)id);
    char *text = read_whole_file(path, &size);
    char *line = text != NULL ? strstr(text, "\nNSpid:") : NULL;
    pid_t inner = text != NULL ? id : 0;
    if (line != NULL) {
        line[1 + strcspn(line + 1, "\n")] = '\0';
        const char *last = strrchr(line, '\t');
        inner = last != NULL ? (pid_t)strtol(last, NULL, 10) : id;
    }
    free(text);
    return inner;
}

static bool add_task(struct process_info *info, size_t *room, const struct task *task)
{
    if (info->task_count == *room) {
        size_t more = *room == 0 ? 16 : *room * 2;
        struct task *grown = realloc(info->tasks, more * sizeof *grown);
        if (grown == NULL)
            return false;
        info->tasks = grown;
        *room = more;
    }
    info->tasks[info->task_count++] = *task;
    return true;
}

bool has_ended_by(int error)
{
    return error == ENOENT || error == ESRCH;
}

/* What has ended since the list was read is none of the tasks. False where one is missing for another reason. */
static bool lose_task(struct process_info *info, int error)
{
    info->lost_tasks = true;
    return has_ended_by(error);
}

static bool take_task(struct process_info *info, DIR *folder, const char *name, struct open_files *files, bool renumber,
                      size_t *room)
{
    struct task task = {.id = (pid_t)strtol(name, NULL, 10)};
    if (task.id <= 0)
        return true;
    if (!read_task(dirfd(folder), name, files, &task))
        return lose_task(info, errno);
    task.inner_id = renumber ? read_inner_id(info->pid, task.id) : task.id;
    if (task.inner_id == 0)
        return lose_task(info, errno);
    return add_task(info, room, &task);
}

static bool read_tasks(struct process_info *info)
{
    char path[64];
    size_t room = 0;
    bool good = true;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)info->pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    pid_t inner = read_inner_id(info->pid, info->pid);
    good = inner != 0;
    struct open_files files = {0};
    while (good) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        good = entry != NULL ? take_task(info, folder, entry->d_name, &files, inner != info->pid, &room) : errno == 0;
        if (entry == NULL)
            break;
    }
    int error = errno;
    close_files(&files);
    (void)closedir(folder);
    errno = good ? ESRCH : error; /* one without a task has ended */
    return good && info->task_count > 0;
}

/* ---- The process ---- */

static char *read_executable(pid_t pid)
{
    char path[64];
    char target[PATH_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t length = readlink(path, target, sizeof target - 1);
    return length > 0 ? strndup(target, (size_t)length) : NULL;
}

bool process_info_read(pid_t pid, struct process_info *info)
{
    char path[64];
    struct stat_fields fields;
    *info = (struct process_info){.pid = pid};
    if (!read_process_stat(pid, &fields)) {
        info->error = errno;
        return false;
    }
    info->parent = fields.parent;
    info->start = fields.start;
    info->program = fields.program;
    info->uptime = uptime_since(fields.start);
    info->executable = read_executable(pid);
    info->control_group = control_group_read(pid);
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    info->command = read_whole_file(path, &info->command_size);
    if (info->command == NULL || !read_tasks(info))
        info->error = errno;
    return info->error == 0;
}

void process_info_free(struct process_info *info)
{
    free(info->command);
    free(info->executable);
    free(info->control_group);
    free(info->tasks);
    *info = (struct process_info){0};
}

static bool copy_bytes(const void *bytes, size_t size, void **copy)
{
    *copy = bytes != NULL ? malloc(size + 1) : NULL;
    if (*copy != NULL)
        memcpy(*copy, bytes, size);
    return bytes == NULL || *copy != NULL;
}

static size_t size_of_text(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

bool process_info_copy(const struct process_info *info, struct process_info *copy)
{
    void *copies[4] = {NULL};
    bool good = copy_bytes(info->command, info->command_size + 1, &copies[0]) &&
                copy_bytes(info->executable, size_of_text(info->executable), &copies[1]) &&
                copy_bytes(info->control_group, size_of_text(info->control_group), &copies[2]) &&
                copy_bytes(info->tasks, info->task_count * sizeof *info->tasks, &copies[3]);
    *copy = *info;
    copy->command = copies[0];
    copy->executable = copies[1];
    copy->control_group = copies[2];
    copy->tasks = copies[3];
    if (!good)
        process_info_free(copy);
    return good;
}

bool process_info_is_there(const struct process_info *info)
{
    struct stat_fields fields;
    return read_process_stat(info->pid, &fields) && fields.start == info->start;
}

pid_t process_parent(pid_t pid)
{
    struct stat_fields fields;
    return read_process_stat(pid, &fields) ? fields.parent : -1;
}

enum process_fate process_info_fate(const struct process_info *info)
{
    struct stat_fields fields;
    bool good = read_process_stat(info->pid, &fields);
    if (!good && !has_ended_by(errno))
        return PROCESS_UNKNOWN;
    if (!good || fields.start != info->start || fields.state == 'Z' || fields.state == 'X' || !fields.has_memory)
        return PROCESS_ENDED;
    /* One that is about to end may tell it no more: that is no other program. */
    return fields.program == 0 || fields.program == info->program ? PROCESS_GOES_ON : PROCESS_REPLACED_PROGRAM;
}

const struct task *process_info_task(const struct process_info *info, uint64_t inner_id)
{
    for (size_t n = 0; n < info->task_count; n++) {
        if ((uint64_t)info->tasks[n].inner_id == inner_id)
            return &info->tasks[n];
    }
    return NULL;
}
