/* A signal handler that writes its thread, or all of them, as JSON, for test_json.py. */
#include <pyunwind.h>

#include <signal.h>
#include <stddef.h>

static pyunw_target target;
static int output;
static int all;
static volatile sig_atomic_t result;

static void write_in_handler(int number)
{
    (void)number;
    result = all ? pyunw_write_json_threads(&target, output) : pyunw_write_json(&target, output, 0);
}

int install_handler(int number, int memory, int fd, int all_threads)
{
    pyunw_options options = {.size = sizeof options, .memory = memory};
    struct sigaction action = {.sa_handler = write_in_handler};
    output = fd;
    all = all_threads;
    int err = pyunw_open_self(&target, &options);
    return err < 0 ? err : sigaction(number, &action, NULL);
}

/* Raise it, and say what the writer answered. */
int strike(int number)
{
    result = 1;
    return raise(number) == 0 ? result : 1;
}
