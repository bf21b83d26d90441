"""Lock this process up before it runs what others wrote: one folder to write, nobody to reach.

On every system an audit hook of Python refuses. It stops accidents and pranks, not who sets out to
get around it: by patching what it calls, or by code below Python, as some functions of TensorFlow
are. On Linux the kernel refuses, too, and cannot be talked out of it: from 5.13 on Landlock, by
the numbers of landlock(7), and a network, processes and read-only mounts of its own.
"""

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What changes files: which arguments are paths, and whether an open folder for them comes last.
BOTH, FIRST, SECOND = (0, 1), (0,), (1,)
CHANGES = {
    "os.rename": (BOTH, True), "os.link": (BOTH, True), "os.symlink": (SECOND, True),
    "os.remove": (FIRST, True), "os.rmdir": (FIRST, True), "os.mkdir": (FIRST, True),
    "os.chmod": (FIRST, True), "os.chown": (FIRST, True), "os.utime": (FIRST, True),
    "os.truncate": (FIRST, False), "os.setxattr": (FIRST, False),
    "os.removexattr": (FIRST, False), "shutil.rmtree": (FIRST, False),
}  # fmt: skip
REFUSED = {
    "a program": ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty."),
    "another process": ("os.fork", "os.kill", "os.startfile", "_winapi.Create", "resource."),
    "the network": ("socket.connect", "socket.bind", "socket.send", "socket.getaddrinfo"),
    "code that is not Python's": ("ctypes.dlopen", "ctypes.dlsym"),
}
NEW_USER, NEW_NETWORK, NEW_PROCESSES, NEW_MOUNTS = 0x10000000, 0x40000000, 0x20000000, 0x20000
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # for mount
MOUNT_SETATTR, HERE, ALL_BELOW, READ_ONLY = 442, -100, 0x8000, 1
END_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38  # for prctl
CREATE, ADD, RESTRICT = 444, 445, 446  # Landlock's system calls
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14


def own_namespaces() -> bool:
    """Give this process, of one thread, a network and mounts, and its children processes, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = NEW_NETWORK | NEW_PROCESSES | NEW_MOUNTS
    return not libc.unshare(wanted) or not libc.unshare(NEW_USER | wanted)


def end_with_parent() -> None:
    """Let this process be killed as soon as the one that started it has ended."""
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def lock(folder: Path, own_mounts: bool) -> None:
    """Let this process, of one thread, write in `folder` and nowhere else, and reach nobody.

    With `own_mounts`, from `own_namespaces`; else the mounts are the system's, and stay.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if own_mounts:
            _read_only(libc, os.fsencode(folder))
        _landlock(libc, folder)
    _ = ctypes.pythonapi.PyThreadState_SetAsyncExc  # which ends an endless answer, and may
    sys.addaudithook(_guard(os.path.realpath(folder)))


def _read_only(libc: ctypes.CDLL, folder: bytes) -> None:
    """Mount all but a folder read-only, rights and times included, where this process may."""
    if libc.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None):
        return  # some systems do not let it
    libc.mount(folder, folder, None, BIND, None)
    for place, below, values in [(b"/", ALL_BELOW, (READ_ONLY, 0)), (folder, 0, (0, READ_ONLY))]:
        attributes = struct.pack("QQQQ", *values, 0, 0)
        libc.syscall(MOUNT_SETATTR, HERE, place, below, attributes, len(attributes))
    os.chdir(folder)  # as it is mounted now


def _landlock(libc: ctypes.CDLL, folder: Path) -> None:
    version = libc.syscall(CREATE, None, 0, 1)
    if version < 1:
        return  # an older kernel
    execute_and_write = 0b1_1111_1111_0011  # all but reading
    later = [(2, 1 << 13), (3, TRUNCATE)]
    handled = execute_and_write | sum(bit for since, bit in later if version >= since)
    network, signals = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    rules = struct.pack("QQQ", handled, network, signals)[
        : 8 + 8 * bool(network) + 8 * bool(signals)
    ]
    ruleset = libc.syscall(CREATE, rules, len(rules), 0)
    for path, allowed in [(folder, handled & ~1), (Path(os.devnull), WRITE_FILE | TRUNCATE)]:
        opened = os.open(path, os.O_PATH)
        libc.syscall(ADD, ruleset, 1, struct.pack("=Qi", allowed & handled, opened), 0)
        os.close(opened)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.syscall(RESTRICT, ruleset, 0)
    os.close(ruleset)


def _guard(folder: str) -> Callable[[str, tuple], None]:
    def inside(path: object, where: int = -1) -> bool:
        if isinstance(path, int):
            path, where = "", path
        base = _path_of(where) if where >= 0 else os.getcwd()
        real = os.path.realpath(os.path.join(base, os.fsdecode(path)))
        return real in (folder, os.devnull) or real.startswith(folder + os.sep)

    def guard(event: str, values: tuple) -> None:
        if event == "open":
            path, _, flags = values
            if flags & WRITES and not isinstance(path, int) and not inside(path):
                raise PermissionError(f"grading lets nothing be written to {path}")
        elif event in CHANGES:
            paths, relative = CHANGES[event]
            where = values[-1] if relative else -1
            if not all(inside(values[k], where) for k in paths):
                raise PermissionError(f"grading lets nothing be changed at {values[paths[-1]]}")
        else:
            for what, events in REFUSED.items():
                if event.startswith(events):
                    raise PermissionError(f"grading lets nothing reach {what}")

    return guard


def _path_of(descriptor: int) -> str:
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{descriptor}")
