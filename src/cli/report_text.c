/*
 * A report for a person to read: why, then where, then all else.
 */
#include "report_output.h"

#include "report_threads.h"
#include "report_view.h"

enum { SHORT_STACK = 6 };

static void print_crashed(const struct page *page, const json_t *report)
{
    const json_t *thread = report_crashed_thread(report);
    if (thread == NULL)
        return;
    (void)fputc('\n', page->out);
    report_thread_head(page, thread);
    report_stack(page, thread, 0);
}

void report_print_text(FILE *out, const json_t *report, bool coloured, bool verbose)
{
    const struct page page = {out, coloured};
    report_cause(&page, report);
    report_signal(&page, report);
    report_process(&page, report);
    print_crashed(&page, report);
    (void)fputc('\n', out);
    report_circumstances(&page, report);
    report_memory(&page, report);
    report_limits(&page, report);
    report_other_threads(&page, report, verbose ? 0 : SHORT_STACK, "\n");
    if (!verbose)
        return;
    (void)fputc('\n', out);
    report_registers(&page, report);
    report_libraries(&page, report);
}
