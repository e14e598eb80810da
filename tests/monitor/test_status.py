# interpreters: host
"""
`pyunwind run` ends as the program ends: exit statuses, deaths by signal, 125, 126 and 127, and what a program is given:
descriptors, signal mask, dispositions, limits. The oracle is the same program without pyunwind.
"""

import os
import resource
import signal
import subprocess
import sys

from running import COMMAND, FOLDER, OPTIONS, SANITIZED, check, environment, finish, may_trace, reports, run, under

FATAL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2,
         signal.SIGQUIT, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
         signal.SIGTRAP, signal.SIGSYS, signal.SIGXCPU, signal.SIGRTMIN + 3]

SHOW = r"""
for fd in /proc/self/fd/*; do
    case "$(readlink $fd)" in /proc/*) ;; *) echo "${fd##*/}" "$(readlink $fd | sed 's/[0-9][0-9]*//g')" ;; esac
done
grep -E '^(Cap|NoNewPrivs|Seccomp:|Umask)' /proc/self/status
cat /proc/self/limits; pwd
"""


def check_statuses():
    for code in (0, 1, 2, 7, 125, 126, 127, 128, 137, 255):
        command = ["/bin/sh", "-c", "exit %d" % code]
        check(run(under(command)).status == run(command).status == code, "exit status", code)
    for number in FATAL:
        command = ["/bin/sh", "-c", "kill -%d $$" % number]
        bare, monitored = run(command), run(under(command))
        check(bare.status == monitored.status == -number, number, bare.status, monitored.status)
        check(monitored.errors == b"", monitored.errors)
    check(reports() == [], "reports of processes without Python")
    return 10 + len(FATAL)


def check_failures():
    for command, status, words in (
        (["/no/such/program"], 127, b"No such file"),
        (["no-such-program-anywhere"], 127, b"No such file"),
        (["/etc/passwd"], 126, b"Permission denied"),
        (["/"], 126, b"Permission denied"),
    ):
        shell = run(["/bin/sh", "-c", '"$0"', *command])
        outcome = run(under(command))
        check(outcome.status == shell.status == status and words in outcome.errors, command, outcome.status, shell.status,
              outcome.errors)
    for arguments, words in (
        ([], b"no command"),
        (["--nonsense", "true"], b"nonsense"),
        (["--time-limit", "soon", "true"], b"number of seconds"),
        (["--signals", "KILL", "true"], b"SEGV, BUS"),
        (["--keep", "many", "true"], b"whole number"),
        (["--report-fd", "77", "true"], b"77 is not open"),
        (["--report-dir", "/dev/null/x", "true"], b"--report-dir names another"),
        (["--report-dir", "/etc/passwd", "true"], b"--report-dir names another"),
    ):
        outcome = run([COMMAND, "run", *arguments])
        check(outcome.status == 125 and words in outcome.errors, arguments, outcome.status, outcome.errors)
    open_to_all = os.path.join(os.getcwd(), "open")
    os.mkdir(open_to_all)
    os.chmod(open_to_all, 0o777)
    outcome = run([COMMAND, "run", "--report-dir", open_to_all, "true"])
    check(outcome.status == 125 and b"chmod 700" in outcome.errors, outcome.errors)


def check_inheritance():
    def prepare():
        os.dup2(os.open("/dev/zero", os.O_RDONLY), 9)
        os.set_inheritable(9, True)
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1, signal.SIGWINCH])
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))

    how = {"preexec_fn": prepare, "pass_fds": (9,)}
    os.dup2(os.open("/dev/zero", os.O_RDONLY), 9)
    command = ["/bin/sh", "-c", SHOW]
    bare, monitored = run(command, **how), run(under(command), **how)
    check(len(bare.output) > 500 and b"\n9 /dev/zero\n" in b"\n" + bare.output, bare.output)
    check(bare.output == monitored.output, "not as found:", bare.output, monitored.output)
    # By itself: a shell sets the signal mask anew.
    signals = ["/bin/grep", "-E", "^(Sig[A-PR-Z]|Shd)", "/proc/self/status"]
    bare, monitored = run(signals, **how), run(under(signals), **how)
    check(b"SigBlk:\t0000000008000200" in bare.output, bare.output)
    check(bare.output == monitored.output, "not as found:", bare.output, monitored.output)

    def close_all():
        prepare()
        for fd in (0, 1, 2):
            os.close(fd)

    path = os.path.join(os.getcwd(), "shown")
    for name, given in (("bare", command), ("monitored", under(command))):
        given[-1] = "exec > %s.%s; %s" % (path, name, SHOW)
        subprocess.call(given, preexec_fn=close_all, pass_fds=(9,), env=environment())
    with open(path + ".bare", "rb") as one, open(path + ".monitored", "rb") as other:
        check(one.read() == other.read() != b"", "not as found, with 0, 1 and 2 closed")


def check_environment():
    """Nothing but what says the options, and the preloaded library in front of others."""
    show = ["/usr/bin/env"]
    bare = set(run(show).output.splitlines())
    monitored = set(run(under(show)).output.splitlines())
    more = {line.split(b"=")[0] for line in monitored - bare}
    check(more == {b"LD_PRELOAD", b"PYUNWIND_REPORT_DIR", b"PYUNWIND_HELPER"} and not bare - monitored, more)
    found = run(under(show), env=environment(LD_PRELOAD="libc.so.6")).output
    check(b"/libpyunwind-preload.so:libc.so.6\n" in found, found)
    nested = run(under(under(show))).output
    check(nested.count(b"libpyunwind-preload.so") == 1, nested)
    check(os.stat(FOLDER).st_mode & 0o777 == 0o700, "mode of the folder")


def check_pipe():
    """The monitor holds nothing open of the program's: who reads sees the end that the program makes."""
    process = subprocess.Popen(under(["/bin/sh", "-c", "exec >&- 2>&-; read line; exit 5"]), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    check(process.stdout.read() == b"" and process.stderr.read() == b"" and process.poll() is None, "no end")
    process.stdin.write(b"\n")
    process.stdin.close()
    check(process.wait() == 5, process.returncode)


def main():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # whoever has started the tests may have them ignored
    count = check_statuses()
    check_failures()
    check_inheritance()
    if not SANITIZED:
        check_environment()
    check_pipe()
    traced = may_trace()
    if traced:
        OPTIONS.append("--trace-kills")
        check_statuses()
        check_inheritance()
        check_pipe()
    return finish("%d ends as without pyunwind; descriptors, mask, dispositions, limits as found; %s with --trace-kills" % (
        count, "the same" if traced else "NOT CHECKED"))


sys.exit(main())
