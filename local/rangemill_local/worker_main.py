"""The first code in a function's process: closes it off, ties its life to the server's, becomes awslambdaric.

Runs in the functions' environment (local/runtime), as a file: `python worker_main.py '<settings as JSON>' <handler>`.
Standard library only, and little of it: this is part of every cold start.
"""

import ctypes
import json
import os
import signal
import sys

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MS_NOSUID, MS_NODEV = 2, 4
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Prepare the process, then run the handler's loop."""
    settings = json.loads(sys.argv[1])
    if not private_tmp(settings["tmp"], settings["tmp_mib"], settings["keep"]):
        os.environ["TMPDIR"] = settings["tmp"]  # namespaces are not allowed here: a folder of its own, by convention
    die_with(settings["parent"], settings["life_fd"])
    # Byte code goes beside the layers, not into them: their files stay exactly what was shipped.
    sys.pycache_prefix = settings["pycache"]
    sys.path[0] = os.getcwd()  # noqa: PTH109 - where Lambda puts it, and pathlib is not needed for it
    sys.argv[:] = ["awslambdaric", sys.argv[2]]
    from awslambdaric.__main__ import main as run  # noqa: PLC0415

    run(sys.argv)


def private_tmp(own: str, size_mib: int, keep: list[str]) -> bool:
    """Give the process a /tmp of its own with the function's EphemeralStorage as its size; False where not allowed."""
    if sys.platform != "linux":
        return False
    uid, gid = os.getuid(), os.getgid()
    try:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("tmpfs", own, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size_mib}m,mode=1777")
        for folder in keep:  # what lies under /tmp and is needed: a checkout there, for one
            inside = own + folder.removeprefix("/tmp")
            os.makedirs(inside, exist_ok=True)  # noqa: PTH103
            mount(folder, inside, None, MS_BIND | MS_REC)
        mount(own, "/tmp", None, MS_BIND | MS_REC)
        os.chdir(os.getcwd())  # noqa: PTH109 - the same folder, through the new mounts
    except OSError:
        return False
    return True


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def die_with(parent: int, life_fd: int) -> None:
    """End this process and its children when the server ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    import threading  # noqa: PLC0415

    def watch() -> None:
        os.read(life_fd, 1)  # ends when the server's end of the pipe is closed by its death
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="rangemill-life", daemon=True).start()


if __name__ == "__main__":
    main()
