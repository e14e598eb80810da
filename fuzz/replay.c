/*
 * replay FILE-OR-FOLDER...: run a fuzz target over inputs that are kept, without a fuzzer.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    struct stat about;
    if (file == NULL || fstat(fileno(file), &about) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    size_t size = (size_t)about.st_size;
    uint8_t *bytes = malloc(size); /* no more than the input, so that a sanitizer sees what is read behind it */
    bool whole = bytes != NULL && fread(bytes, 1, size, file) == size;
    (void)fclose(file);
    if (whole) {
        (void)printf("%s\n", path); /* where it ends the process, the last line tells which */
        (void)fflush(stdout);
        (void)LLVMFuzzerTestOneInput(bytes, size);
    }
    free(bytes);
    return whole ? 1 : -1;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *path)
{
    struct dirent **entries;
    int replayed = 0;
    int count = scandir(path, &entries, is_input, alphasort);
    for (int n = 0; n < count; n++) {
        char name[4096];
        (void)snprintf(name, sizeof name, "%s/%s", path, entries[n]->d_name);
        free(entries[n]);
        int result = replayed < 0 ? -1 : replay_file(name);
        replayed = result < 0 ? -1 : replayed + result;
    }
    if (count >= 0)
        free((void *)entries);
    return replayed;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int n = 1; n < argc; n++) {
        struct stat about;
        bool folder = stat(argv[n], &about) == 0 && S_ISDIR(about.st_mode);
        int result = folder ? replay_folder(argv[n]) : replay_file(argv[n]);
        if (result < 0)
            return 1;
        total += result;
    }
    (void)printf("%d inputs\n", total);
    return total > 0 ? 0 : 1;
}
