/*
 * Names of functions from symbol tables (of the file, or of its debuginfo), files and lines from debuginfo.
 * Signal-safe: no.
 */
#include "native_names.h"

#include "pyunwind_remote.h"

#include <stdlib.h>
#include <string.h>

/* "name", or one of the pieces into which a compiler cuts it: "name.cold", "name.part.0", "name.lto_priv.0". */
static bool is_function(const char *symbol, const char *name)
{
    size_t length = strlen(name);
    return strncmp(symbol, name, length) == 0 && (symbol[length] == '\0' || symbol[length] == '.');
}

static void recognise(struct native_name *name, const GElf_Sym *symbol)
{
    /* With all instructions in it, the loop has 25 KiB and more. */
    enum { SMALLEST_LOOP = 16384 };
    static const char handler[] = "_TAIL_CALL_"; /* Python/generated_cases.c.h, 3.14+ */
    if (is_function(name->function, "_PyEval_EvalFrameDefault")) {
        bool whole = strchr(name->function, '.') == NULL;
        name->flags = PYUNW_NATIVE_EVALUATION_LOOP;
        name->calls_its_parts = whole && symbol->st_size < SMALLEST_LOOP;
    } else if (strncmp(name->function, handler, sizeof handler - 1) == 0) {
        name->flags = PYUNW_NATIVE_LOOP_PART;
    } else if (is_function(name->function, "take_gil")) {
        name->flags = PYUNW_NATIVE_TAKES_GIL;
    }
}

/* "clock_nanosleep@@GLIBC_2.17" is how a symbol table has it, not how the function is called. */
static void take_version_off(struct native_name *name)
{
    const char *version = strchr(name->function, '@');
    if (version == NULL || version == name->function)
        return;
    name->unversioned = strndup(name->function, (size_t)(version - name->function));
    if (name->unversioned != NULL)
        name->function = name->unversioned;
}

static void find_function(struct native_name *name, Dwfl_Module *module)
{
    GElf_Sym symbol;
    GElf_Off offset = 0;
    name->function = dwfl_module_addrinfo(module, name->address, &offset, &symbol, NULL, NULL, NULL);
    if (name->function == NULL || *name->function == '\0') {
        name->function = NULL;
        return;
    }
    name->function_offset = offset;
    take_version_off(name);
    recognise(name, &symbol);
}

/*
 * Of what the C library and the loader do, the functions tell enough. Their debuginfo, of which Debian compresses all
 * sections, would take longer to unpack than everything else takes together: 30 ms.
 */
static bool wants_lines(Dwfl_Module *module)
{
    static const char *const files[] = {"libc.so.", "libc-2.", "libpthread", "ld-linux", "ld-2.", "[vdso]"};
    const char *path = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    for (size_t n = 0; n < sizeof files / sizeof files[0]; n++) {
        if (strncmp(name, files[n], strlen(files[n])) == 0)
            return false;
    }
    return true;
}

static void find_line(struct native_name *name, Dwfl_Module *module)
{
    Dwfl_Line *line = dwfl_module_getsrc(module, name->address);
    int number = 0;
    const char *file = line != NULL ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
    if (file == NULL)
        return;
    name->filename = file;
    if (number > 0)
        name->lineno = number;
}

/* Where address is, or would be. */
static struct native_name *find_entry(const struct native_names *names, pyunw_addr address)
{
    size_t mask = names->room - 1;
    size_t at = (size_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;
    while (names->entries[at].address != 0 && names->entries[at].address != address)
        at = (at + 1) & mask;
    return &names->entries[at];
}

static bool grow(struct native_names *names)
{
    enum { ROOM_BEGIN = 1024 };
    struct native_names grown = {.room = names->room == 0 ? ROOM_BEGIN : names->room * 2, .count = names->count};
    grown.entries = calloc(grown.room, sizeof *grown.entries);
    if (grown.entries == NULL)
        return false;
    for (size_t n = 0; n < names->room; n++) {
        if (names->entries[n].address != 0)
            *find_entry(&grown, names->entries[n].address) = names->entries[n];
    }
    free(names->entries);
    *names = grown;
    return true;
}

const struct native_name *pyunw_native_names_find(struct native_names *names, Dwfl_Module *module, pyunw_addr address)
{
    if (names->count * 2 >= names->room && !grow(names))
        return NULL;
    struct native_name *name = find_entry(names, address);
    if (name->address == address)
        return name;
    *name = (struct native_name){.address = address, .lineno = -1};
    names->count++;
    find_function(name, module);
    if (wants_lines(module))
        find_line(name, module);
    return name;
}

void pyunw_native_names_free(struct native_names *names)
{
    for (size_t n = 0; n < names->room; n++)
        free(names->entries[n].unversioned);
    free(names->entries);
    *names = (struct native_names){0};
}
