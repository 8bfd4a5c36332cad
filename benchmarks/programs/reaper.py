"""Runs a command and waits for everything that comes of it: `reaper.py FIGURES SECONDS COMMAND…`.

Workers that a fork server or a daemon started outlive the command: they are adopted here, so that their CPU time and
memory are counted too. Writes wall and CPU seconds, and peaks in KiB, as JSON to FIGURES; the exit code is the
command's as a shell tells it, or 124 when SECONDS ran out. Small and without imports that cost memory: what it has
resident when it forks counts as its child's peak.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 5
OUT_OF_TIME = 124


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib would be the largest thing in here
            with open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123 - as above
                for child in map(int, file.read().split()):
                    found += [child, *descendants(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def kill_all() -> None:
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> int:
    figures, seconds, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    state = {"late": False}

    def out_of_time(*_: object) -> None:
        state["late"] = True
        kill_all()

    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    began = time.perf_counter()
    first = os.posix_spawnp(command[0], command, os.environ)
    wall, cpu, main_kib, other_kib, code = 0.0, 0.0, 0, 0, 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu += usage.ru_utime + usage.ru_stime
        if pid == first:
            wall, main_kib, code = time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)
            if not state["late"]:
                signal.signal(signal.SIGALRM, lambda *_: kill_all())  # what lingers is ended, and still counted
                signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS, 1)
        else:
            other_kib = max(other_kib, usage.ru_maxrss)
    with open(figures, "w") as file:  # noqa: PTH123 - as above
        file.write(
            f'{{"wall_seconds": {wall}, "cpu_seconds": {cpu}, "main_kib": {main_kib}, "other_kib": {other_kib}}}'
        )
    return OUT_OF_TIME if state["late"] else code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
