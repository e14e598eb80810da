// An exception that nobody catches: ctypes calls this from C, through which it would unwind, hence the noexcept around
// it.
#include <stdexcept>

static __attribute__((noinline)) void raise_error()
{
    throw std::runtime_error("nobody catches it");
}

extern "C" __attribute__((visibility("default"), noinline)) void throw_uncaught() noexcept
{
    raise_error();
}
