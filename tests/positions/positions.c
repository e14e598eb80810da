/*
 * The loops of test_positions.py over the code units of one code object.
 */
#include <pyunwind.h>

enum { CODE_UNIT = 2 }; /* bytes, in every version */

/* The position of each of count code units from byte offset first on. How many could be found. */
int find_positions(const pyunw_target *target, pyunw_addr code, int first, int count, pyunw_position *positions)
{
    int found = 0;
    for (int n = 0; n < count; n++) {
        pyunw_raw_frame raw = {.code = code, .offset = first + CODE_UNIT * n};
        found += pyunw_find_position(target, &raw, &positions[n]) == PYUNW_OK;
    }
    return found;
}

/* The interpreter's own answer for the line of each: addr2line is its PyCode_Addr2Line. */
void find_lines(int (*addr2line)(void *code, int offset), void *code, int first, int count, int32_t *lines)
{
    for (int n = 0; n < count; n++)
        lines[n] = addr2line(code, first + CODE_UNIT * n);
}
