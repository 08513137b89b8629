"""Runs on the machine itself, sent over the connection and never installed: answers a line of JSON with a line of JSON.

Other modules are sent with it, each with kinds of its own in `KINDS`. Standard library of Python 3.9 only. Every making
is safe to kill at any point: what was begun is finished by the next run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import sys
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Callable, ClassVar, NamedTuple

State = dict[str, Any]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}


class Failed(Exception):
    """Something here could not be read or made. The text says what, why, and what would help."""

    kind: ClassVar[str] = "failed"


class ProofFailed(Failed):
    """A change did not stand its test and was put back."""

    kind = "proof"


class Busy(Failed):
    """Another run is at work here."""

    kind = "busy"


class Changed(Failed):
    """Something is no longer as it was when the plan was made."""

    kind = "changed"


class Request(NamedTuple):
    """An item to be read. Of files and trees the wanted state is not sent when a plan is made; it is None."""

    name: str
    wanted: State | None


class Kind(NamedTuple):
    """How items of one kind are read (all at once) and made (one). All may raise Failed or OSError."""

    read: Callable[[list[Request]], list[State | None]]
    make: Callable[[str, State | None], None]
    tidy: Callable[[list[str]], None] | None = None  # before a make, under the lock: clear away what killed runs left


class CommandResult(NamedTuple):
    """How a program ended. Ended by a signal, its code is negative."""

    code: int
    out: str
    err: str


def digest(state: Mapping[str, Any] | None) -> str:
    """Return what two machines compare instead of a state. Nothing has a digest too."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def find_tool(*names: str) -> str | None:
    """Find the first of these programs that is here, in system directories only; its absolute path."""
    for name in names:
        for folder in ENVIRONMENT["PATH"].split(":"):
            if os.access(os.path.join(folder, name), os.X_OK):
                return os.path.join(folder, name)
    return None


def run_command(*argv: str, stdin: bytes = b"", seconds: float = 300) -> CommandResult:
    """Run a program, named by its absolute path, in a clean environment. Raises Failed if it does not start or end.

    Output goes to memory files, not pipes: a daemon it leaves behind would hold a pipe open and keep us waiting.
    """
    given, out, err = (os.fdopen(os.memfd_create(name), "w+b", 0) for name in ("in", "out", "err"))
    with given, out, err:
        given.write(stdin)
        given.seek(0)
        code = _wait(argv[0], _start(argv, [file.fileno() for file in (given, out, err)]), seconds)
        out.seek(0)
        err.seek(0)
        return CommandResult(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def _start(argv: Sequence[str], streams: Sequence[int]) -> int:
    """Start a program in a session of its own. Not by subprocess, which takes 5 ms to load on every relay."""
    redirected = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    heard = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP]  # ignored here, not there
    try:
        return os.posix_spawn(argv[0], list(argv), ENVIRONMENT, file_actions=redirected, setsid=True, setsigdef=heard)
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error.strerror}") from error


def _wait(name: str, process: int, seconds: float) -> int:
    """Wait for a program's end and return its exit code. One that takes too long is killed, and Failed raised."""
    until = time.monotonic() + seconds
    pause = 0.0005
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise Failed(f"{name} did not end within {seconds:.0f} s and was killed")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    status = ended[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def last_lines(text: str, lines: int = 12, chars: int = 1500) -> str:
    """Return the last lines of a program's output, where its reason is."""
    return "\n".join(text.strip().splitlines()[-lines:])[-chars:]


def serve(requests: BinaryIO) -> None:
    """Answer lines until there are no more. A line without an end is a dead connection's last and is not acted on.

    What the programs we start print must not get between the answers, nor may they read the questions.
    """
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.umask(0o022)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the operator's hanging up is no reason to stop half-way
    answers.write(b"\n")  # ends what a login script may have begun
    kinds: dict[str, Kind] = {}
    for line in requests:
        if not line.endswith(b"\n"):
            return
        try:
            answers.write(json.dumps(_answer(json.loads(line), kinds)).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:
            return


def _answer(request: Mapping[str, Any], kinds: dict[str, Kind]) -> State:
    try:
        if "load" in request:
            for name, source in request["load"]:
                kinds.update(_load(name, source))
            return {"loaded": sorted(kinds), "user": os.geteuid()}
        if "read" in request:
            return {"states": _compare_states(request["read"], kinds)}
        return {"made": _make_all(request["make"], kinds, request["lock"])}
    except (Failed, OSError) as error:
        return {"error": {"kind": getattr(error, "kind", Failed.kind), "text": str(error)}}
    except Exception:  # noqa: BLE001 a fault of this program must reach the operator whole, not as a dead connection
        import traceback

        return {"error": {"kind": "failed", "text": last_lines(traceback.format_exc(), 30, 4000)}}


def _load(name: str, source: str) -> Mapping[str, Kind]:
    """Load a module that was sent, under its own name, so that the next one can import it."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 it comes from where this very program came from
    kinds: Mapping[str, Kind] = getattr(module, "KINDS", {})
    return kinds


def _compare_states(asked: Sequence[Any], kinds: Mapping[str, Kind]) -> list[Any]:
    """Answer "same" where the state has the digest of what is wanted: most of what is here need not travel."""
    states = _read([(kind, name, wanted) for kind, name, wanted, _ in asked], kinds)
    return ["same" if digest(state) == one[3] else state for one, state in zip(asked, states)]


def _read(asked: Sequence[Any], kinds: Mapping[str, Kind]) -> list[State | None]:
    """Read (kind, name, wanted) in bulk per kind; answers in the order asked."""
    states: dict[int, State | None] = {}
    for kind in dict.fromkeys(kind for kind, _, _ in asked):
        places = [place for place, one in enumerate(asked) if one[0] == kind]
        try:
            found = _kind_of(kinds, kind).read([Request(asked[place][1], asked[place][2]) for place in places])
        except OSError as error:
            raise Failed(f"{kind}: {error}") from error
        states.update(zip(places, found))
    return [states[place] for place in range(len(asked))]


def _kind_of(kinds: Mapping[str, Kind], kind: str) -> Kind:
    if kind not in kinds:
        raise Failed(f"no kind {kind!r} is known here, only {', '.join(sorted(kinds))}")
    return kinds[kind]


def _make_all(changes: Sequence[Any], kinds: Mapping[str, Kind], lock: Mapping[str, Any]) -> int:
    """Make packages first and without the lock: an installation is long, and uploads must not wait for it.

    What an installation brings with it, such as a service, is no change of someone else's.
    """
    packages = [change for change in changes if change[0] == "package"]
    others = [change for change in changes if change[0] != "package"]
    made = 0
    if packages:
        _still_to_do(others, kinds)
        made = _make(packages, kinds)
        now = _read([(kind, name, wanted) for kind, name, wanted, _ in others], kinds)
        others = [(*change[:3], digest(state)) for change, state in zip(others, now)]
    if not others:
        return made
    with _Lock(lock["folder"], lock["holder"], lock["seconds"]):
        return made + _make(others, kinds)


def _make(changes: Sequence[Any], kinds: Mapping[str, Kind]) -> int:
    """Compare all items, then make in order those that are not as wanted."""
    todo = _still_to_do(changes, kinds)
    for kind in dict.fromkeys(kind for kind, _, _ in todo):
        if tidy := kinds[kind].tidy:
            tidy([name for other, name, _ in todo if other == kind])
    for number, (kind, name, wanted) in enumerate(todo):
        _make_one(kinds[kind], name, wanted, f"{kind} {name}", f"(made before it: {number} of {len(todo)} changes)")
    return len(todo)


def _make_one(kind: Kind, name: str, wanted: State | None, what: str, so_far: str) -> None:
    try:
        kind.make(name, wanted)
    except (Failed, OSError) as error:
        why = error if isinstance(error, Failed) else Failed(str(error))
        why.args = (f"{what}: {why}\n{so_far}",)
        raise why from error


def _still_to_do(changes: Sequence[Any], kinds: Mapping[str, Kind]) -> list[tuple[str, str, State | None]]:
    """Return the changes that are still to be made; raise Changed if an item has neither the old nor the wanted state.

    What is derived is not compared: nobody's hand work is in it, and an upload may have changed it meanwhile.
    """
    todo = []
    states = _read([(kind, name, wanted) for kind, name, wanted, _ in changes], kinds)
    for (kind, name, wanted, before), state in zip(changes, states):
        if kind == "derived":
            todo.append((kind, name, wanted))
        elif digest(state) != digest(wanted):
            if digest(state) != before:
                raise Changed(f"{kind} {name} was changed by someone else meanwhile; it is left as it is: plan again")
            todo.append((kind, name, wanted))
    return todo


class _Lock:
    """The exclusive lock on a directory, made first if need be. The programs we start do not inherit it."""

    def __init__(self, folder: str, holder: str, seconds: float) -> None:
        self.folder = folder
        self.holder = holder
        self.seconds = seconds
        self.mark = os.path.join(folder, ".holder")  # for people: who holds it

    def __enter__(self) -> None:
        os.makedirs(self.folder, 0o755, exist_ok=True)
        self.descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._take()
        except BaseException:  # a full disk takes no mark, and this program may live on
            os.close(self.descriptor)
            raise

    def _take(self) -> None:
        until = time.monotonic() + self.seconds
        while not self._try_lock():
            if time.monotonic() >= until:
                raise Busy(
                    f"{self.folder} has been locked for {self.seconds:.0f} s by {self._name_holder()}; try again later"
                )
            time.sleep(0.1)
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        try:
            with open(self.mark, "w", encoding="utf-8") as mark:
                mark.write(f"{os.getpid()} {self.holder}, process {os.getpid()}, since {since}\n")
        except OSError as error:
            raise Failed(f"nothing is changed: {self.mark} cannot be written: {error.strerror}") from error

    def __exit__(self, *_: object) -> None:
        os.unlink(self.mark)
        os.close(self.descriptor)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _name_holder(self) -> str:
        """Return who holds the lock, by its own mark; the mark of a killed run does not count."""
        try:
            with open(self.mark, encoding="utf-8", errors="replace") as mark:
                process, text = mark.read(500).split(" ", 1)
            os.kill(int(process), 0)
        except (OSError, ValueError):
            return self._process()
        return text.strip()

    def _process(self) -> str:
        """Return the process that the kernel says holds the lock: whoever can read a directory can lock it for ever."""
        there = os.fstat(self.descriptor)
        name = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
        with suppress(OSError, ValueError), open("/proc/locks", encoding="ascii", errors="replace") as locks:
            held = [words for words in map(str.split, locks) if words[1:2] == ["FLOCK"] and name in words]
            for process in (words[4] for words in held):
                with open(f"/proc/{int(process)}/comm", encoding="utf-8", errors="replace") as comm:
                    user = os.stat(f"/proc/{int(process)}").st_uid
                    who = f"process {process} ({comm.read().strip()}) of user {user}"
                    return f"{who}, which root may end if it is no upload at work (kill {process})"
        return "a program of this machine"


def refuse_making(name: str, _wanted: State | None) -> None:
    """Raise Failed: this kind of item can only be read."""
    raise Failed(f"{name} is read and never made")
