"""Our side of the line to the remote program: the one remote command, what it is asked, and what its answers mean."""

from __future__ import annotations

import getpass
import json
import platform
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deploy.items import Item, State
from deploy.plan import Busy, Change, HostError, NoPython, ProofFailed
from remote.main import digest

ROOT = Path(__file__).parent.parent
MAIN = ROOT / "remote" / "main.py"
BY_DIGEST = ("file", "tree")
"""Kinds whose wanted state is big and does not travel when a plan is made; it is only asked whether it is there."""

TOO_OLD = 99
_BY_SIGNAL = 128  # exit codes above it are a shell's for a program that a signal ended
OLDEST = "3.9"
# Parsed by any Python, however old; the remote program is the first line it reads.
BOOTSTRAP = (
    "import sys; v = sys.version_info; "
    f"v < (3, 9) and (sys.stderr.write('Python there: %d.%d' % v[:2]), sys.exit({TOO_OLD})); "
    "import json, os, types; r = os.fdopen(os.dup(0), 'rb'); "
    "m = types.ModuleType('remote.main'); sys.modules[m.__name__] = m; "
    "exec(compile(json.loads(r.readline()), 'remote/main.py', 'exec'), m.__dict__); m.serve(r)"
)
PYTHONS = "python3 /usr/libexec/platform-python " + " ".join(f"python3.{minor}" for minor in range(14, 8, -1))
# One line, and no "!": it goes through whatever login shell the account has. $1: BOOTSTRAP; $2: may it install Python.
# Where dnf runs at all there is some python3; the only one too old is Red Hat 8's, which has a python3.11 to install.
PROBE = " ".join(
    (
        "PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin;",
        f"find_and_run() {{ for p in {PYTHONS}; do command -v $p >/dev/null 2>&1 || continue;",
        f'$p -I -S -B -X utf8 -c "$1"; c=$?; [ $c -eq {TOO_OLD} ] || exit $c; done; }};',
        'find_and_run "$1";',
        "m=; for p in apt-get dnf; do command -v $p >/dev/null 2>&1 && m=$p && break; done;",
        "case $2-$m in",
        "yes-apt-get) export DEBIAN_FRONTEND=noninteractive; apt-get -qq update;",
        "apt-get -qq -y --no-install-recommends install python3 ;;",
        "yes-dnf) dnf -q -y install python3.11 || dnf -q -y install python3 ;;",
        "esac </dev/null >&2;",
        "case $2-$m in",
        '*-) w="there is neither apt-get nor dnf to install it" ;;',
        'no-*) w="$m would install it" ;;',
        '*) find_and_run "$1"; w="$m could not install it" ;;',
        "esac;",
        """printf '\\n{"error": {"kind": "nopython", "text": "%s"}}\\n' "$w\"""",
    )
)
SUDO = ("env", "LC_ALL=C", "sudo", "-n", "--")
SUDO_REFUSES = re.compile(
    "(password|terminal|authentication) is required|must have a tty|not in the sudoers file|not allowed to|"
    "I'm afraid I can't|sudo.*: (command not found|No such file)"
)
READ = 600.0  # seconds for an answer to a question; what is asked over SMTP takes its time
MAKE = 3600.0  # for changes made: packages take longer still
NOISE = 1 << 16  # bytes a login script may print before the first answer


def write_command(*, sudo: bool, install_python: bool) -> str:
    """Write the one remote command."""
    words = ["/bin/sh", "-c", PROBE, "postern", BOOTSTRAP, "yes" if install_python else "no"]
    return shlex.join([*SUDO, *words] if sudo else words)


class CommandEnd(NamedTuple):
    """How the remote command ended; code None: nobody said, so the connection died."""

    code: int | None
    err: str


class RemoteLine(Protocol):
    """A running remote command: SSH's channel, or in a test a process of this machine."""

    def send(self, data: bytes) -> None:
        """Send. Raises OSError or EOFError when nobody listens any more."""

    def receive(self, seconds: float) -> bytes:
        """Receive one line with its end; what there is without an end is the last. Raises TimeoutError."""

    def end(self) -> CommandEnd:
        """Wait a moment for the end of it."""


class Lock(NamedTuple):
    """What changes are made under: an exclusive flock on a directory there."""

    folder: str
    seconds: float = 60  # how long to try


class Session:
    """The remote program at work: one question at a time, any number of them, in one remote command."""

    def __init__(self, line: RemoteLine, lock: Lock, modules: Sequence[Path] = ()) -> None:
        """`modules` are sent as well, in this order; each may add kinds of its own."""
        self._line = line
        self._lock = {**lock._asdict(), "holder": f"{getpass.getuser()} at {platform.node()}"}
        self._modules = tuple(modules)
        self._sent: set[Path] = set()
        self._over = False  # a question is open, or was never answered: nothing more can be asked

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; see Host."""
        asked = [(i.kind, i.name, None if i.kind in BY_DIGEST else i.wanted, digest(i.wanted)) for i in items]
        states = self._ask({"read": asked}, READ).get("states")
        if not isinstance(states, list) or len(states) != len(items):
            raise HostError("its answer cannot be understood: it is not about what was asked")
        return [item.wanted if state == "same" else _state(state) for item, state in zip(items, states, strict=True)]

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host."""
        made = [(c.item.kind, c.item.name, c.item.wanted, digest(c.before)) for c in changes]
        self._ask({"make": made, "lock": self._lock}, MAKE)

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a question and return the answer.

        What the program lacks for it goes with it, which saves a round trip; at first, that is the program itself.
        """
        if self._over:
            raise HostError("the line to it was given up after the failure before")
        self._over = True
        kinds = frozenset(one[0] for one in (*question.get("read", ()), *question.get("make", ())))
        program = [] if self._sent else [_read_source(MAIN)]
        lacking = [path for path in _find_needed(kinds, self._modules) if path not in self._sent]
        load = [{"load": [(_module(path), _read_source(path)) for path in lacking]}] if program or lacking else []
        # A program that ended before it had read all has said why, before its end.
        with suppress(OSError, EOFError):
            self._line.send(b"".join(json.dumps(line).encode() + b"\n" for line in (*program, *load, question)))
        if program:
            self._await_greeting(seconds)
        elif load:
            self._check_answer(self._answer(seconds))
        self._sent |= {MAIN, *lacking}
        answer = self._answer(seconds)
        self._over = False
        return self._check_answer(answer)

    def _await_greeting(self, seconds: float) -> None:
        """Wait for the first answer; a login script may have printed something before it."""
        noise = b""
        while len(noise) < NOISE:
            line = self._receive(seconds)
            if not line.endswith(b"\n"):
                raise self._connection_error(noise + line)
            if line.startswith(b'{"loaded":'):
                self._check_root(_read_answer(line).get("user"))
                return
            if line.startswith(b'{"error":'):
                raise self._error(_read_answer(line)["error"])
            noise += line
        raise HostError(f"its login scripts print too much before our program starts:\n{_bound_text(noise)}")

    @staticmethod
    def _check_root(user: object) -> None:
        if user != 0:
            raise HostError(
                f"our program runs there as user {user} and not as root: connect as root, "
                "or say sudo = true in relays.toml and let the account use sudo without a password"
            )

    def _answer(self, seconds: float) -> dict[str, Any]:
        line = self._receive(seconds)
        if not line.endswith(b"\n"):
            raise self._connection_error(line)
        return _read_answer(line)

    def _check_answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            raise self._error(answer["error"])
        return answer

    def _receive(self, seconds: float) -> bytes:
        try:
            return self._line.receive(seconds)
        except TimeoutError as error:
            raise HostError(
                "it does not answer any more; run it again: the next run finishes what was begun"
            ) from error
        except OSError:
            return b""

    def _error(self, said: object) -> HostError:
        error = said if isinstance(said, dict) else {"text": "it reports an error without a text"}
        text = _bound_text(str(error.get("text")).encode(errors="replace"))
        if error.get("kind") == "nopython":
            return self._no_python(text)
        kinds = {"busy": Busy, "changed": Busy, "proof": ProofFailed}
        return kinds.get(str(error.get("kind")), HostError)(text)

    def _no_python(self, remedy: str) -> NoPython:
        said = _bound_text(self._line.end().err.encode())
        return NoPython(f"it has no Python {OLDEST} or later; {remedy}" + (f"\n{said}" if said else ""))

    def _connection_error(self, rest: bytes) -> HostError:
        code, err = self._line.end()
        said = _bound_text(err.encode() or rest)
        if fault := sudo_fault(err):
            return HostError(fault)
        if code is None:
            return HostError(
                f"the connection broke off; run it again: the next run finishes what was begun\n{said}".rstrip()
            )
        ended = f"our program ended there with exit code {code}"
        if code > _BY_SIGNAL:  # by the kernel where memory ends, or by a person
            ended += "; run it again: the next run finishes what was begun"
        return HostError(f"{ended}:\n{said}".rstrip(":\n"))


def sudo_fault(err: str) -> str | None:
    """Return what to do when it was sudo that refused."""
    if SUDO_REFUSES.search(err):
        return (
            "sudo there would not let us: the account needs a NOPASSWD rule in sudoers (relays.toml says sudo = true), "
            f"or connect as root\n{_bound_text(err.encode())}"
        )
    return None


@cache
def sent_modules() -> tuple[Path, ...]:
    """Return what can be sent besides the program itself: remote/ and what it imports, each after what it imports."""
    imports: dict[Path, frozenset[Path]] = {}
    waiting = [path for path in (ROOT / "remote").rglob("*.py") if path.name != "__init__.py"]
    while waiting:
        path = waiting.pop()
        imports[path] = _find_imports(path)
        waiting += imports[path] - imports.keys()
    return tuple(path for path in TopologicalSorter(imports).static_order() if path != MAIN)


def _find_needed(kinds: frozenset[str], more: Sequence[Path]) -> list[Path]:
    """Return the modules that answer for these kinds, and these `more`, each after what it imports."""
    every = [*sent_modules(), *more]
    needed = {*more, *(path for path in every if not kinds.isdisjoint(_find_kinds(path)))}
    for path in reversed(every):
        if path in needed:
            needed |= _find_imports(path)
    return [path for path in every if path in needed]


@cache
def _find_imports(path: Path) -> frozenset[Path]:
    names = re.findall(r"^from ((?:remote|common)[\w.]*) import", _read_source(path), re.MULTILINE)
    return frozenset(ROOT / f"{name.replace('.', '/')}.py" for name in names)


@cache
def _find_kinds(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r'"([\w.]+)": Kind\(', _read_source(path)))


def _read_source(path: Path) -> str:
    return path.read_text("utf-8")


def _module(path: Path) -> str:
    """Return a module's name, by which modules sent later import it."""
    place = path.resolve()
    place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else Path(place.name)
    return ".".join(place.with_suffix("").parts)


def _read_answer(line: bytes) -> dict[str, Any]:
    """Read an answer. Raises HostError: a machine may send anything."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HostError(f"its answer cannot be understood:\n{_bound_text(line)}") from error
    if not isinstance(answer, dict):
        raise HostError(f"its answer cannot be understood:\n{_bound_text(line)}")
    return answer


def _state(state: object) -> State | None:
    if state is not None and not isinstance(state, dict):
        raise HostError(f"its answer cannot be understood: a state is no {type(state).__name__}")
    return state


def _bound_text(said: bytes) -> str:
    """Return the last part of what a machine says; whoever prints it escapes it."""
    return said[-4000:].decode(errors="replace").strip()
