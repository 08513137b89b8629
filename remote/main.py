"""Runs on the machine itself, sent over the connection and never installed: answers a line of JSON with a line of JSON.

Other modules are sent with it, each with kinds of its own in `KINDS`. Standard library of Python 3.9 only. Every making
may be killed at any point: the next run finishes what was begun.
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


class Failed(Exception):
    """Something here could not be read or made. The text says what, why, and what would help."""

    kind: ClassVar[str] = "failed"


class ProofFailed(Failed):
    """A change failed its proof and was taken back."""

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
    """How items of one kind are read (all at once) and made (one at a time). All may raise Failed or OSError."""

    read: Callable[[list[Request]], list[State | None]]
    make: Callable[[str, State | None], None]
    tidy: Callable[[list[str]], None] | None = None  # before a make, under the lock: clear away what killed runs left


def digest(state: Mapping[str, Any] | None) -> str:
    """Return the digest by which two machines compare a state; None has one as well."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def last_lines(text: str, lines: int = 12, chars: int = 1500) -> str:
    """Return the last lines of a program's output, where its reason is."""
    return "\n".join(text.strip().splitlines()[-lines:])[-chars:]


def serve(requests: BinaryIO) -> None:
    """Answer lines until there are no more. A line without an end comes from a lost connection, and is ignored.

    The programs that are started here must not print between the answers, nor read the questions.
    """
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.umask(0o022)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost connection must not stop a change half-way
    answers.write(b"\n")  # ends a line that a login script may have begun
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
    """Load a module that was sent under its own name, so that later ones can import it; return its kinds."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 it comes from where this very program came from
    kinds: Mapping[str, Kind] = getattr(module, "KINDS", {})
    return kinds


def _compare_states(asked: Sequence[Any], kinds: Mapping[str, Kind]) -> list[Any]:
    """Return each state, or "same" where it has the wanted digest: most states then need not be sent."""
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
        raise Failed(f"no module that was sent has a kind {kind!r}")
    return kinds[kind]


def _make_all(changes: Sequence[Any], kinds: Mapping[str, Kind], lock: Mapping[str, Any]) -> int:
    """Make packages first, without the lock: an installation takes long, and uploads must not wait for it.

    What an installation brings, such as a service, does not count as somebody else's change.
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

    Derived items are not compared: nobody edits them by hand, and an upload may have changed them meanwhile.
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
        """Return which process holds the lock, as the kernel says: any user who can read the directory may lock it."""
        info = os.fstat(self.descriptor)
        name = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
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
