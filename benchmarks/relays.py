"""Lab relays for the benchmarks: many at once, what their sshd has seen, and what their processors have done."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from lab.host import LabHost

RELEASE = "bookworm"
STAGES = Path(__file__).with_name("stages.py")
PYTHON = "Python starts and ends"
TICK = os.sysconf("SC_CLK_TCK")
_TIMES = slice(11, 15)  # of /proc/PID/stat behind the name: own user and system time, that of children waited for
_AT_ONCE = 4
_LOGGED = (r"sshd\[\d+\]: Accepted publickey ", r"sshd\[\d+\]: Starting session: ", r"past MaxStartups")
_STARTS = 10
_LOOK = 0.003  # seconds between two looks at memory


class Seen(NamedTuple):
    """What a relay's sshd has logged."""

    connections: int  # that were let in
    commands: int
    refused: int  # by MaxStartups

    @classmethod
    def by(cls, host: LabHost) -> Seen:
        """Count it, once sshd has nothing more to say."""
        log = _read_finished_log(host.root / "var/log/auth.log")
        return cls(*(len(re.findall(pattern, log)) for pattern in _LOGGED))

    def since(self, before: Seen) -> Seen:
        """Count what came after that."""
        return Seen(*(now - then for now, then in zip(self, before, strict=True)))


def seen_by(host: LabHost, doing: Callable[[], object]) -> Seen:
    """Count what a relay's sshd sees of something."""
    before = Seen.by(host)
    doing()
    return Seen.by(host).since(before)


@contextmanager
def started(count: int, *sshd: str, on_disk: bool = False) -> Iterator[list[LabHost]]:
    """Start relays, Postfix too; `sshd`: lines of its configuration. All stop at the end."""
    lines = (*sshd, "LogLevel VERBOSE")
    hosts = [LabHost(RELEASE, sshd=lines, on_disk=on_disk) for _ in range(count)]
    with ExitStack() as running, ThreadPoolExecutor(_AT_ONCE) as side:
        list(side.map(running.enter_context, hosts))
        list(side.map(LabHost.start_postfix, hosts))
        yield hosts


def processor_seconds(host: LabHost) -> float:
    """What a relay's processes have used up to now, those that ended too: whoever started them has waited for them."""
    mine = Path(f"/proc/{host.pid}/ns/pid").readlink()
    return sum(_ticks(process) for process in _processes(mine)) / TICK


def stages(
    host: LabHost,
    module: str,
    *words: str,
    told: Mapping[str, str] | None = None,
    user: str = "root",
    stdin: bytes = b"",
) -> dict[str, float]:
    """Run a module of the receiver there as its launcher does, with clocks at its joints; seconds by stage."""
    environ = [f"{name}={value}" for name, value in (told or {}).items()]
    argv = ["env", *environ, "python3", "-I", "-c", STAGES.read_text(), module, *words]
    said = host.run(*argv, user=user, stdin=stdin).stderr
    return {PYTHON: _python_starts(host), **json.loads(said.splitlines()[-1])}


def unbuild(host: LabHost) -> None:
    """Change what a relay's manifest says of its recipients, so that the next build makes all of the table anew."""
    record = host.root / "etc/postern/tables/built.json"
    said = json.loads(record.read_text())
    said["sources"] = said["tables"]["exchange_recipients"]["text"] = ""
    record.write_text(json.dumps(said))


def _python_starts(host: LabHost) -> float:
    """Take the time that Python takes to start and end there."""
    began = time.perf_counter()
    host.run("sh", "-c", f"for i in {' '.join('x' * _STARTS)}; do python3 -I -c pass; done")
    return (time.perf_counter() - began) / _STARTS


@contextmanager
def peak(host: LabHost, *words: str) -> Iterator[dict[str, int]]:
    """Watch how much memory a relay's processes come to, in bytes, by a word of their command line; read it at the end.

    The kernel keeps each one's peak, so what is looked for too rarely to be seen is only what came in its last moments.
    """
    found, ended = dict.fromkeys(words, 0), threading.Event()
    mine = Path(f"/proc/{host.pid}/ns/pid").readlink()

    def watch() -> None:
        while not ended.wait(_LOOK):
            for process in _processes(mine):
                for word, most in _peak_of(process, words):
                    found[word] = max(found[word], most)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def _peak_of(process: Path, words: Sequence[str]) -> Iterator[tuple[str, int]]:
    try:
        line, status = (process / "cmdline").read_text(), (process / "status").read_text()
    except OSError:
        return
    most = re.search(r"VmHWM:\s+(\d+) kB", status)
    yield from ((word, int(most[1]) * 1024) for word in words if most and word in line)


def _processes(namespace: Path) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").readlink() == namespace:
                yield process
        except OSError:  # it has ended
            continue


def _ticks(process: Path) -> int:
    try:
        return sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[_TIMES]))
    except OSError:
        return 0


def _read_finished_log(log: Path) -> str:
    """Read a log that nobody writes to any more."""
    text, before = "", None
    while text != before:
        before = text
        time.sleep(0.2)
        text = log.read_text(errors="replace") if log.exists() else ""
    return text
