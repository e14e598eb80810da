/*
 * Walk native stacks by the unwind tables of the files (.eh_frame, else .debug_frame), and say what lies there.
 * Signal-safe: no.
 */
#include "native.h"
#include "native_registers.h"

#include <stdlib.h>

/* ---- The handle ---- */

pyunw_native *pyunw_native_make(Dwfl *dwfl, native_read_word *read_word, void *source,
                                void (*free_source)(void *source))
{
    struct pyunw_native *native = calloc(1, sizeof *native);
    if (native != NULL)
        *native =
            (struct pyunw_native){.dwfl = dwfl, .read_word = read_word, .source = source, .free_source = free_source};
    return native;
}

void pyunw_native_close(pyunw_native *native)
{
    if (native == NULL)
        return;
    pyunw_native_names_free(&native->names);
    dwfl_end(native->dwfl);
    native->free_source(native->source);
    free(native);
}

/* ---- Walking ---- */

struct native_walk {
    pyunw_native *native;
    pyunw_native_frame *frames;
    int max;
    int count;
    int end; /* enum pyunw_native_end */
};

/* A return address may lie behind the function that calls, where that does not return: the call itself does not. */
static pyunw_addr address_of_call(const pyunw_native_frame *frame)
{
    bool exact = (frame->flags & PYUNW_NATIVE_INTERRUPTED) != 0 || frame->address == 0;
    return exact ? frame->address : frame->address - 1;
}

static struct native_source *source_of(const pyunw_native *native)
{
    return native->source;
}

/* Is the file of the module there, by which to go on? */
static bool take_module(pyunw_native_frame *frame, Dwfl_Module *module)
{
    Dwarf_Addr begin = 0;
    GElf_Addr bias = 0;
    const unsigned char *build_id = NULL;
    GElf_Addr build_id_at = 0;
    bool has_file = dwfl_module_getelf(module, &bias) != NULL;
    frame->module = dwfl_module_info(module, NULL, &begin, NULL, NULL, NULL, NULL, NULL);
    frame->module_offset = frame->address - (has_file ? bias : begin);
    int size = dwfl_module_build_id(module, &build_id, &build_id_at);
    frame->build_id = size > 0 ? build_id : NULL;
    frame->build_id_size = size > 0 ? (uint32_t)size : 0;
    return has_file;
}

static int take_frame(Dwfl_Frame *state, void *context)
{
    struct native_walk *walk = context;
    Dwarf_Addr address = 0;
    Dwarf_Word stack = 0;
    bool interrupted = false;
    if (!dwfl_frame_pc(state, &address, &interrupted))
        return DWARF_CB_ABORT;
    if (walk->count == walk->max) {
        walk->end = PYUNW_NATIVE_TRUNCATED;
        return DWARF_CB_ABORT;
    }
    pyunw_native_frame *frame = &walk->frames[walk->count++];
    if (dwfl_frame_reg(state, STACK_POINTER, &stack) != 0)
        stack = 0;
    *frame = (pyunw_native_frame){
        .address = address, .stack = stack, .lineno = -1, .flags = interrupted ? PYUNW_NATIVE_INTERRUPTED : 0};
    Dwfl_Module *module = dwfl_addrmodule(walk->native->dwfl, address_of_call(frame));
    /* Of code whose file is not to be had nothing says where its caller is: what would follow is a guess. */
    return module != NULL && take_module(frame, module) ? DWARF_CB_OK : DWARF_CB_ABORT;
}

int pyunw_native_walk(pyunw_native *native, pid_t task, pyunw_native_frame *frames, int max, int *end)
{
    if (native == NULL || (frames == NULL && max > 0) || max < 0 || end == NULL)
        return PYUNW_ERR_ARGUMENT;
    struct native_walk walk = {native, frames, max, 0, PYUNW_NATIVE_CUT};
    /* Of one read that fails libdwfl loses a register only, goes on, and takes a later frame for the outermost one. */
    source_of(native)->unread = false;
    if (dwfl_getthread_frames(native->dwfl, task, take_frame, &walk) == 0 && !source_of(native)->unread)
        walk.end = PYUNW_NATIVE_COMPLETE;
    *end = walk.end;
    return walk.count > 0 || walk.end == PYUNW_NATIVE_TRUNCATED ? walk.count : PYUNW_ERR_NO_THREAD;
}

/* ---- From where a signal came ---- */

struct native_reader {
    struct word_reader reader; /* first: it is what the callback is given */
    const pyunw_native *native;
};

static bool read_native_word(const struct word_reader *reader, uint64_t address, uint64_t *word)
{
    const pyunw_native *native = ((const struct native_reader *)reader)->native;
    Dwarf_Word value = 0;
    bool good = native->read_word(native->dwfl, address, &value, native->source);
    *word = value;
    return good;
}

static bool is_code(const pyunw_native *native, pyunw_addr address)
{
    return dwfl_addrmodule(native->dwfl, address) != NULL;
}

int pyunw_native_walk_context(pyunw_native *native, pid_t task, pyunw_addr context, pyunw_native_frame *frames, int max,
                              int *end)
{
    struct user_regs_struct registers;
    if (native == NULL || (frames == NULL && max > 0) || max < 0 || end == NULL)
        return PYUNW_ERR_ARGUMENT;
    if (native->set_registers == NULL)
        return PYUNW_ERR_UNSUPPORTED;
    const struct native_reader reader = {{read_native_word}, native};
    if (!pyunw_native_registers_read(&reader.reader, context, &registers))
        return PYUNW_ERR_FAULT;
    int jumped = 0; /* frames of what is no code */
    pyunw_addr pc = pyunw_native_registers_pc(&registers);
    if (max > 0 && !is_code(native, pc) && pyunw_native_registers_leave(&reader.reader, &registers) &&
        is_code(native, pyunw_native_registers_pc(&registers))) {
        frames[jumped++] = (pyunw_native_frame){.address = pc, .lineno = -1, .flags = PYUNW_NATIVE_INTERRUPTED};
    }
    native->set_registers(native->source, task, &registers);
    int count = pyunw_native_walk(native, task, frames + jumped, max - jumped, end);
    native->set_registers(native->source, task, NULL);
    if (count < 0)
        return jumped > 0 ? jumped : count;
    if (jumped > 0 && count > 0)
        frames[jumped].flags &= ~(uint32_t)PYUNW_NATIVE_INTERRUPTED; /* what it was to return to */
    return jumped + count;
}

/* ---- Files ---- */

struct module_list {
    pyunw_native_module *modules;
    int max;
    int count;
};

static int add_module(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr address, void *context)
{
    struct module_list *list = context;
    (void)data, (void)name, (void)address;
    int at = list->count++;
    if (at >= list->max)
        return DWARF_CB_OK;
    Dwarf_Addr begin = 0;
    Dwarf_Addr end = 0;
    const unsigned char *build_id = NULL;
    GElf_Addr build_id_at = 0;
    GElf_Addr bias = 0;
    const char *path = dwfl_module_info(module, NULL, &begin, &end, NULL, NULL, NULL, NULL);
    (void)dwfl_module_getelf(module, &bias); /* opens it, which has the build id */
    int size = dwfl_module_build_id(module, &build_id, &build_id_at);
    list->modules[at] = (pyunw_native_module){
        .path = path,
        .build_id = size > 0 ? build_id : NULL,
        .build_id_size = size > 0 ? (uint32_t)size : 0,
        .begin = begin,
        .end = end,
    };
    return DWARF_CB_OK;
}

int pyunw_native_modules(pyunw_native *native, pyunw_native_module *modules, int max)
{
    if (native == NULL || max < 0 || (modules == NULL && max > 0))
        return PYUNW_ERR_ARGUMENT;
    struct module_list list = {modules, max, 0};
    (void)dwfl_getmodules(native->dwfl, add_module, &list, 0);
    return list.count;
}

/* ---- Description ---- */

/* True where the frame just inward of it must be the handler of an instruction, called by this loop. */
static int describe(pyunw_native *native, pyunw_native_frame *frame, bool *calls_its_parts)
{
    pyunw_addr address = address_of_call(frame);
    Dwfl_Module *module = dwfl_addrmodule(native->dwfl, address);
    *calls_its_parts = false;
    if (module == NULL)
        return PYUNW_OK;
    const struct native_name *name = pyunw_native_names_find(&native->names, module, address);
    if (name == NULL)
        return PYUNW_ERR_SYSTEM;
    frame->function = name->function;
    frame->function_offset = name->function_offset + (frame->address - address);
    frame->filename = name->filename;
    frame->lineno = name->lineno;
    frame->flags |= name->flags;
    *calls_its_parts = name->calls_its_parts;
    return PYUNW_OK;
}

int pyunw_native_describe(pyunw_native *native, pyunw_native_frame *frames, int count)
{
    if (native == NULL || (frames == NULL && count > 0) || count < 0)
        return PYUNW_ERR_ARGUMENT;
    for (int n = 0; n < count; n++) {
        bool calls_its_parts = false;
        int err = describe(native, &frames[n], &calls_its_parts);
        if (err < 0)
            return err;
        /* In a stripped file the handlers have no names; what has a name is not one. */
        if (calls_its_parts && n > 0 && frames[n - 1].function == NULL && frames[n - 1].module == frames[n].module)
            frames[n - 1].flags |= PYUNW_NATIVE_LOOP_PART;
    }
    return PYUNW_OK;
}
