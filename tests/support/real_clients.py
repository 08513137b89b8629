"""What a stand-in for an SSH client was called with is done for real, by Debian's plink, ssh or sftp."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from tests.support.pwsh import STANDINS, on_windows

Words: TypeAlias = Callable[[list[str]], Sequence[str]]


def _same(words: list[str]) -> list[str]:
    return words


def vcp(words: list[str]) -> list[str]:
    """VanDyke's vcp, in the one form that is known of it (vcp -i KEY FILE USER@HOST:FILE), as sftp does it."""
    dash_i, key, file, to = words[1:]
    assert dash_i == "-i"
    user_at_host, _, name = to.partition(":")
    return ["sh", "-c", f"chmod 600 {key}; echo 'put {file} {name}' | sftp -q -b - {UNASKED} -i {key} {user_at_host}"]


def vsh(words: list[str]) -> list[str]:
    """VanDyke's vsh, in the one form that is known of it (vsh -i KEY -l USER HOST COMMAND), as ssh does it."""
    dash_i, key, dash_l, user, host, *command = words[1:]
    assert (dash_i, dash_l) == ("-i", "-l")
    return ["ssh", "-T", *UNASKED.split(), "-i", key, "-l", user, host, *command]


def powershell(words: list[str]) -> list[str]:
    """Windows PowerShell, as PowerShell 7 does it with a tenant that is made up; TEMP and certificates are in winnt."""
    script = words[words.index("-File") + 1].rpartition("\\")[2]
    return on_windows(script, STANDINS / "online", "../winnt")


UNASKED = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
CLIENTS: Mapping[str, Words] = {"plink": _same, "ssh": _same, "vcp": vcp, "vsh": vsh, "powershell": powershell}


class RealClients:
    """While it is open, the stand-ins that are called in a folder have their calls done.

    `drive`: where the D: of paths in the calls is.
    """

    def __init__(self, folder: Path, drive: Path = Path("D:")) -> None:
        self._folder = folder
        self._drive = str(drive)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RealClients:
        for name in CLIENTS:
            (self._folder / f"{name}.real").touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._over.wait(0.01):
            for asked in self._folder.glob("*.asked"):
                name, number, _ = asked.name.split(".")
                self._do(name, int(number))
                asked.unlink()

    def _do(self, name: str, number: int) -> None:
        words = (self._folder / f"{name}.calls").read_text("ascii").splitlines()[number - 1].split()
        words = [word.replace("D:", self._drive) for word in words]
        for key in self._folder.parent.glob("*/exchupdate-*"):
            key.chmod(0o600)  # what icacls sees to on Windows
        with (self._folder / f"{name}.{number}").open("rb") as stdin:
            argv = CLIENTS[name]([name, *words])
            done = subprocess.run(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self._folder)
        (self._folder / f"{name}.{number}.out").write_bytes(done.stdout)
        (self._folder / f"{name}.{number}.code").write_text(str(done.returncode))
        (self._folder / f"{name}.{number}.code").rename(self._folder / f"{name}.{number}.done")
