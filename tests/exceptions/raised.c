/*
 * Exceptions on their way, as C code raises them: for test_messages.py and crashing.py. Called with the GIL held.
 */
#include <pyunwind.h>

#include <dlfcn.h>
#include <stddef.h>

/* What pyunw_exception_find() returns while PyErr_SetObject(type, value) stands; value may be NULL. */
int find_while_raised(const pyunw_target *target, void *type, void *value, pyunw_exception *exception,
                      pyunw_exception_text *text)
{
    void (*set_object)(void *, void *) = (void (*)(void *, void *))dlsym(RTLD_DEFAULT, "PyErr_SetObject");
    void (*clear)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyErr_Clear");
    if (set_object == NULL || clear == NULL)
        return -100;
    set_object(type, value);
    int found = pyunw_exception_find(target, 0, exception);
    int err = found == 1 ? pyunw_describe_exception(target, exception, text) : 0;
    clear();
    return err < 0 ? err : found;
}

/* Die of a null read while PyErr_SetObject(type, value) stands. */
void raise_and_crash(void *type, void *value)
{
    void (*set_object)(void *, void *) = (void (*)(void *, void *))dlsym(RTLD_DEFAULT, "PyErr_SetObject");
    volatile const int *nothing = NULL;
    if (set_object != NULL)
        set_object(type, value);
    (void)*nothing;
}
