"""A relay's two directories in a temporary folder, for tests that need neither root nor Postfix.

Two programs of the relay are stood in for by shell scripts: `sudo rebuild-relay-recips`, which here joins what lies in
the spools, and `postmap -q -`, which finds whole lines in it and fails as postmap does when the table is not there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.next_hop_probe import Answers
from common.paths import Places
from common.settings import RelaySettings, Settings
from lab.waiting import HANGS
from receiver.actions import review
from receiver.actions.accept import AcceptOrder, Witness, accept_held
from receiver.actions.review import Review
from receiver.actions.rollback import ListChoice, preview_rollback, roll_back
from receiver.addresses import domain_of
from receiver.lists.review_record import Numbers
from receiver.lists.spool import Spool
from receiver.monitoring import log_files
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.log_findings import SeenMail
from receiver.outcome import Origin, Outcome
from receiver.tables_client import Tables
from receiver.upload.pipeline import process_export, recover

REPO = Path(__file__).resolve().parent.parent.parent
MARK = b"#postern end\r\n"
NO_MAIL = SeenMail()
NOT_ASKED = Answers(problem="nobody was asked")

_REBUILD = """#!/bin/sh
test "$1" != --look-up || exec {etc}/postmap -c /etc/postfix -q - hash:{etc}/tables/exchange_recipients
test "$1" != --main-cf || {{ test ! -e {etc}/unnamed || cat {etc}/unnamed; exit 0; }}
test "$1" != --adopted || {{ test ! -e {etc}/adopted || cat {etc}/adopted; exit 0; }}
test "$1" != --repair || {{ test ! -e {etc}/broken || cat {etc}/broken; exit 0; }}
echo built >> {var}/builds
test ! -e {etc}/left-out || cat {etc}/left-out
exec cat {var}/customers/*/recipients > {etc}/tables/exchange_recipients
"""
_POSTMAP = """#!/bin/sh
test -r "${5#*:}" || { echo "postmap: fatal: open database $5: No such file or directory" >&2; exit 1; }
exec awk 'NR == FNR { there[$0]; next } $0 in there { print $0 "\tOK" }' "${5#*:}" -
"""


class SmallRelay:
    """One relay with one customer, acme."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.etc, self.var = folder / "etc", folder / "var"
        for made in (self.etc / "tables", self.var / "run", self.var / "metrics", self.var / "customers"):
            made.mkdir(parents=True)
        self.places = Places(str(self.etc), str(self.var))
        self.settings = Settings(
            **{"customer": "acme", "format": "exchange-5.5", "domains": ("acme.example",), **settings}
        )
        self.relay(alarm=())
        self.provision()
        self.tables = Tables(
            self.places,
            (str(self.program("rebuild", _REBUILD.format(etc=self.etc, var=self.var))),),
            str(self.program("postmap", _POSTMAP)),
        )

    @classmethod
    def copy(cls, relay: SmallRelay, folder: Path) -> SmallRelay:
        """The same relay once more, elsewhere."""
        twin = cls(folder)
        shutil.rmtree(twin.var)
        shutil.copytree(relay.var, twin.var)
        twin.provision(**relay.settings._asdict())
        shutil.copytree(relay.etc / "tables", twin.etc / "tables", dirs_exist_ok=True)
        return twin

    def program(self, name: str, text: str) -> Path:
        path = self.etc / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def relay(self, alarm: tuple[str, ...]) -> None:
        settings = RelaySettings("/etc/postfix", "hash", alarm, str(self.var / "metrics"))
        (self.etc / "relay.json").write_text(settings.text())

    def provision(self, **changes: Any) -> Settings:
        """Write the customer's tree, and make the spool as rebuild-relay-recips does."""
        self.settings = self.settings._replace(**changes)
        tree = Path(self.places.tree(self.settings.customer))
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "settings.json").write_text(self.settings.text())
        (tree / "exclude-users.txt").write_text("".join(f"{pattern}\n" for pattern in self.settings.exclude))
        self.folder.mkdir(mode=0o700, exist_ok=True)
        return self.settings

    @property
    def folder(self) -> Path:
        return Path(self.places.spool(self.settings.customer))

    def spool(self) -> Spool:
        return Spool(self.places, self.settings.customer)

    def offer(self, recipients: Iterable[str], when: float | None = None, look: bool = False) -> Outcome:
        """Offer a list as the forced command does once it has read it from stdin."""
        return self.take(export(recipients), when, look)

    def take(self, sent: bytes, when: float | None = None, look: bool = False) -> Outcome:
        """Offer an export of the customer's source."""
        origin = Origin(int(time.time() if when is None else when), "k1", "198.51.100.7")
        with self.spool() as spool:
            return process_export(self.settings, sent, spool, origin, self.tables, look)

    def review(self, seen: SeenMail = NO_MAIL) -> Review:
        """Review what is held, as the desk does for a person at this relay."""
        with self.spool() as spool:
            recover(spool, self.tables)
            found = review.review_held(spool, self.settings, int(time.time()))
            review.note_review(spool, found, seen)
            return found

    def accept(self, option: str, size: int, removing: int = 0) -> Outcome:
        """Review what is held and accept it, as the desk does, by one number and that of those who go."""
        name = self.review().held.list
        return self.accept_reviewed(name, Numbers(removing=removing)._replace(**{option: size}))

    def accept_reviewed(
        self,
        name: str,
        numbers: Numbers,
        seen: SeenMail = NO_MAIL,
        answers: Answers = NOT_ASKED,
        look: bool = False,
    ) -> Outcome:
        """Accept by a review that was made before; `answers`: what the customer's server says."""
        order = AcceptOrder(numbers, name, "olga", log_incomplete=True, look=look)
        with self.spool() as spool:
            return accept_held(
                spool, order, Witness(seen, lambda names, _: dict.fromkeys(map(domain_of, names), answers)), self.tables
            )

    def roll_back(self, which: ListChoice, origin: Origin) -> Outcome:
        """Put an earlier list back, by the number of those who go by it."""
        with self.spool() as spool:
            removing = len(preview_rollback(spool, which)["going"])
            return roll_back(spool, which, removing, origin, self.tables)

    @contextmanager
    def opened_logs(self, *files: Path) -> Iterator[OpenedLogs]:
        """The mail logs as root opens them: these and their rotations."""
        logs = log_files.open_logs("/nowhere", time.time(), "", map(str, files))
        if logs.journal:
            logs.journal.close()
        try:
            yield logs._replace(journal=None)
        finally:
            logs._replace(journal=None).close()

    def in_force(self) -> set[str]:
        return lines(self.folder / "recipients")

    def in_tables(self) -> set[str]:
        return lines(self.etc / "tables" / "exchange_recipients")

    def accepted(self) -> dict[str, int]:
        with self.spool() as spool:
            return dict(spool.read_accepted().domains)

    def builds(self) -> int:
        return (self.var / "builds").read_text().count("built") if (self.var / "builds").exists() else 0

    @property
    def start(self) -> str:
        """What a launcher does first, in Python."""
        return (
            f"import os, sys; sys.path.insert(0, {str(REPO)!r}); sys.dont_write_bytecode = True\n"
            "from common.paths import Places; from receiver.tables_client import Tables\n"
            f"places = Places(*{tuple(self.places)!r}); tables = Tables(places, *{tuple(self.tables)[1:]!r})\n"
        )

    def run(
        self, code: str, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run code of the receiver in a process of its own, as a launcher does, with `places` and `tables` known."""
        argv = [sys.executable, "-I", "-c", self.start + code, *arguments]
        return subprocess.run(
            argv, input=stdin, capture_output=True, env=dict(environ or {}), timeout=HANGS, check=False
        )

    def forced_command(
        self, verb: str | None, stdin: bytes = b"", key: str = "k1"
    ) -> subprocess.CompletedProcess[bytes]:
        """Call as a customer's key does; None: no command at all."""
        environ = {"SSH_CONNECTION": "198.51.100.7 50000 203.0.113.1 22"}
        if verb is not None:
            environ["SSH_ORIGINAL_COMMAND"] = verb
        code = (
            "from receiver.forced_command import answer_call\n"
            "sys.exit(answer_call(places, tables, sys.argv[1:], os.environ))"
        )
        return self.run(code, self.settings.customer, key, stdin=stdin, environ=environ)

    def admin(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Call as a person does who has become account `postern`."""
        environ = {"SUDO_USER": "olga", "SSH_CONNECTION": "192.0.2.1 50000 203.0.113.1 22"}
        code = "from receiver.admin_cli import answer_call\nfrom receiver.admin_arguments import parse_arguments\n"
        code += "sys.exit(answer_call(places, tables, parse_arguments(sys.argv[1:]), os.environ, None))"
        return self.run(code, *arguments, stdin=stdin, environ=environ)


def export(recipients: Iterable[str]) -> bytes:
    """An Exchange 5.5 export with a mailbox for each recipient."""
    header = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n"
    return (header + "".join(f"Mailbox\tSMTP:{recipient}\t\r\n" for recipient in recipients)).encode()


def people(count: int, domain: str = "acme.example") -> list[str]:
    """Addresses, always the same."""
    return [f"user{number:05d}@{domain}" for number in range(count)]


def lines(path: Path) -> set[str]:
    """The lines of a file; none: no file."""
    return set(path.read_text(encoding="utf-8").split("\n")) - {""} if path.exists() else set()


def age(relay: SmallRelay, days: float) -> None:
    """Let the last good upload of every domain be so much older."""
    path = relay.folder / "accepted.json"
    fields = json.loads(path.read_text())
    fields["domains"] = {name: int(when - days * 86400) for name, when in fields["domains"].items()}
    path.write_text(json.dumps(fields))
