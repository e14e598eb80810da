/*
 * The storm: a signal handler that captures its own thread, or all threads, and checks each stack on the spot.
 * A shared library for the Python program beside it (program.py), which loads it by ctypes and tells it the table of
 * its legal stacks first.
 */
#include "storm.h"

#include "checker.h"
#include "pyunwind_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIGNAL = SIGUSR1, HANDLERS_OWN = 4, HANDLERS_ALL = 2, FEW = 12, MAX_RESIDENTS = 32, MAX_TOLD = 1200 };

/* What program.py asks for by number. */
enum shape {
    SHAPE_NESTED = 1,  /* the signal interrupts its own handler, too */
    SHAPE_TIMERS = 2,  /* it is sent by timers of the kernel */
    SHAPE_FOREIGN = 4, /* functions that the table does not know are good */
    SHAPE_GOES_ON = 8, /* the counters go on where they were */
};

_Atomic uint64_t *storm_counters;

static pyunw_target target;
static int mode;
static int rate;
static unsigned sabotage_each;  /* 0: never */
static bool has_begun;          /* signals have a handler */
static unsigned shape;          /* bits of enum shape */
static struct sigaction before; /* what the handler of MODE_DUMP calls */

/*
 * The thread states of threads that stay. Not their pthread_t: up to 3.11 the state of a thread that is being started
 * has that of the thread that starts it.
 */
static _Atomic pyunw_addr residents[MAX_RESIDENTS];
static _Atomic int resident_count;

/* One for each handler at a time: too large for a thread's stack. */
static pyunw_frame frames_of[HANDLERS_OWN][ROOM];

/* ---- One capture ---- */

/* For the test of this test: a fault put into a good stack, which the checker has to see. */
static void sabotage(pyunw_frame *frames, int count, uint64_t turn)
{
    if (sabotage_each == 0 || turn % sabotage_each != 0 || count < 3)
        return;
    frames[1].position.lineno++;
    memcpy(frames[1].name, "nobody", sizeof "nobody");
    frames[1].name_length = sizeof "nobody" - 1;
}

static void count_verdict(int group, int verdict)
{
    static const struct {
        int bit;
        int counter;
    } counters[] = {
        {VERDICT_UNKNOWN, OWN_unknown},
        {VERDICT_WRONG_LINE, OWN_wrong_line},
        {VERDICT_STALE_LINE, OWN_stale_line},
        {VERDICT_ILLEGAL_PAIR, OWN_illegal},
        {VERDICT_CUT, OWN_cut},
        {VERDICT_DAMAGED, OWN_damaged},
        {VERDICT_LOST, OWN_lost},
    };
    for (size_t n = 0; n < sizeof counters / sizeof counters[0]; n++) {
        if ((verdict & counters[n].bit) != 0)
            count_up(group + counters[n].counter);
    }
}

/* What was the thread state of another thread may be anything once that has ended. */
static void count_error(int group, int error)
{
    if (error == PYUNW_ERR_NO_THREAD)
        count_up(group + OWN_no_thread);
    else if (group != 0 && (error == PYUNW_ERR_FAULT || error == PYUNW_ERR_CORRUPT))
        count_up(group + OWN_gone);
    else
        count_up(group + OWN_error);
}

static bool is_resident(pyunw_addr tstate)
{
    int living = atomic_load(&resident_count);
    for (int n = 0; n < living; n++) {
        if (residents[n] == tstate)
            return true;
    }
    return false;
}

/* Said to have no stack, or not to be; that it could not be told (PYUNW_ERR_TORN) is a marked one. */
static bool is_lost(bool own, int count, const pyunw_status *status)
{
    if (count < 0)
        return count == PYUNW_ERR_NO_THREAD || (!own && (count == PYUNW_ERR_FAULT || count == PYUNW_ERR_CORRUPT));
    return count == 0 && status->end == PYUNW_NO_FRAME;
}

static void judge(bool own, pyunw_addr tstate, pyunw_frame *frames, int count, const pyunw_status *status)
{
    static const int end_counters[] = {OWN_complete, OWN_truncated, OWN_torn, OWN_corrupt, OWN_no_frame};
    int group = own ? 0 : GROUP_SIZE;
    int where = -1;
    bool lost = is_lost(own, count, status) && is_resident(tstate);
    if (count < 0) {
        count_error(group, count);
        if (lost) {
            pyunw_status failed = {.end = count};
            count_up(group + OWN_wrong);
            count_up(group + OWN_lost);
            evidence_keep(EVIDENCE_WRONG, own, tstate, VERDICT_LOST, -1, frames, 0, &failed);
        }
        return;
    }
    bool marked = status->end == PYUNW_TORN || status->end == PYUNW_CORRUPT;
    count_up(group + end_counters[status->end]);
    atomic_fetch_add_explicit(&storm_counters[group + OWN_frames], (unsigned)count, memory_order_relaxed);
    if (status->unconfirmed > 0)
        count_up(group + OWN_unconfirmed);
    int verdict = checker_check(frames, count, status->end == PYUNW_COMPLETE, &where);
    if (lost)
        verdict |= VERDICT_LOST;
    if (marked) {
        evidence_keep(EVIDENCE_MARKED, own, tstate, verdict, where, frames, count, status);
        if (verdict != 0)
            count_up(group + OWN_wrong_marked);
    } else if (verdict != 0) {
        count_up(group + OWN_wrong);
        count_verdict(group, verdict);
        evidence_keep(EVIDENCE_WRONG, own, tstate, verdict, where, frames, count, status);
    }
}

/* The raw walk of the own thread, described afterwards: nothing has moved meanwhile. */
static int walk_and_describe(pyunw_frame *frames, int max, pyunw_status *status)
{
    pyunw_raw_frame raw[FEW];
    int count = pyunw_walk(&target, 0, raw, max < FEW ? max : FEW, status);
    for (int n = 0; n < count; n++) {
        if (pyunw_describe(&target, &raw[n], &frames[n]) < 0)
            return PYUNW_ERR_CORRUPT;
    }
    return count;
}

/* Of the calling thread, if it is one that stays. Its model of storage needs no allocation. */
static _Thread_local pyunw_addr resident_state __attribute__((tls_model("initial-exec")));

static void capture_own(pyunw_frame *frames, uint64_t turn)
{
    pyunw_status status;
    int count;
    count_up(OWN_captures);
    if (turn % 8 == 3)
        count = walk_and_describe(frames, ROOM, &status);
    else
        count = pyunw_capture_current(&target, frames, turn % 8 == 5 ? FEW : ROOM, &status);
    sabotage(frames, count, turn);
    judge(true, resident_state, frames, count, &status);
}

/* ---- All threads ---- */

/* Who was told in one walk over the threads: each that lives throughout must be, and nobody twice. */
struct roll {
    pyunw_thread told[MAX_TOLD];
    int count;
};

static void call_roll(const struct roll *roll)
{
    int living = atomic_load(&resident_count);
    pyunw_addr missing = 0;
    for (int n = 0; n < living; n++) {
        bool told = false;
        for (int i = 0; i < roll->count; i++)
            told = told || roll->told[i].tstate == residents[n];
        if (!told) {
            count_up(STORM_missing);
            missing = residents[n];
        }
    }
    if (missing != 0)
        evidence_keep_list(missing, roll->told, roll->count);
    for (int n = 0; n < roll->count; n++) {
        for (int i = n + 1; i < roll->count; i++) {
            if (roll->told[n].id == roll->told[i].id && roll->told[n].interpreter == roll->told[i].interpreter)
                count_up(STORM_told_twice);
        }
    }
}

static void capture_all(pyunw_frame *frames, uint64_t turn)
{
    pyunw_thread_cursor cursor;
    pyunw_thread thread;
    static struct roll rolls[HANDLERS_OWN];
    struct roll *roll = &rolls[(frames - frames_of[0]) / ROOM];
    roll->count = 0;
    count_up(STORM_lists);
    int more = pyunw_threads_begin(&target, &cursor);
    while (more >= 0 && (more = pyunw_threads_next(&cursor, &thread)) == 1) {
        bool own = (thread.flags & PYUNW_THREAD_CURRENT) != 0;
        pyunw_status status;
        count_up(own ? OWN_captures : OTHER_captures);
        int count = pyunw_capture(&target, thread.tstate, frames, turn % 8 == 5 ? FEW : ROOM, &status);
        sabotage(frames, count, turn);
        judge(own, thread.tstate, frames, count, &status);
        if (roll->count < MAX_TOLD)
            roll->told[roll->count++] = thread;
    }
    if (more < 0)
        count_up(STORM_list_torn);
    else
        call_roll(roll);
}

/* ---- The handler ---- */

/* Handlers that the calling thread is in. */
static _Thread_local int handlers_here __attribute__((tls_model("initial-exec")));

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    int slot = 0;
    count_up(STORM_arrived);
    if (!sender_enter(&slot))
        return;
    if (handlers_here++ > 0)
        count_up(STORM_nested);
    uint64_t entered = sender_now();
    uint64_t turn = atomic_load_explicit(&storm_counters[STORM_handled], memory_order_relaxed);
    if (mode == MODE_OWN)
        capture_own(frames_of[slot], turn);
    else if (mode == MODE_ALL)
        capture_all(frames_of[slot], turn);
    else if ((before.sa_flags & SA_SIGINFO) != 0)
        before.sa_sigaction(number, info, context);
    else
        before.sa_handler(number);
    count_up(STORM_handled);
    handlers_here--;
    sender_leave(slot, entered);
    errno = saved_errno;
}

/* ---- What the program calls ---- */

#define EXPORT __attribute__((visibility("default")))

static const char *const counter_names[] = {
#define OWN_NAME(name) "own_" #name,
#define OTHER_NAME(name) "other_" #name,
#define STORM_NAME(name) #name,
    GROUP_COUNTERS(OWN_NAME) GROUP_COUNTERS(OTHER_NAME) STORM_COUNTERS(STORM_NAME)};

static int open_counters(const char *path)
{
    size_t size = COUNTERS * sizeof *storm_counters;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | ((shape & SHAPE_GOES_ON) != 0 ? 0 : O_TRUNC), 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return PYUNW_ERR_SYSTEM;
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return PYUNW_ERR_SYSTEM;
    storm_counters = mapped;
    return 0;
}

EXPORT void storm_shape(unsigned wanted)
{
    shape = wanted;
    if ((shape & SHAPE_FOREIGN) != 0)
        checker_allow_foreign();
}

/* 0, or an error of pyunwind's with its words in message. counters_path: a file that is made. */
EXPORT int storm_open(int wanted_mode, int memory, int signals_per_second, const char *counters_path, char *message,
                      size_t message_size)
{
    int err = open_counters(counters_path);
    if (err < 0)
        return err;
    mode = wanted_mode;
    rate = signals_per_second;
    pyunw_options options = {.size = sizeof options, .memory = memory};
    options.message = message;
    options.message_size = message_size;
    if (memory == PYUNW_MEMORY_TRAPPED && pyunw_trap_install() < 0)
        return PYUNW_ERR_SYSTEM;
    return pyunw_open_self(&target, &options);
}

/* From another process: reads that one for so many seconds, without a signal. */
EXPORT int storm_read(int pid, double seconds, const char *counters_path, char *message, size_t message_size)
{
    static char room[1 << 21];
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = message_size};
    options.room = room;
    options.room_size = sizeof room;
    int err = open_counters(counters_path);
    if (err == 0)
        err = pyunw_open_pid(&target, pid, &options);
    uint64_t end = sender_now() + (uint64_t)(seconds * 1e9);
    for (uint64_t turn = 0; err == 0 && sender_now() < end; turn++) {
        capture_all(frames_of[0], turn);
        count_up(STORM_handled);
    }
    return err;
}

/* In a child after fork(2), which has one thread. */
EXPORT int storm_in_child(void)
{
    sender_forget();
    atomic_store(&resident_count, 0);
    return 0;
}

EXPORT int storm_raise(void)
{
    return has_begun ? raise(SIGNAL) : 0;
}

/* Each thread that stays for the whole storm says so. */
EXPORT int storm_resident(void)
{
    pyunw_addr tstate = 0;
    if (mode == MODE_DUMP)
        return 0;
    if (pyunw_current_thread(&target, &tstate) < 0)
        return -1;
    int index = atomic_fetch_add(&resident_count, 1);
    if (index >= MAX_RESIDENTS)
        abort();
    atomic_store(&residents[index], tstate);
    resident_state = tstate;
    return index;
}

/* Handlers of the calling thread run on a stack of their own from now on, for as long as the process lives. */
EXPORT int storm_alternate_stack(void)
{
    enum { SIZE = 65536 };
    stack_t stack = {.ss_sp = malloc(SIZE), .ss_size = SIZE};
    return stack.ss_sp == NULL ? -1 : sigaltstack(&stack, NULL);
}

EXPORT int storm_start(int sabotage_turns)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    bool nested = (shape & SHAPE_NESTED) != 0;
    struct sender_options sender = {mode == MODE_DUMP ? NULL : &target, SIGNAL, rate,
                                    mode == MODE_ALL && !nested ? HANDLERS_ALL : HANDLERS_OWN,
                                    (shape & SHAPE_TIMERS) != 0};
    if (nested)
        action.sa_flags |= SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sabotage_each = (unsigned)sabotage_turns;
    if (sigaction(SIGNAL, &action, &before) < 0)
        return errno;
    if (mode == MODE_DUMP && (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN))
        return EINVAL;
    has_begun = true;
    return sender_start(&sender);
}

/* Of a program from before its start to its end: LD_PRELOAD, and the path of the counters. */
__attribute__((constructor)) static void begin_in_program(void)
{
    const char *path = getenv("STORM_PRELOADED");
    const char *all = getenv("STORM_ALL");
    char message[256];
    if (path == NULL)
        return;
    shape = SHAPE_GOES_ON | SHAPE_FOREIGN;
    checker_allow_foreign();
    if (checker_begin(1, 1) != 0 ||
        storm_open(all != NULL ? MODE_ALL : MODE_OWN, PYUNW_MEMORY_GUARDED, 5000, path, message, sizeof message) < 0 ||
        storm_start(0) != 0)
        abort();
}

EXPORT void storm_stop(void)
{
    sender_stop();
    sender_wait_idle();
}

/* Has there been what this storm is for? On a slow machine that may take longer than was asked for. */
EXPORT int storm_has_enough(int handlers)
{
    bool nested = (shape & SHAPE_NESTED) == 0 || atomic_load(&storm_counters[STORM_nested]) > 0;
    return nested && atomic_load(&storm_counters[STORM_handled]) >= (unsigned)handlers;
}

EXPORT void storm_print(int fd, int kind)
{
    evidence_print(fd, kind == EVIDENCE_WRONG ? EVIDENCE_WRONG : EVIDENCE_MARKED);
}

EXPORT int storm_counter_count(void)
{
    return COUNTERS;
}

EXPORT const char *storm_counter_name(int counter)
{
    return counter_names[counter];
}

EXPORT uint64_t storm_counter(int counter)
{
    return storm_counters[counter];
}

/* ---- For the test of the checker ---- */

EXPORT int storm_capture(pyunw_frame *frames, int max, pyunw_status *status)
{
    return pyunw_capture_current(&target, frames, max, status);
}

EXPORT size_t storm_frame_size(void)
{
    return sizeof(pyunw_frame);
}

EXPORT int storm_check(const pyunw_frame *frames, int count, int complete)
{
    int where;
    return checker_check(frames, count, complete != 0, &where);
}

EXPORT int storm_table_begin(int functions, int spots)
{
    return checker_begin(functions, spots);
}

EXPORT int storm_add_function(const char *filename, const char *name, const char *qualname, int flags)
{
    return checker_add_function(filename, name, qualname, flags);
}

EXPORT int storm_add_spot(int function, int line, const uint8_t *callees)
{
    return checker_add_spot(function, line, callees);
}
