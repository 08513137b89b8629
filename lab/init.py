"""Pid 1 of a lab host: makes its file systems, starts its daemons, collects the exit status of ended processes.

It is told everything in lines of JSON on stdin and answers each with one on stdout. It ends when stdin does, and the
kernel ends the host with it: when whoever started it stops the host, ends or is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
PATIENCE = 300.0  # seconds for the daemons to be ready; they need some hundredths

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run as init of a lab host."""
    outer_pid = int(Path("/proc/self").readlink().name)  # as this /proc is still the starter's, so is the number
    spec = json.loads(sys.stdin.readline())
    make_root(spec["root"], spec["at"], spec["writes"])
    os.chroot(f"{spec['at']}/host")
    os.chdir("/")
    make_kernel_file_systems()
    socket.sethostname(spec["name"])
    for path, (mode, text) in spec["files"].items():
        write(path, mode, text)
    start([["rsyslogd", "-n"], ["/usr/sbin/sshd", "-D"]], ready=["/dev/log", "/run/sshd.pid"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, reap_children)
    answer(outer_pid)
    for line in sys.stdin:
        mount("tmpfs", **json.loads(line))
        answer("mounted")


def make_root(root: str, at: str, writes: str) -> None:
    """Mount a writable root at AT/host.

    Without a directory for its writes they are in memory, and end with the host.
    """
    private = mount_call(None, "/", None, MS_REC | MS_PRIVATE, None) == 0
    mount("tmpfs", at, "mode=0755")
    if not private:  # in a chroot "/" is no mount point: at least nothing below this one gets out
        mount_call(None, at, None, MS_REC | MS_PRIVATE, None)
    upper, work, host = f"{writes or at}/upper", f"{writes or at}/work", f"{at}/host"
    for directory in (upper, work, host):
        Path(directory).mkdir(mode=0o755)
    try:
        mount("overlay", host, f"lowerdir={root},upperdir={upper},workdir={work}")
    except OSError:  # an overlay on an overlay on an overlay, say
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{root}/.", host], check=True)


def make_kernel_file_systems() -> None:
    """Mount for the host /proc, /dev and /run of its own; a machine without systemd has no more than that."""
    mount("proc", "/proc")
    mount("tmpfs", "/run", "mode=0755")
    mount("tmpfs", "/dev", "mode=0755")
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"/dev/{name}", 0o020666, os.makedev(major, minor))
        Path("/dev", name).chmod(0o666)
    for name in ("/run/sshd", "/run/lock", "/dev/pts", "/dev/shm"):
        Path(name).mkdir(mode=0o755)
    mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("tmpfs", "/dev/shm", "mode=1777")
    for link, target in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "fd/0",
        "stdout": "fd/1",
        "stderr": "fd/2",
    }.items():
        Path("/dev", link).symlink_to(target)


def mount(kind: str, at: str, options: str = "") -> None:
    """Mount a file system of this kind."""
    if mount_call(kind.encode(), at, kind.encode(), 0, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, f"mount -t {kind} -o {options}: {os.strerror(error)}", at)


def mount_call(source: bytes | None, at: str, kind: bytes | None, flags: int, options: bytes | None) -> int:
    """mount(2)."""
    return int(_libc.mount(source, os.fsencode(at), kind, ctypes.c_ulong(flags), options))


def write(path: str, mode: int, text: str) -> None:
    """Write a file anew, so that what was a link to elsewhere is a file here.

    It is an hour old: each of Postfix' programs sleeps until main.cf has not been touched for two seconds.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
    Path(path).touch()
    Path(path).chmod(mode)
    Path(path).write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - 3600,) * 2)


def start(daemons: list[list[str]], ready: list[str]) -> None:
    """Start them, and wait for the files that say they are ready. What they complain of goes to stderr."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    running = [subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for argv in daemons]
    patience = time.monotonic() + PATIENCE
    while not all(Path(path).exists() for path in ready):
        ended = [daemon.args for daemon in running if daemon.poll() is not None]
        if ended or time.monotonic() > patience:
            sys.exit(f"not ready: {ended or ready}")
        time.sleep(0.002)


def reap_children(*_: Any) -> None:
    """Collect the exit status of every child that has ended, also of orphans."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def answer(what: object) -> None:
    """Write a line of JSON for the process that started us."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
