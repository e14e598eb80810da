/*
 * Text written from signal handlers and from threads of C, for test_text.py. faulthandler.register(chain=True) calls
 * the handler that was there before: the one here, so that both write of the same moment.
 */
#include <pyunwind.h>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>

/* Of the interpreter in this process. */
int PyGILState_Ensure(void);
void PyGILState_Release(int state);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *tstate);

static pyunw_target target;
static int output;
static int all;
static volatile sig_atomic_t result;
static volatile sig_atomic_t calls;

static void write_in_handler(int number)
{
    pyunw_addr current = 0;
    (void)number;
    calls++;
    if (!all) {
        result = pyunw_write_text(&target, output, 0);
        return;
    }
    /* A thread that Python does not know writes them all too, and none is current. */
    int err = pyunw_current_thread(&target, &current);
    if (err < 0 && err != PYUNW_ERR_NO_THREAD)
        result = err;
    else
        result = pyunw_write_text_threads(&target, output, 0, current, 0);
}

int install_handler(int number, int memory, int fd, int all_threads)
{
    pyunw_options options = {.size = sizeof options, .memory = memory};
    struct sigaction action = {.sa_handler = write_in_handler, .sa_flags = SA_ONSTACK};
    output = fd;
    all = all_threads;
    int err = pyunw_open_self(&target, &options);
    return err < 0 ? err : sigaction(number, &action, NULL);
}

/* How often the handler ran since the last time, and what the last call answered. */
int take_calls(int *last_result)
{
    int count = calls;
    calls = 0;
    *last_result = result;
    return count;
}

/* ---- Threads of C ---- */

static void *raise_as_stranger(void *number)
{
    raise(*(int *)number);
    return NULL;
}

static void *raise_without_frames(void *number)
{
    int state = PyGILState_Ensure();
    raise(*(int *)number);
    PyGILState_Release(state);
    return NULL;
}

static int run_thread(void *(*function)(void *), int number)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, function, &number);
    return err != 0 ? err : pthread_join(thread, NULL);
}

/* Raise a signal in a thread that Python does not know. */
int raise_in_stranger(int number)
{
    return run_thread(raise_as_stranger, number);
}

/* Raise a signal in a thread that has a thread state, and no Python frame. */
int raise_in_thread_without_frames(int number)
{
    return run_thread(raise_without_frames, number);
}

/* A thread that has a thread state and no Python frame, and stands still. */
static pthread_t standing;
static sem_t ready;
static sem_t gate;

static void *stand_without_frames(void *unused)
{
    int state = PyGILState_Ensure();
    void *tstate = PyEval_SaveThread();
    sem_post(&ready);
    while (sem_wait(&gate) != 0)
        continue;
    PyEval_RestoreThread(tstate);
    PyGILState_Release(state);
    return unused;
}

int begin_thread_without_frames(void)
{
    sem_init(&ready, 0, 0);
    sem_init(&gate, 0, 0);
    int err = pthread_create(&standing, NULL, stand_without_frames, NULL);
    while (err == 0 && sem_wait(&ready) != 0)
        continue;
    return err;
}

int end_thread_without_frames(void)
{
    sem_post(&gate);
    return pthread_join(standing, NULL);
}
