/*
 * Name the extension modules, as CPython 3.10 does (Python/pylifecycle.c, _Py_DumpExtensionModules()).
 * Signal-safe: yes.
 */
#include "faulthandler.h"
#include "output.h"

#include <sys/uio.h>

/* 0 where it cannot be read. */
static uint64_t word_at(pyunw_addr address)
{
    uint64_t value = 0;
    const struct iovec here = {.iov_base = &value, .iov_len = sizeof value};
    const struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof value};
    long pid = raw_syscall0(SYS_getpid);
    (void)raw_syscall6(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0);
    return value;
}

/* Objects/moduleobject.c, _PyModule_IsExtension(). */
static bool is_extension(const pyunw_faulthandler_modules *modules, pyunw_addr object)
{
    if (object == 0 || word_at(object + (uint64_t)modules->type_offset) != modules->module_type)
        return false;
    pyunw_addr definition = word_at(object + (uint64_t)modules->definition_offset);
    return definition != 0 && word_at(definition + (uint64_t)modules->methods_offset) != 0;
}

static bool is_left_out(const char *names, const char *name)
{
    while (*names != '\0') {
        size_t at = 0;
        while (names[at] != '\0' && names[at] == name[at])
            at++;
        if (names[at] == name[at])
            return true;
        while (names[at] != '\0')
            at++;
        names += at + 1;
    }
    return false;
}

/* One character of valid UTF-8: its code point, and its bytes. */
static uint32_t decode(const char *text, size_t *size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t value = bytes[0];
    *size = value < 0xc0 ? 1 : value < 0xe0 ? 2 : value < 0xf0 ? 3 : 4;
    if (*size == 1)
        return value;
    value &= 0x7fu >> *size;
    for (size_t n = 1; n < *size; n++)
        value = value << 6 | (bytes[n] & 0x3fu);
    return value;
}

static void write_escaped(struct output *output, const char *text)
{
    size_t size = 0;
    for (; *text != '\0'; text += size) {
        uint32_t value = decode(text, &size);
        if (value >= ' ' && value <= '~') {
            pyunw_output_bytes(output, text, 1);
            continue;
        }
        pyunw_output_string(output, value <= 0xff ? "\\x" : value <= 0xffff ? "\\u" : "\\U");
        pyunw_output_hex(output, value, value <= 0xff ? 2 : value <= 0xffff ? 4 : 8);
    }
}

void pyunw_faulthandler_write_modules(int fd)
{
    const struct faulthandler *state = &pyunw_faulthandler;
    pyunw_local_cursor cursor;
    pyunw_local module;
    struct output output;
    int count = 0;
    if (state->modules.modules == 0 || pyunw_namespace_begin(&state->target, state->modules.modules, &cursor) < 0)
        return;
    pyunw_output_begin(&output, fd);
    while (pyunw_locals_next(&cursor, &module) == 1) {
        if (is_left_out(state->modules.left_out, module.name) || !is_extension(&state->modules, module.object))
            continue;
        pyunw_output_string(&output, count++ == 0 ? "\nExtension modules: " : ", ");
        write_escaped(&output, module.name);
    }
    if (count > 0) {
        pyunw_output_string(&output, " (total: ");
        pyunw_output_decimal(&output, count);
        pyunw_output_string(&output, ")\n");
    }
    (void)pyunw_output_flush(&output);
}
