/*
 * Runs a command and writes how long it took, the most memory that it had, and its wait status:
 *
 *     measure FILE COMMAND [ARGUMENT ...]      FILE: "nanoseconds KiB status"
 *
 * A process counts the memory of the one that it was forked from as its own. This one is small, where a Python program
 * that would measure is larger than many a command.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    int status = 0;
    if (argc < 3)
        return 2;
    long long began = now();
    pid_t child = fork();
    if (child == 0) {
        (void)execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) < 0)
        return 1;
    long long took = now() - began;
    FILE *file = fopen(argv[1], "w");
    if (file == NULL)
        return 1;
    (void)fprintf(file, "%lld %ld %d\n", took, usage.ru_maxrss, status);
    return fclose(file) == 0 ? 0 : 1;
}
