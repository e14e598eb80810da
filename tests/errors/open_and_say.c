/*
 * Opens the own process and says how that went: "code: message". Every other function then finds no open target.
 * With an argument, a library of that path is loaded first.
 */
#include <dlfcn.h>
#include <pyunwind.h>
#include <pyunwind_python.h>
#include <stdio.h>

int main(int count, char **arguments)
{
    char message[256] = "";
    pyunw_options options = {.size = sizeof options, .message = message, .message_size = sizeof message};
    pyunw_target target;
    pyunw_thread_cursor threads;
    pyunw_frame frame;
    pyunw_status status;
    PyTracebackFrameInfo info;
    if (count > 1 && dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    int err = pyunw_open_self(&target, &options);
    printf("%d: %s\n", err, message);
    if (err == 0)
        return 0;
    /* What failed to open is closed, and no function takes it for open. */
    int codes[] = {
        pyunw_threads_begin(&target, &threads),
        pyunw_capture_current(&target, &frame, 1, &status),
        pyunw_capture(&target, 4096, &frame, 1, &status),
        pyunw_write_text(&target, 1, 0),
        pyunw_write_json_threads(&target, 1),
        pyunw_open_self(&target, NULL) == err ? PYUNW_ERR_NOT_OPEN : 1,
        pyunw_init() == err ? PYUNW_ERR_NOT_OPEN : 1,
        _Py_GetTracebackFrames((PyThreadState *)&frame, &info, 1) == -1 ? PYUNW_ERR_NOT_OPEN : 1,
        pyunw_python_dump(-1, NULL) != NULL ? PYUNW_ERR_NOT_OPEN : 1,
    };
    for (size_t n = 0; n < sizeof codes / sizeof codes[0]; n++) {
        if (codes[n] != PYUNW_ERR_NOT_OPEN)
            printf("call %zu: %d\n", n, codes[n]);
    }
    return 0;
}
