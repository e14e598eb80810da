/*
 * Which rule refuses, in words: every combination of what decides, against what ptrace(2) and the kernel's
 * Documentation/admin-guide/LSM/Yama.rst say of it.
 */
#include "process_access.h"

#include <stdio.h>
#include <string.h>

static int failed;

static void expect(struct access_facts facts, const char *rule, const char *way_out)
{
    char text[512];
    pyunw_explain_refusal(&facts, 4711, text, sizeof text);
    const char *first = strstr(text, "Either ");
    bool good = strstr(text, rule) != NULL && strstr(text, way_out) != NULL && first != NULL &&
                strstr(first, " or ") != NULL && strlen(text) < 480;
    if (!good) {
        printf("user %u, own %u, ptrace %d, scope %d: %s\n", (unsigned)facts.user, (unsigned)facts.own_user,
               facts.has_sys_ptrace, facts.yama_scope, text);
        failed++;
    }
}

int main(void)
{
    for (int scope = -1; scope <= 2; scope++) {
        expect((struct access_facts){1000, 1000, true, scope}, "CAP_SYS_PTRACE is held", "profile");
        expect((struct access_facts){1000, 1001, true, scope}, "CAP_SYS_PTRACE is held", "profile");
        expect((struct access_facts){1000, 1001, false, scope}, "belongs to user 1001", "--cap-add=SYS_PTRACE");
    }
    expect((struct access_facts){1000, 1000, false, -1}, "PR_SET_DUMPABLE", "--cap-add=SYS_PTRACE");
    expect((struct access_facts){1000, 1000, false, 0}, "PR_SET_DUMPABLE", "run as root");
    expect((struct access_facts){1000, 1000, false, 1}, "only by its ancestors", "kernel.yama.ptrace_scope=0");
    expect((struct access_facts){1000, 1000, false, 2}, "only with CAP_SYS_PTRACE", "kernel.yama.ptrace_scope=0");
    expect((struct access_facts){1000, 1000, false, 3}, "no process be read", "boot without");
    expect((struct access_facts){0, 0, true, 3}, "no process be read", "boot without");
    printf("18 refusals explained, %d wrongly\n", failed);
    return failed != 0;
}
