/*
 * The control group of a process, and the container that its name tells of.
 * Include from: cli.
 */
#ifndef PYUNW_CLI_CONTROL_GROUP_H
#define PYUNW_CLI_CONTROL_GROUP_H

#include <sys/types.h>

/*
 * Its path, as the reader's cgroup namespace shows it: in the unified hierarchy (cgroups(7), version 2), and where that
 * has nothing to say ("/"), the longest in the others. To be freed; NULL: not known.
 */
char *control_group_read(pid_t pid);

enum { CONTAINER_ID_SIZE = 72 };

/*
 * The container's id, as its runtime names the group: 64 hexadecimal digits (Docker, containerd, CRI-O, Podman), 32 and
 * a number behind a "-" (Amazon ECS), or a UUID (Garden). The innermost, where containers are nested; "" for none.
 */
void control_group_container(const char *path, char id[CONTAINER_ID_SIZE]);

#endif
