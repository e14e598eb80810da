"""A control group of one's own with a limit of memory."""

import os

LIMIT = 96 << 20


def own_group(line_start):
    with open("/proc/self/cgroup") as file:
        for line in file:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if line_start(number, controllers):
                return path
    return None


def make_group():
    """(folder, the file of its kills), or None where it cannot be made."""
    name = "pyunwind-test-%d" % os.getpid()
    one = own_group(lambda number, controllers: "memory" in controllers.split(","))
    two = own_group(lambda number, controllers: number == "0")
    ways = []
    if one is not None:
        ways.append(("/sys/fs/cgroup/memory" + one, ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
                     "memory.oom_control"))
    if two is not None:
        ways.append(("/sys/fs/cgroup" + two, ["memory.max"], "memory.events"))
    for parent, limits, kills in ways:
        folder = os.path.join(parent, name)
        try:
            os.mkdir(folder)
        except OSError:
            continue
        try:
            if os.path.exists(os.path.join(folder, limits[0])) and os.path.exists(os.path.join(folder, kills)):
                for limit in limits:
                    if os.path.exists(os.path.join(folder, limit)):
                        with open(os.path.join(folder, limit), "w") as file:
                            file.write("%d" % LIMIT)
                if os.path.exists(os.path.join(folder, "memory.swap.max")):
                    with open(os.path.join(folder, "memory.swap.max"), "w") as file:
                        file.write("0")
                return folder, os.path.join(folder, kills)
        except OSError:
            pass
        os.rmdir(folder)
    return None
