"""A Windows server that is reached over SSH: a lab host whose sshd hands commands to Wine's cmd.exe.

The shell of its account Administrator passes a command, and what that is to read and write, through a socket to this
process, which starts cmd.exe: the host itself needs no Wine. Wine's drive D: is mounted there as `/D:`, so SFTP finds
files by the names that Windows' own sshd gives them. icacls and schtasks, of which Wine has little more than the names,
are stand-ins.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.host import LabHost
from tests.support.windows_server import Server, wine_command

SOCKET = "run/cmd.exe"
SHELL = f"""#!/usr/bin/python3
import os, socket, sys
if sys.argv[2].endswith("/sftp-server"):  # which Windows' sshd does not run through the shell
    os.execv(sys.argv[2], [sys.argv[2]])
asked = socket.socket(socket.AF_UNIX)
asked.connect("/{SOCKET}")
socket.send_fds(asked, [sys.argv[2].encode()], [0, 1, 2])
sys.exit(int(asked.recv(20)))
"""


class WindowsHost:
    """The server: `host.address` is where it is reached, `there` its files, `commands` what it was told to run."""

    def __init__(self, host: LabHost, wine: dict[str, str], programs: Path, drive: Path) -> None:
        self.host = host
        self.commands: list[str] = []
        self.home = drive / "home"  # where commands start
        for folder in ("programs", "home"):
            (drive / folder).mkdir(parents=True)
        host.show(drive, "/D:")
        for name in ("icacls", "schtasks"):
            shutil.copy(programs / f"{name}.exe", drive / "programs")
        letter = Path(wine["WINEPREFIX"]) / "dosdevices" / "d:"
        letter.unlink(missing_ok=True)
        letter.symlink_to(drive)
        self.there = Server(drive, {**wine, "WINEPATH": r"D:\programs"})
        self._shell = programs / "shell.exe"
        (host.root / "usr/local/bin/cmd.exe").write_text(SHELL)
        (host.root / "usr/local/bin/cmd.exe").chmod(0o755)
        with (host.root / "etc/passwd").open("a") as accounts:
            accounts.write("Administrator:x:0:0::/root:/usr/local/bin/cmd.exe\n")
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(str(host.root / SOCKET))
        self._asked.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more commands."""
        self._asked.shutdown(socket.SHUT_RDWR)
        self._asked.close()

    def _serve(self) -> None:
        while True:
            try:
                asked, _ = self._asked.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=[asked], daemon=True).start()

    def _run(self, asked: socket.socket) -> None:
        command, streams, _, _ = socket.recv_fds(asked, 1 << 16, 3)
        self.commands.append(command.decode())
        environment = {**self.there.environment, "SSH_COMMAND": command.decode()}
        argv, (given, out, err) = [*wine_command(), str(self._shell)], streams
        process = subprocess.Popen(argv, cwd=self.home, env=environment, stdin=given, stdout=out, stderr=err)
        for stream in streams:
            os.close(stream)
        asked.sendall(str(process.wait()).encode())
        asked.close()


@pytest.fixture
def windows_host(
    lab_host: Callable[..., LabHost], windows_programs: Path, wine: dict[str, str], tmp_path: Path
) -> Iterator[WindowsHost]:
    """Start one."""
    made = WindowsHost(lab_host("bookworm"), wine, windows_programs, tmp_path / "d")
    yield made
    made.close()
