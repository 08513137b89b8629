"""A Windows server as far as the batch files see one: Wine's cmd.exe, and stand-ins for the programs they call."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import DEVNULL
from typing import NamedTuple, TypeAlias

import pytest

from lab.waiting import HANGS

HERE = Path(__file__).parent.parent
KITS = HERE / "golden" / "exchange"
WINE64 = shutil.which("wine64") or shutil.which("wine64", path="/usr/lib/wine") or shutil.which("wine")
SAME_ADDRESSES = ("setarch", "-R")
"""Run a program with its memory where it always is.

Linux puts the heap of wine64 at a random place within 1 GiB, in about one of 2,000 starts where Windows has what all
its programs share (0x7ffe0000). That program then does not start ("failed to map the shared user data"), and cmd.exe,
which started it, says that it "can't recognize" the command. What Wine starts inherits this.
"""
COMPILER = shutil.which("x86_64-w64-mingw32-gcc")

needs_wine = [
    pytest.mark.host,
    pytest.mark.skipif(not WINE64, reason="Wine is not installed: its cmd.exe runs batch files (apt install wine64)"),
    pytest.mark.skipif(not COMPILER, reason="mingw-w64 is not installed: it makes the stand-ins for Windows' programs"),
]
"""The marks of a module that uses `windows_server`."""


@cache
def wine_command() -> tuple[str, ...]:
    """Return how Wine is called; by its name alone where a container forbids personality(2)."""
    may = subprocess.run([*SAME_ADDRESSES, "true"], stderr=DEVNULL, check=False).returncode == 0
    return (*(SAME_ADDRESSES if may else ()), str(WINE64))


class Server(NamedTuple):
    """The server, with a kit in D:\\userexport and Windows in D:\\winnt."""

    drive: Path  # D:
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        """Where the kit lies."""
        return self.drive / "userexport"

    def cmd(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line as a command window would."""
        return subprocess.run(
            [*wine_command(), "cmd", "/c", line],
            env=self.environment,
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )

    def export(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the batch; it finds the programs of this Windows."""
        return self.cmd(rf"set SystemRoot=D:\winnt&& D:\userexport\runexport.bat {' '.join(words)}")

    def write(self, name: str, text: str) -> None:
        """Put a file into the folder."""
        (self.folder / name).write_bytes(text.encode("ascii"))

    def read(self, name: str) -> str:
        """Return the text of a file in the folder; nothing: it is not there."""
        path = self.folder / name
        return path.read_bytes().decode("ascii") if path.exists() else ""

    @property
    def calls(self) -> list[str]:
        """How plink was called."""
        return self.read("plink.calls").splitlines()


Start: TypeAlias = Callable[[str], Server]  # with a kit: a folder of tests/golden/exchange, or its full path
PLACES = {  # on D:, and which stand-in
    r"exchsrvr\bin\admin.exe": "admin",
    r"userexport\at.exe": "at",
    r"userexport\plink.exe": "recorder",
    r"userexport\schtasks.exe": "recorder",
    r"winnt\System32\csvde.exe": "csvde",
    r"winnt\System32\WindowsPowerShell\v1.0\powershell.exe": "powershell",
}


@pytest.fixture(scope="session")
def windows_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the stand-ins."""
    made = tmp_path_factory.mktemp("programs")
    for source in (HERE / "windows").glob("*.c"):
        gui = ["-mwindows"] if source.stem == "admin" else []  # as ADMIN is: cmd.exe waits for it only in a batch file
        program = made / f"{source.stem}.exe"
        subprocess.run(
            [str(COMPILER), "-O1", "-Wall", "-Werror", *gui, "-o", program, source, "-ladvapi32"], check=True
        )
    return made


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Boot Wine's Windows once; gives its environment."""
    prefix = tmp_path_factory.mktemp("wine")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
    made = {**kept, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml="}
    server = shutil.which("wineserver") or shutil.which("wineserver", path="/usr/lib/wine")
    subprocess.run([str(server), "-p"], env=made, check=True)  # stays, so that not every command boots Windows
    try:  # what is booted here keeps its output open: a pipe would never end
        subprocess.run(
            [*wine_command(), "cmd", "/c", "ver"], env=made, check=True, stdout=DEVNULL, stderr=DEVNULL, timeout=HANGS
        )
        yield made
    finally:
        subprocess.run([str(server), "-k"], env=made, check=False)


@pytest.fixture
def windows_server(tmp_path: Path, windows_programs: Path, wine: dict[str, str]) -> Start:
    """Sets up a server with a kit and both its key files."""

    def start(kit: str) -> Server:
        drive = tmp_path / "d"
        letter = Path(wine["WINEPREFIX"]) / "dosdevices" / "d:"
        letter.unlink(missing_ok=True)
        letter.symlink_to(drive)
        shutil.copytree(KITS / kit, drive / "userexport")
        for place, program in PLACES.items():
            there = drive / place.replace("\\", "/")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(windows_programs / f"{program}.exe", there)
        made = Server(drive, wine)
        if not list(made.folder.glob("exchupdate-*")):  # the folders of golden files hold none
            made.write("exchupdate-k1.ppk", "old")
            made.write("exchupdate-k2.ppk", "new")
        return made

    return start
