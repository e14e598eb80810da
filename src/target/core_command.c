/*
 * The arguments of a core's process, from its stack. There the kernel put, from low to high: their number, a pointer to
 * each, 0, a pointer to each variable of the environment, 0, the auxiliary vector, and behind it the strings.
 * Signal-safe: no.
 */
#include "core.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 1 << 16, MANY_WINDOWS = 128, MANY_WORDS = 1 << 18, LONG_COMMAND = 1 << 21 };

static bool read_word(const pyunw_core *core, pyunw_addr address, uint64_t *word)
{
    return pyunw_core_read_dumped(core, address, word, sizeof *word) == 0;
}

/* The vector begins headers_index entries before AT_PHDR and its value, which hardly stand side by side elsewhere. */
static pyunw_addr find_vector(const pyunw_core *core)
{
    const uint64_t wanted[2] = {AT_PHDR, core->headers};
    const struct mapping *stack = pyunw_process_maps_find(&core->maps, core->executable_name);
    pyunw_addr found = 0;
    uint8_t *window = stack != NULL ? malloc(WINDOW) : NULL;
    pyunw_addr end = core->executable_name & ~UINT64_C(15);
    for (int n = 0; window != NULL && found == 0 && n < MANY_WINDOWS && end > stack->begin; n++) {
        size_t size = end - stack->begin < WINDOW ? (size_t)(end - stack->begin) : WINDOW;
        if (pyunw_core_read_dumped(core, end - size, window, size) < 0)
            break;
        for (size_t at = size; found == 0 && at >= 16; at -= 8) {
            if (memcmp(window + at - 16, wanted, sizeof wanted) == 0)
                found = end - size + at - 16;
        }
        if (size <= 16)
            break;
        end -= size - 16;
    }
    free(window);
    return found != 0 ? found - sizeof(Elf64_auxv_t) * core->headers_index : 0;
}

/* Down from address to the word behind a 0; how many words are not 0 up to there. */
static bool skip_pointers(const pyunw_core *core, pyunw_addr *address, size_t *count)
{
    uint64_t word = 1;
    for (*count = 0; *count < MANY_WORDS; (*count)++) {
        if (!read_word(core, *address - 8, &word))
            return false;
        if (word == 0)
            return true;
        *address -= 8;
    }
    return false;
}

/* From the vector's beginning down to the pointers to the arguments. */
static bool find_arguments(const pyunw_core *core, pyunw_addr vector, pyunw_addr *pointers, size_t *count)
{
    uint64_t word = 0;
    size_t variables = 0;
    pyunw_addr at = vector - 8;
    if (!skip_pointers(core, &at, &variables))
        return false;
    at -= 8;
    /* Of the arguments no 0 tells the beginning, but their number. */
    for (*count = 0; *count < MANY_WORDS; (*count)++, at -= 8) {
        if (!read_word(core, at - 8, &word))
            return false;
        if (word == *count) {
            *pointers = at;
            return true;
        }
    }
    return false;
}

static bool append_string(pyunw_core *core, pyunw_addr address)
{
    char bytes[64];
    while (core->command_size < LONG_COMMAND) {
        size_t size = sizeof bytes - (size_t)(address % sizeof bytes);
        char *grown = realloc(core->command, core->command_size + sizeof bytes);
        if (grown == NULL)
            return false;
        core->command = grown;
        if (pyunw_core_read_dumped(core, address, bytes, size) < 0)
            return false;
        size_t length = strnlen(bytes, size);
        size_t taken = length < size ? length + 1 : size;
        memcpy(core->command + core->command_size, bytes, taken);
        core->command_size += taken;
        if (length < size)
            return true;
        address += size;
    }
    return false;
}

void pyunw_core_read_command(pyunw_core *core)
{
    pyunw_addr pointers = 0;
    size_t count = 0;
    uint64_t address = 0;
    bool good = core->headers != 0 && core->executable_name != 0;
    pyunw_addr vector = good ? find_vector(core) : 0;
    good = vector != 0 && find_arguments(core, vector, &pointers, &count);
    for (size_t n = 0; good && n < count; n++)
        good = read_word(core, pointers + 8 * n, &address) && append_string(core, address);
    if (good)
        return;
    /* The kernel's own note of them has at most 80 bytes, with blanks between. */
    free(core->command);
    core->command_size = core->has_process ? strnlen(core->process.pr_psargs, sizeof core->process.pr_psargs) + 1 : 0;
    core->command = calloc(core->command_size + 1, 1);
    if (core->command == NULL || core->command_size <= 1)
        core->command_size = 0;
    else
        memcpy(core->command, core->process.pr_psargs, core->command_size - 1);
}
