"""Run by gdb: print the stacks of all threads, as one line of JSON: {kernel thread id: [[address, function], ...]}."""

import json

import gdb

stacks = {}
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and frame.is_valid():
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):  # those are not on the stack
            frames.append([frame.pc(), frame.name()])
        frame = frame.older()
    stacks[thread.ptid[1]] = frames
print("STACKS " + json.dumps(stacks))
