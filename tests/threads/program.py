"""Play all parts of calls.c at once, in threads of this interpreter: program.py LIBRARY. Started by test_threads.py."""

import ctypes
import sys
import threading

library = ctypes.CDLL(sys.argv[1])

CHANGE = {"open_and_close": 20, "install_traps": 200, "open_again": 20, "install_crash": 12, "change_faulthandler": 12}
READ = {"capture": 6, "collect": 50, "attach": 10}
READERS = 2  # of each

results = {}


def play(key, rounds):
    results[key] = library[key.split()[0]](rounds)


def main():
    error = library.begin(len(CHANGE))
    if error:
        sys.exit("begin: error %d" % error)
    parts = dict(CHANGE)
    parts.update(("%s %d" % (name, n), rounds) for name, rounds in READ.items() for n in range(READERS))
    threads = [threading.Thread(target=play, args=part) for part in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bad = {key: result for key, result in results.items() if result <= 0}
    if bad or len(results) != len(parts):
        sys.exit("errors: %s" % bad)
    print(sum(results.values()))


main()
