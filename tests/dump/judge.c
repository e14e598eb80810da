/*
 * Reads the threads of a self-checking program again and again while it runs, and judges each stack by the program's
 * own table of who may call whom from which line (judged.py writes it, tests/storms/checker.c looks it up).
 *
 *     judge PID TABLE CAPTURES [capture | bare | once | stop] [SABOTAGE]
 *
 * A moment of a thread is judged once, however long the thread stands in it.
 *
 * capture: with room for pages, as the command does; bare: without, so that each word is read by a call of its own;
 * stop: the program, a child of the caller's, is stopped so many times at whatever moment that is, and each of its
 * threads must then give one answer, always the same;
 * once: bare, and each frame is read and described once, without the second read that confirms it, to show what that
 * one is for.
 * SABOTAGE: every so manyeth good stack is damaged, for the test of this test. Prints the first stacks that are wrong,
 * then the counters, one a line.
 */
#include "checker.h"
#include "moments.h"

#include <dirent.h>
#include <inttypes.h>
#include <pyunwind_remote.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 700, MAX_RESIDENTS = 16, EVIDENCE = 5 };

#define COUNTERS(X)                                                                                                    \
    X(captures)    /* stacks, of threads that run */                                                                   \
    X(wrong)       /* not marked, and not a stack that the program can have */                                         \
    X(stale)       /* not marked, and right but for a caller's line, which holds no such call */                       \
    X(torn)        /* marked */                                                                                        \
    X(corrupt)     /* marked */                                                                                        \
    X(unconfirmed) /* not marked, without some innermost frames */                                                     \
    X(frames)                                                                                                          \
    X(gone)  /* threads that ended between the list and the capture, or had not begun: not counted as captures */      \
    X(again) /* looks at threads that had not moved since they were judged: not counted as captures */                 \
    X(lists)                                                                                                           \
    X(lists_torn)

static struct {
#define FIELD(name) uint64_t name;
    COUNTERS(FIELD)
} counted;

static pid_t judged;
static pyunw_addr residents[MAX_RESIDENTS]; /* thread states that have frames all the time */
static int resident_count;
static unsigned long sabotage_each;
static pyunw_frame frames[ROOM];

/* ---- The table ---- */

static int add_function(char *line)
{
    char *rest = line;
    int flags = (int)strtol(strsep(&rest, "\t"), NULL, 10);
    const char *filename = strsep(&rest, "\t");
    const char *name = strsep(&rest, "\t");
    return rest == NULL ? -1 : checker_add_function(filename, name, rest, flags);
}

static int add_spot(char *line)
{
    static uint8_t bitmap[4096];
    char *rest = line;
    int function = (int)strtol(strsep(&rest, "\t"), NULL, 10);
    int lineno = (int)strtol(strsep(&rest, "\t"), NULL, 10);
    size_t size = strlen(rest) / 2;
    for (size_t n = 0; n < size && n < sizeof bitmap; n++) {
        char digits[3] = {rest[2 * n], rest[2 * n + 1], '\0'};
        bitmap[n] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return size > sizeof bitmap ? -1 : checker_add_spot(function, lineno, bitmap);
}

static int add_resident(const char *line)
{
    if (resident_count == MAX_RESIDENTS)
        return -1;
    residents[resident_count++] = strtoull(line, NULL, 16);
    return 0;
}

static int add_line(char *line)
{
    char *rest = line;
    const char *kind = strsep(&rest, "\t");
    int functions = 0;
    if (rest == NULL)
        return -1;
    if (strcmp(kind, "function") == 0)
        return add_function(rest);
    if (strcmp(kind, "spot") == 0)
        return add_spot(rest);
    if (strcmp(kind, "resident") == 0)
        return add_resident(rest);
    functions = (int)strtol(strsep(&rest, "\t"), NULL, 10);
    return rest == NULL ? -1 : checker_begin(functions, (int)strtol(rest, NULL, 10));
}

static int read_table(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    int result = file == NULL ? -1 : 0;
    while (result >= 0 && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        result = add_line(line);
    }
    free(line);
    if (file != NULL)
        (void)fclose(file);
    return result;
}

/* ---- Captures ---- */

/* As a reader that trusts what it sees: the frames one by one, and no second look. */
static int read_once(const pyunw_target *target, pyunw_addr tstate, pyunw_status *status)
{
    pyunw_frame_cursor cursor;
    pyunw_raw_frame raw;
    int count = 0;
    int err = pyunw_frames_begin(target, tstate, &cursor);
    if (err < 0)
        return err;
    while (count < ROOM && pyunw_frames_next(&cursor, &raw) == 1) {
        if (pyunw_describe(target, &raw, &frames[count]) == 0)
            count++;
    }
    (void)pyunw_frames_end(&cursor, status);
    return count;
}

static bool is_resident(pyunw_addr tstate)
{
    for (int n = 0; n < resident_count; n++) {
        if (residents[n] == tstate)
            return true;
    }
    return false;
}

static void sabotage(int count)
{
    if (sabotage_each == 0 || counted.captures % sabotage_each != 0 || count < 3)
        return;
    frames[1].name[0] = 'X';
}

static void show(const char *what, int verdict, int where, int count, const pyunw_status *status)
{
    enum { AROUND = 3 };
    static int shown;
    if (shown++ >= EVIDENCE)
        return;
    printf("| %s: verdict %d at frame %d of %d, %s, %d unconfirmed\n", what, verdict, where, count,
           count < 0 ? pyunw_strerror(count) : pyunw_end_name(status->end), status->unconfirmed);
    for (int n = where - AROUND > 0 ? where - AROUND : 0; n < count && n <= where + AROUND; n++)
        printf("|   %d %s:%d %s, frame %" PRIx64 " code %" PRIx64 " offset %d\n", n, frames[n].filename,
               frames[n].position.lineno, frames[n].qualname, frames[n].raw.frame, frames[n].raw.code,
               frames[n].raw.offset);
}

static void judge_stack(int count, const pyunw_status *status)
{
    int where = -1;
    counted.captures++;
    counted.frames += (unsigned)count;
    if (status->end == PYUNW_TORN)
        counted.torn++;
    if (status->end == PYUNW_CORRUPT)
        counted.corrupt++;
    if (status->end == PYUNW_TORN || status->end == PYUNW_CORRUPT)
        return;
    if (status->unconfirmed > 0)
        counted.unconfirmed++;
    sabotage(count);
    int verdict = checker_check(frames, count, status->end == PYUNW_COMPLETE, &where);
    if (verdict == VERDICT_STALE_LINE)
        counted.stale++;
    else if (verdict != 0)
        counted.wrong++;
    if (verdict != 0)
        show(verdict == VERDICT_STALE_LINE ? "stale" : "wrong", verdict, where, count, status);
}

static void judge_thread(const pyunw_target *target, pyunw_addr tstate, bool once)
{
    pyunw_status status = {0};
    int count = once ? read_once(target, tstate, &status) : pyunw_capture(target, tstate, frames, ROOM, &status);
    if (count > 0 || (count == 0 && status.end != PYUNW_NO_FRAME)) {
        judge_stack(count, &status);
    } else if (is_resident(tstate)) {
        counted.captures++;
        counted.wrong++;
        show("lost", VERDICT_LOST, 0, count, &status);
    } else {
        counted.gone++;
    }
}

/* ---- Moments ---- */

/* Of each thread: the moment that was judged last. A thread state that is another thread's by now has moved, too. */
static struct moment {
    pyunw_addr tstate;
    uint64_t digest;
} moments[64];

static struct moment *last_moment(pyunw_addr tstate)
{
    enum { MOST = sizeof moments / sizeof *moments };
    static int replaced;
    for (int n = 0; n < MOST; n++) {
        if (moments[n].tstate == tstate)
            return &moments[n];
    }
    struct moment *moment = &moments[replaced++ % MOST];
    *moment = (struct moment){.tstate = tstate};
    return moment;
}

/*
 * A thread that waits for the GIL, or that the system lets stand since the machine is busy with others, shows the same
 * moment to every capture. It is judged once: the shares are of moments, not of how long each happens to last.
 */
static void judge_new_moment(const pyunw_target *target, pyunw_addr tstate, bool once)
{
    struct moment *last = last_moment(tstate);
    uint64_t now = moment_of(judged, target, tstate);
    if (now != 0 && now == last->digest) {
        counted.again++;
        return;
    }
    judge_thread(target, tstate, once);
    last->digest = moment_of(judged, target, tstate); /* the capture took time: what it saw may be later than `now` */
}

/*
 * All threads once, but for the main thread, which stands still. Less than 0 where there is nothing to read any more.
 */
static int judge_all(const pyunw_target *target, uint64_t wanted, bool once)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    counted.lists++;
    int result = pyunw_threads_begin(target, &cursor);
    while (result >= 0 && counted.captures < wanted) {
        result = pyunw_threads_next(&cursor, &thread);
        if (result == 0)
            return 0;
        if (result == 1 && (thread.flags & PYUNW_THREAD_MAIN) == 0)
            judge_new_moment(target, thread.tstate, once);
    }
    if (result == PYUNW_ERR_TORN) {
        counted.lists_torn++;
        return 0;
    }
    return result;
}

static int judge(const pyunw_target *target, uint64_t wanted, bool once)
{
    int err = 0;
    while (err >= 0 && counted.captures < wanted) {
        uint64_t before = counted.captures;
        err = judge_all(target, wanted, once);
        if (counted.captures == before)
            (void)sched_yield();
    }
    return err;
}

/* ---- A program that stands ---- */

static bool all_stand(void)
{
    char path[64];
    bool stand = true;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)judged);
    DIR *tasks = opendir(path);
    const struct dirent *task = NULL;
    while (tasks != NULL && stand && (task = readdir(tasks)) != NULL) {
        char stat[512] = "";
        (void)snprintf(stat, sizeof stat, "/proc/%d/task/%s/stat", (int)judged, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(stat, "r");
        if (file == NULL)
            continue;
        stat[fread(stat, 1, sizeof stat - 1, file)] = '\0';
        (void)fclose(file);
        const char *name_end = strrchr(stat, ')');
        stand = name_end != NULL && strncmp(name_end, ") T", 3) == 0;
    }
    if (tasks != NULL)
        (void)closedir(tasks);
    return stand;
}

/* Of a thread that stands, every capture and every digest are the first again. */
static void judge_standing(const pyunw_target *target, pyunw_addr tstate)
{
    enum { TIMES = 3 };
    static pyunw_frame first[ROOM];
    pyunw_status status = {0};
    pyunw_status again = {0};
    uint64_t moment = moment_of(judged, target, tstate);
    int count = pyunw_capture(target, tstate, first, ROOM, &status);
    for (int n = 0; n < TIMES; n++) {
        memset(frames, 0, sizeof frames);
        int other = pyunw_capture(target, tstate, frames, ROOM, &again);
        bool same = other == count && memcmp(&again, &status, sizeof status) == 0;
        for (int m = 0; same && m < count; m++)
            same = memcmp(&first[m].raw, &frames[m].raw, sizeof frames[m].raw) == 0;
        if (!same || moment_of(judged, target, tstate) != moment || moment == 0) {
            counted.wrong++;
            show(same ? "another moment" : "another stack", 0, 0, other, &again);
        }
    }
    counted.captures++;
    counted.torn += status.end == PYUNW_TORN;
    counted.corrupt += status.end == PYUNW_CORRUPT;
}

static int stop_and_judge(const pyunw_target *target, uint64_t times)
{
    uint64_t before = 0;
    for (uint64_t n = 0; n < times; n++) {
        while (moment_of(judged, target, residents[0]) == before)
            (void)sched_yield();
        if (kill(judged, SIGSTOP) < 0)
            return PYUNW_ERR_NO_PROCESS;
        while (!all_stand())
            (void)sched_yield();
        for (int m = 0; m < resident_count; m++)
            judge_standing(target, residents[m]);
        before = moment_of(judged, target, residents[0]);
        (void)kill(judged, SIGCONT);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char message[512] = "";
    static char room[1 << 21];
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    pyunw_target target;
    if (argc < 4 || read_table(argv[2]) < 0) {
        printf("no table\n");
        return 2;
    }
    uint64_t wanted = strtoull(argv[3], NULL, 10);
    bool once = argc > 4 && strcmp(argv[4], "once") == 0;
    bool stops = argc > 4 && strcmp(argv[4], "stop") == 0;
    if (argc <= 4 || strcmp(argv[4], "capture") == 0 || stops) {
        options.room = room;
        options.room_size = sizeof room;
    }
    sabotage_each = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
    judged = (pid_t)strtol(argv[1], NULL, 10);
    int err = pyunw_open_pid(&target, judged, &options);
    if (err >= 0)
        err = stops ? stop_and_judge(&target, wanted) : judge(&target, wanted, once);
    if (err < 0) {
        printf("%s: %s\n", pyunw_strerror(err), message);
        return 1;
    }
    pyunw_close(&target);
#define PRINT(name) printf(#name " %" PRIu64 "\n", counted.name);
    COUNTERS(PRINT)
    return 0;
}
