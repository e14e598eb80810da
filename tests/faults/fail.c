/*
 * Run a command, and let one of the system calls that it makes fail.
 *
 *     fail LOG LIMIT FROM [FAULT] -- COMMAND...
 *
 * LOG    what there was to tell is written to this file, a line each:
 *            call PROCESS PROGRAM PART NUMBER NTH ARGUMENT0 ARGUMENT1   a call, where no FAULT is given
 *            hit                                                       the call was made, and failed
 *            victim PID                                                that process was killed
 *            twice FD                                                  a descriptor that was closed is closed again
 *            ended STATUS                                              of wait(2)
 *            late                                                      it was killed: it took more than the limit
 *            left COUNT                                                processes that were there after its end
 * LIMIT  seconds
 * FROM   start: all calls count; mark: those after fail_begin() of the process (begin.c), until its fail_end(), and
 *        those of each process that comes later
 * FAULT  PROCESS:PROGRAM:PART:NUMBER:NTH[+]:RESULT. PROCESS counts the processes whose calls count, as they appear;
 *        PROGRAM is the name of the executable, PART `loader` for calls of the dynamic linker itself, else `own`;
 *        NUMBER is that of the call, NTH counts its calls (with +: that one and all later ones). RESULT is one of
 *            -ERRNO       the call is not made, and fails so; but what is closed is closed (closed.h)
 *            short        the half is done (half.h)
 *            dies/PID     that process is killed first; dies#PROCESS, dies@PROGRAM: that one of those that count
 *            gone/PID     likewise, and its parent has waited for it
 *
 * A seccomp filter (SECCOMP_RET_USER_NOTIF) holds each call until this program says what becomes of it; that holds for
 * all processes that the command starts, whatever they execute, and they may trace and be traced as they like.
 */
#include "closed.h"
#include "filter.h"
#include "half.h"
#include "victim.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#if !defined(SECCOMP_IOCTL_NOTIF_SET_FLAGS)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { CALLS = 512, PROCESSES = 64, PROGRAM_SIZE = 64, GRACE_MS = 5000 };
enum part { OWN, LOADER };
enum kind { FAILS, SHORT, DIES, GONE };

struct process {
    pid_t pid;
    bool counts;
    bool is_known; /* what it executes; not after an exec */
    bool is_first; /* the command: what it did before its exec is ours */
    bool has_index;
    int index;
    char program[PROGRAM_SIZE];
    uint64_t loader_begin, loader_end;
    unsigned made[2][CALLS];
};

struct fault {
    bool given;
    int index;
    char program[PROGRAM_SIZE];
    enum part part;
    int number;
    unsigned nth;
    bool and_later;
    enum kind kind;
    int result;
    struct {
        pid_t pid;                  /* 0: by one of the others */
        char program[PROGRAM_SIZE]; /* "": by the index */
        int index;
    } victim;
};

static struct process processes[PROCESSES];
static size_t process_count;
static int next_index;
static bool marked;
static struct fault fault;
static bool hit;
static FILE *report;

static void die(const char *what)
{
    fprintf(stderr, "fail: %s: %s\n", what, strerror(errno));
    exit(99);
}

/* ---- The command's side ---- */

static void start_command(char **command, struct handover *page)
{
    setpgid(0, 0);
    if (page != NULL)
        hand_over(page, 0);
    execvp(command[0], command);
    _exit(127);
}

/* ---- What is known of processes ---- */

static struct process *find_process(pid_t task)
{
    static pid_t last_task;
    static struct process *last;
    if (task == last_task)
        return last;
    pid_t pid = task_status_number(task, "Tgid:\t");
    struct process *found = NULL;
    for (size_t n = 0; n < process_count; n++) {
        if (processes[n].pid == pid)
            found = &processes[n];
    }
    if (found == NULL) {
        if (pid == 0 || process_count == PROCESSES)
            return NULL;
        found = &processes[process_count++];
        *found = (struct process){.pid = pid, .counts = marked};
    }
    last_task = task;
    last = found;
    return found;
}

static void learn_program(struct process *process)
{
    char path[64];
    char line[4096];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)process->pid);
    ssize_t length = readlink(path, line, sizeof line - 1);
    line[length > 0 ? length : 0] = '\0';
    const char *slash = strrchr(line, '/');
    snprintf(process->program, sizeof process->program, "%.63s", slash != NULL ? slash + 1 : "?");
    snprintf(path, sizeof path, "/proc/%d/maps", (int)process->pid);
    FILE *file = fopen(path, "re");
    process->loader_begin = process->loader_end = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned long begin, end;
        if (strstr(line, "/ld-") == NULL || sscanf(line, "%lx-%lx", &begin, &end) != 2)
            continue;
        if (process->loader_begin == 0)
            process->loader_begin = begin;
        process->loader_end = end;
    }
    if (file != NULL)
        fclose(file);
    process->is_known = true;
}

/* ---- A call ---- */

static bool is_the_fault(const struct process *process, enum part part, int number, unsigned nth)
{
    return fault.given && fault.index == process->index && fault.part == part && fault.number == number &&
           (nth == fault.nth || (fault.and_later && nth > fault.nth)) && strcmp(fault.program, process->program) == 0;
}

/* It has none of the errors that there may be: what does not wait is not interrupted. */
static bool is_exempt(pid_t task, const struct seccomp_data *call)
{
    switch (call->nr) {
    case SYS_futex:
        return (call->args[1] & FUTEX_CMD_MASK) != FUTEX_WAIT && (call->args[1] & FUTEX_CMD_MASK) != FUTEX_WAIT_BITSET;
    case SYS_wait4:
        return (call->args[2] & WNOHANG) != 0;
    case SYS_waitid:
        return (call->args[3] & WNOHANG) != 0;
    case SYS_ptrace: /* they fail only where the tracee has died, which cannot be pretended */
        return call->args[0] == PTRACE_CONT || call->args[0] == PTRACE_DETACH || call->args[0] == PTRACE_INTERRUPT;
    case SYS_close: /* what is not open is not closed */
        return !is_open_descriptor(task, (int)call->args[0]);
    default:
        return false;
    }
}

/* True: it is to fail. */
static bool count_call(const struct seccomp_notif *call)
{
    struct process *process = find_process((pid_t)call->pid);
    int number = call->data.nr;
    if (process == NULL || number < 0 || number >= CALLS)
        return false;
    if (number == SYS_prctl && call->data.args[0] == MARK) {
        process->counts = marked = call->data.args[1] != 0;
        return false;
    }
    if (closed_twice(process->pid, &call->data))
        fprintf(report, "twice %d\n", (int)call->data.args[0]);
    if (!process->counts || is_exempt((pid_t)call->pid, &call->data))
        return false;
    if (!process->is_known)
        learn_program(process);
    if (process->is_first) { /* its exec, which is ours */
        process->is_first = process->is_known = false;
        return false;
    }
    if (number == SYS_execve || number == SYS_execveat)
        process->is_known = false; /* looked at again with its next call, if it has come that far */
    if (!process->has_index) {
        process->has_index = true;
        process->index = next_index++;
    }
    uint64_t from = call->data.instruction_pointer;
    enum part part = from >= process->loader_begin && from < process->loader_end ? LOADER : OWN;
    unsigned nth = ++process->made[part][number];
    if (!fault.given)
        fprintf(report, "call %d %s %s %d %u %llx %llx\n", process->index, process->program,
                part == LOADER ? "loader" : "own", number, nth, (unsigned long long)call->data.args[0],
                (unsigned long long)call->data.args[1]);
    return is_the_fault(process, part, number, nth);
}

/* 0: there is no such process, or not any more. */
static pid_t find_victim(void)
{
    if (fault.victim.pid != 0)
        return fault.victim.pid;
    for (size_t n = 0; n < process_count; n++) {
        const struct process *process = &processes[n];
        bool is_it = fault.victim.program[0] != '\0'
                         ? process->is_known && strcmp(process->program, fault.victim.program) == 0
                         : process->has_index && process->index == fault.victim.index;
        if (is_it && is_below_this(process->pid))
            return process->pid;
    }
    return 0;
}

static void fail_call(int listener, const struct seccomp_notif *call, struct seccomp_notif_resp *response)
{
    pid_t owner = find_process((pid_t)call->pid)->pid;
    if (fault.kind == DIES || fault.kind == GONE) {
        pid_t victim = hit ? 0 : find_victim();
        if (victim != 0 && end_process(victim, fault.kind == GONE))
            fprintf(report, "victim %d\n", (int)victim);
        return;
    }
    int64_t half = fault.kind == SHORT ? do_half(call, owner) : 0;
    if (half == NO_HALF)
        return;
    response->flags = 0;
    response->error = fault.result;
    if (fault.kind == SHORT) {
        response->error = half > 0 ? 0 : (int)half;
        response->val = half > 0 ? half : 0;
    } else if (call->data.nr == SYS_close && !do_close(listener, call, owner)) {
        die("a descriptor cannot be replaced");
    }
}

static void answer(int listener)
{
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
        return; /* it has been killed meanwhile */
    struct seccomp_notif_resp response = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (count_call(&call)) {
        fail_call(listener, &call, &response);
        if (!hit)
            fprintf(report, "hit\n");
        hit = true;
    }
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* ---- The end ---- */

static int count_left(bool end_them)
{
    int left = 0;
    while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
        continue;
    for (size_t n = 0; n < process_count; n++) {
        if (!is_below_this(processes[n].pid))
            continue;
        left++;
        if (end_them)
            (void)kill(processes[n].pid, SIGKILL);
    }
    return left;
}

static void serve(int listener, pid_t command, int64_t limit_ms)
{
    int64_t deadline = now_ms() + limit_ms;
    int pidfd = (int)syscall(SYS_pidfd_open, command, 0);
    struct pollfd wait[] = {{listener, POLLIN, 0}, {pidfd, POLLIN, 0}};
    int status = 0;
    bool is_dead = false;
    bool over = false;
    bool closed = listener < 0;
    while (!over || !closed) {
        int64_t rest = deadline - now_ms();
        if (rest <= 0)
            break;
        (void)poll(wait, 2, is_dead && !over ? 1 : (int)rest);
        if ((wait[0].revents & POLLIN) != 0) {
            answer(listener);
            continue;
        }
        if (wait[1].revents != 0) {
            is_dead = true;
            wait[1].fd = -1;
        }
        /* One that is traced is waited for by its tracer first, who may make calls before. */
        if (is_dead && !over && waitpid(command, &status, WNOHANG) == command) {
            fprintf(report, "ended %d\n", status);
            over = true;
            if (deadline > now_ms() + GRACE_MS)
                deadline = now_ms() + GRACE_MS;
        }
        if ((wait[0].revents & (POLLHUP | POLLERR)) != 0) { /* nobody is left whose calls are held */
            closed = true;
            wait[0].fd = -1;
        }
    }
    if (!over)
        fprintf(report, "late\n");
    /* Whose calls are not held any more may still be on its way to being a zombie, and then to being waited for. */
    while (over && count_left(false) > 0 && now_ms() < deadline)
        usleep(1000);
    int left = count_left(true);
    if (over)
        fprintf(report, "left %d\n", left);
    if (listener >= 0)
        close(listener); /* calls that wait end with ENOSYS */
    for (int tries = 0; tries < 200 && count_left(true) > 0; tries++)
        usleep(10000);
}

/* ---- What is asked for ---- */

static bool read_fault(const char *text)
{
    char part[16], nth[32], result[80];
    if (sscanf(text, "%d:%63[^:]:%15[^:]:%d:%31[^:]:%79s", &fault.index, fault.program, part, &fault.number, nth,
               result) != 6)
        return false;
    fault.given = true;
    fault.part = strcmp(part, "loader") == 0 ? LOADER : OWN;
    fault.nth = (unsigned)strtoul(nth, NULL, 10);
    fault.and_later = strchr(nth, '+') != NULL;
    fault.kind = strcmp(result, "short") == 0      ? SHORT
                 : strncmp(result, "dies", 4) == 0 ? DIES
                 : strncmp(result, "gone", 4) == 0 ? GONE
                                                   : FAILS;
    fault.result = (int)strtol(result, NULL, 10);
    if (fault.kind == DIES || fault.kind == GONE) {
        fault.victim.index = (int)strtol(result + 5, NULL, 10);
        fault.victim.pid = result[4] == '/' ? fault.victim.index : 0;
        snprintf(fault.victim.program, sizeof fault.victim.program, "%.63s", result[4] == '@' ? result + 5 : "");
    }
    return true;
}

static struct handover *make_page(const char *log)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.page", log);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct handover)) != 0)
        die(path);
    struct handover *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        die(path);
    close(fd);
    setenv("FAIL_PAGE", path, 1);
    return page;
}

/* -1: the command has ended before, or takes too long. */
static int take_listener(struct handover *page, pid_t command, int64_t deadline)
{
    siginfo_t about = {0};
    const struct timespec moment = {0, 200000};
    while (page->listener == 0) {
        if (waitid(P_PID, (id_t)command, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid != 0)
            return -1;
        if (now_ms() > deadline)
            return -1;
        nanosleep(&moment, NULL);
    }
    errno = -page->listener;
    if (page->listener < 0)
        die("seccomp");
    int pidfd = (int)syscall(SYS_pidfd_open, page->pid, 0);
    int listener = (int)syscall(SYS_pidfd_getfd, pidfd, page->listener - 1, 0);
    if (listener < 0)
        die("pidfd_getfd");
    close(pidfd);
    fcntl(listener, F_SETFD, FD_CLOEXEC);
    /* Who waits for an answer and who gives it take turns: Linux 6.6+, only for speed. */
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    page->taken = 1;
    return listener;
}

int main(int count, char **arguments)
{
    if (count < 6) {
        fprintf(stderr, "usage: fail LOG LIMIT start|mark [FAULT] -- COMMAND...\n");
        return 98;
    }
    int at = 4;
    if (strcmp(arguments[at], "--") != 0 && !read_fault(arguments[at++]))
        die("no fault");
    report = fopen(arguments[1], "we");
    if (report == NULL || !prepare_closing(arguments[1]))
        die(arguments[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    marked = strcmp(arguments[3], "start") == 0;
    struct handover *page = make_page(arguments[1]);
    pid_t command = fork();
    if (command == 0)
        start_command(&arguments[at + 1], marked ? page : NULL);
    int64_t limit_ms = strtoll(arguments[2], NULL, 10) * 1000;
    int listener = take_listener(page, command, now_ms() + limit_ms);
    struct process *first = find_process(command);
    if (first != NULL)
        first->is_first = marked;
    serve(listener, command, limit_ms);
    fclose(report);
    return 0;
}
