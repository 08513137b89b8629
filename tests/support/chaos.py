"""A small fleet on a real PostgreSQL, with everything that may go wrong, and an oracle that looks at every publish.

Each action runs the real receiver in a process of its own, which may be killed between any two steps.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from receiver.actions import review
from receiver.actions.accept import AcceptOrder, Witness, accept_held
from receiver.actions.resume import resume_uploads
from receiver.actions.rollback import ListChoice, preview_rollback, roll_back
from receiver.lists import list_file
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Stopped, outcome_of_error
from receiver.store import operator
from receiver.store.access import StoreAccess, load_access
from receiver.store.connection import Unclear
from receiver.store.follow import follow
from receiver.store.head import Head, Tip, decode_head
from receiver.store.notes import read_notes
from receiver.store.relay_heads import find_list, read_heads
from receiver.store.shared_change import PersonDecision, run_shared
from receiver.system import atomic_files
from receiver.upload.pipeline import process_export, recover
from tests.support.postgres import TABLES, Postgres, join
from tests.support.small_relay import NO_MAIL, SmallRelay, export, people

STEPS = ("connected", "locked", "written", "before-commit", "after-commit", "before-publish", "published", "own-add")
STAFF = people(20)
JOURNAL = """
CREATE TABLE IF NOT EXISTS postern.journal (n bigserial, before text, after text);
CREATE OR REPLACE FUNCTION postern.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO postern.journal (before, after) VALUES (OLD.head, NEW.head); RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER note AFTER UPDATE ON postern.heads FOR EACH ROW
WHEN (current_user = 'writer') EXECUTE FUNCTION postern.note();
"""
"""What each relay wrote over what: kept through every restore, for the oracle alone."""


class Seen(NamedTuple):
    """What a relay had in force when the oracle looked last."""

    names: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    heads: tuple[Tip, ...] = ()


class World:
    """Two upload relays, two followers, one customer, and the dice."""

    def __init__(self, folder: Path, server: Postgres, seed: int) -> None:
        self.dice, self.server, self.seed, self.folder = random.Random(seed), server, seed, folder
        server.sql(f"TRUNCATE {', '.join(f'postern.{name}' for name in (*TABLES[1:], 'journal'))} RESTART IDENTITY")
        self.relays = [SmallRelay(folder / name) for name in ("up1", "up2", "f1", "f2")]
        self.truth, self.count, self.events = [*STAFF, *people(30)[20:]], 100, [f"seed {seed}"]
        self.relays[0].offer(self.truth)
        self.relays[0].accept("first", len(self.truth))
        for number, relay in enumerate(self.relays):
            join(relay, server, uploads=number < 2)
        self.seen = [Seen() for _ in self.relays]
        self.copies: dict[int, Path] = {}
        self.backups = [server.back_up()]
        self.decided: dict[str, str] = {}
        self.uploads, self.noted = 0, 0
        self.lists: dict[str, frozenset[str]] = {}
        for number in range(4):
            self.run(number, self._follow)

    def run(self, number: int, action: Callable[[StoreAccess], Outcome], fault: str = "") -> Outcome | None:
        """Run an action on a relay in a process of its own, then let the oracle look. None: it was killed."""
        relay, before = self.relays[number], self.seen[number].heads
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _run_child(relay, action, fault, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        outcome = Outcome.read(json.loads(said)) if said else None
        name = getattr(action, "__name__", "action")
        self.events.append(f"{relay.etc.parent.name} {name} {fault}: {outcome.line[:200] if outcome else 'killed'}")
        assert not (outcome and "BROKEN" in outcome.why), "\n".join(self.events)
        self.check_written(before)
        self.look(number)
        return outcome

    def look(self, number: int) -> None:
        """Raise AssertionError where somebody left, or a domain closed, by something not made on top of what was."""
        relay, before = self.relays[number], self.seen[number]
        if not relay.folder.exists():
            return
        with relay.spool() as spool:
            in_force, heads = spool.read_in_force(), read_heads(spool)
        now = Seen(in_force.recipients, frozenset(in_force.accepted.domains), heads)
        told = "\n".join(self.events)
        assert not before.names or set(STAFF) <= now.names, f"somebody of the staff is gone\n{told}"
        left, closed = before.names - now.names, now.closed - before.closed
        points = {tip.head.point for tip in before.heads}
        unjudged = [tip.head for tip in heads if tip.head.kind == "own" and tip.head.point not in points]
        # Where another state lies between, that one may have been judged, and this relay has not seen it.
        if any(head.past and head.past[0].point in points for head in unjudged):
            assert not left, f"{sorted(left)} left by an upload that nobody judged\n{told}"
            assert not closed, f"{closed} closed by an upload that nobody judged\n{told}"
        for old in before.heads if left or closed else ():
            stays = any(new.head.point == old.head.point for new in heads)
            known = any(new.head.knows(old.head.point) for new in heads)
            assert known or (stays and not old.recipients & left), f"{sorted(left)} left without a judgement\n{told}"
            assert known or (stays and closed <= old.head.accepted.domains.keys()), f"{closed} closed\n{told}"
        self.seen[number] = now

    def check_written(self, own: tuple[Tip, ...]) -> None:
        """Raise AssertionError where what nobody judged, a merge or a held list, has not all of what lies behind it.

        `own`: the heads of the relay that wrote it.
        """
        found = self.server.sql("SELECT n, before, after FROM postern.journal WHERE n > %s ORDER BY n", (self.noted,))
        for n, row, after in found:
            self.noted, new = n, decode_head(after)
            heads = [tip.head for tip in own]
            with suppress(ValueError):
                heads.append(decode_head(row))
            parents = [head.point for head in heads if not any(other.knows(head.point) for other in heads)]
            text = self._list_of(new)
            if text is not None:
                self.lists[new.point] = list_file.decode_recipients(text)
            if text is None or new.kind not in ("merge", "held", "open", "settings"):
                continue
            for point in parents:
                lacking = self.lists.get(point, frozenset()) - self.lists[new.point] if new.knows(point) else ()
                assert not lacking, "\n".join([*self.events, f"{new.kind} lost {sorted(lacking)}"])
        self.lists.update({tip.head.point: tip.recipients for tip in own})

    def _list_of(self, head: Head) -> bytes | None:
        for relay in self.relays:
            with suppress(Stopped), relay.spool() as spool:
                text = find_list(spool, head.list)
                if text is not None:
                    return text
        return None

    def check_journal(self) -> None:
        """Raise AssertionError where a head says that something lies behind it that its writer did not have."""
        known: set[str] = set()
        for before, after in self.server.sql("SELECT before, after FROM postern.journal ORDER BY n"):
            new = decode_head(after)
            with suppress(ValueError):
                old = decode_head(before)
                told = "\n".join(self.events)
                is_same = new.point == old.point or new.knows(old.point) or old.knows(new.point)
                assert is_same or old.point not in {each.point for each in new.past}, told
            known.add(new.point)

    def settle(self) -> None:
        """Let all relays follow without faults, twice; they must agree, and no decision be lost without a note."""
        for relay in self.relays:
            join(relay, self.server, uploads=self.relays.index(relay) < 2)
        for _ in range(2):
            for number in range(4):
                self.run(number, self._follow)
        assert self.run(0, self._offer) is not None
        for number in range(4):
            self.run(number, self._follow)
        told = "\n".join(self.events)
        assert len({(seen.names, seen.closed) for seen in self.seen}) == 1, f"the relays do not agree\n{told}"
        assert all(len(seen.heads) == 1 for seen in self.seen), told
        self._check_decisions(self.seen[0].heads[0].head)
        self.check_journal()

    def _check_decisions(self, head: Head) -> None:
        notes = ""
        for relay in self.relays:
            run = atomic_files.open_directory(relay.places.run)
            notes += " ".join(note.text for note in read_notes(run, 0))
            os.close(run)
        for point, what in self.decided.items():
            known = head.point == point or head.knows(point) or point[:12] in notes
            assert known, "\n".join([*self.events, f"{what} ({point}) was lost without a word"])

    def _forget_unknown(self) -> None:
        """Expect no word of a decision of which each relay and row that knew it was destroyed meanwhile."""
        heads = [tip.head for seen in self.seen for tip in seen.heads]
        for (text,) in self.server.sql("SELECT head FROM postern.heads"):
            with suppress(ValueError):
                heads.append(decode_head(text))
        known = {point for point in self.decided for head in heads if head.point == point or head.knows(point)}
        self.decided = {point: what for point, what in self.decided.items() if point in known}

    def turn(self) -> None:
        """Do one thing by chance."""
        usual = [*[World._upload] * 6, *[World._follow_one] * 4, World._decide, World._decide]
        turn = self.dice.choice([*usual, *_FAULTS])
        turn(self)
        if turn in _FAULTS:
            self._forget_unknown()

    def _fault(self) -> str:
        if self.dice.random() < 0.7:
            return ""
        return f"{self.dice.choice(['kill', 'cut'])} {self.dice.choice(STEPS)}"

    def _upload(self) -> None:
        self.uploads += 1
        self.count += 1
        leaver = self.dice.choice(self.truth[len(STAFF) :])
        self.truth = [*(name for name in self.truth if name != leaver), f"new{self.count}@acme.example"]
        self.run(self.dice.randrange(2), self._offer, self._fault())
        if self.dice.random() < 0.5:
            self.run(self.dice.randrange(2), self._offer, self._fault())

    def _follow_one(self) -> None:
        self.run(self.dice.randrange(4), self._follow, self._fault())

    def _decide(self) -> None:
        number = self.dice.randrange(2)
        outcome = self.run(number, self.dice.choice([self._accept, self._rollback, self._resume, self._open]))
        if outcome and outcome.code == 0 and outcome.did != "unchanged":
            with self.relays[number].spool() as spool:
                tips = read_heads(spool)
            if len(tips) == 1 and tips[0].head.kind in ("accept", "rollback", "resume", "open"):
                self.decided[tips[0].head.point] = f"{tips[0].head.kind} on relay {number}"

    def _offer(self, access: StoreAccess) -> Outcome:
        relay = self.relay_of(access)
        with relay.spool() as spool:
            recover(spool, relay.tables)
            origin = Origin(int(time.time()), "k1", "198.51.100.7")
            return process_export(relay.settings, export(self.truth), spool, origin, relay.tables, store=access)

    def _follow(self, access: StoreAccess) -> Outcome:
        relay = self.relay_of(access)
        now = int(time.time()) + self.dice.randrange(10_000_000)  # so that each looks at every customer
        looked = follow(access, ["acme"], now)
        with relay.spool() as spool:
            recover(spool, relay.tables)
        why = looked.followed.why or " ".join(looked.followed.wrong.values())
        return Outcome("acme", "busy" if why else "unchanged", why=why)

    def _shared(self, access: StoreAccess, kind: str, run: Callable[[Spool, SmallRelay], Outcome]) -> Outcome:
        relay = self.relay_of(access)
        with relay.spool() as spool:
            recover(spool, relay.tables)
            return run_shared(
                access,
                spool,
                PersonDecision(kind, Origin(int(time.time()), by="anna")),
                lambda: run(spool, relay),
                lambda: False,
            )

    def _accept(self, access: StoreAccess) -> Outcome:
        return self._shared(access, "accept", _review_and_accept)

    def _rollback(self, access: StoreAccess) -> Outcome:
        return self._shared(access, "rollback", _roll_back)

    def _resume(self, access: StoreAccess) -> Outcome:
        origin = Origin(int(time.time()), by="anna")
        return self._shared(access, "resume", lambda spool, relay: resume_uploads(spool, origin, relay.tables))

    def _open(self, access: StoreAccess) -> Outcome:
        with self.relay_of(access).spool() as spool:
            operator.open_domains(access, spool, ["acme.example"], "anna")
        return Outcome("acme", "published")

    def relay_of(self, access: StoreAccess) -> SmallRelay:
        return next(relay for relay in self.relays if relay.places == access.places)

    def _back_up(self) -> None:
        self.backups.append(self.server.back_up())

    def _restore(self) -> None:
        tables = self.dice.choice([(), (), ("heads",), ("lists",), ("log",), ("gone",)])
        self.server.restore(self.dice.choice(self.backups), tables)
        self.events.append(f"restored {tables or 'everything'}")

    def _empty(self) -> None:
        tables = self.dice.choice([("heads",), ("lists",), ("heads", "lists", "log", "gone")])
        for name in tables:
            self.server.sql(f"DELETE FROM postern.{name}")
        self.events.append(f"emptied {tables}")

    def _damage(self) -> None:
        self.server.sql(
            self.dice.choice(
                (
                    "UPDATE postern.heads SET head = replace(head, 'a', 'b')",
                    "UPDATE postern.heads SET digest = 'x'",
                    "UPDATE postern.lists SET body = '\\x00'",
                )
            )
        )
        self.events.append("damaged")

    def _go_dead(self) -> None:
        """Some relays reach no database until the next thing of this kind."""
        for relay in self.relays:
            join(relay, self.server, uploads=self.relays.index(relay) < 2, is_dead=self.dice.random() < 0.4)
        self.events.append("some relays reach the database")

    def _split(self) -> None:
        """Two primaries: what one relay commits meanwhile, the others never see."""
        lonely, common = self.dice.randrange(2), self.server.back_up()
        for _ in range(self.dice.randint(1, 3)):
            self._upload()
        self.run(lonely, self._offer)
        other = self.server.back_up()
        self.server.restore(common)
        self.events.append("split brain: the other side")
        for _ in range(self.dice.randint(1, 3)):
            self._upload()
        if self.dice.random() < 0.5:
            self.server.restore(other)
            self.events.append("split brain ends with the first side")

    def _snapshot(self) -> None:
        number = self.dice.randrange(4)
        copy = self.folder / f"copy{number}"
        if number in self.copies:
            shutil.rmtree(self.relays[number].var)
            shutil.copytree(copy, self.relays[number].var)
            shutil.rmtree(copy)
            del self.copies[number]
            self.seen[number] = Seen()
            self.events.append(f"relay {number} is back from an old snapshot")
            self.look(number)
        else:
            shutil.copytree(self.relays[number].var, copy)
            self.copies[number] = copy

    def _rebuild(self) -> None:
        """A relay that is made anew has nothing."""
        number = self.dice.randrange(1, 4)
        shutil.rmtree(self.relays[number].folder)
        self.relays[number].provision()
        self.seen[number] = Seen()
        self.events.append(f"relay {number} is made anew")


_FAULTS = (
    World._back_up,
    World._restore,
    World._restore,
    World._empty,
    World._damage,
    World._go_dead,
    World._split,
    World._snapshot,
    World._snapshot,
    World._rebuild,
)


def _run_child(relay: SmallRelay, action: Callable[[StoreAccess], Outcome], fault: str, writer: int) -> None:
    """Run it and end, whatever comes; nothing of pytest's may run here."""
    try:
        access = load_access(relay.places)
        assert access
        outcome = _run_action(access._replace(step=_step(fault), patience=0.3), action)
        os.write(writer, json.dumps(outcome.record()).encode())
    except BaseException as error:  # noqa: BLE001 (it must not return into pytest)
        os.write(writer, json.dumps(Outcome("acme", "failed", why=f"BROKEN {error!r}").record()).encode())
    finally:
        os._exit(0)


def _run_action(access: StoreAccess, action: Callable[[StoreAccess], Outcome]) -> Outcome:
    try:
        return action(access)
    except Stopped as error:
        return outcome_of_error("acme", Origin(0), error)


def _step(fault: str) -> Callable[[str], None]:
    what, _, at = fault.partition(" ")

    def step(name: str) -> None:
        if name == at and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == at == "after-commit" and what == "cut":
            raise Unclear("the answer was lost")

    return step


def _review_and_accept(spool: Spool, relay: SmallRelay) -> Outcome:
    found = review.review_held(spool, relay.settings, int(time.time()))
    with spool.hold_lock():
        record = review.note_review(spool, found, NO_MAIL)
    order = AcceptOrder(record.numbers, record.list, "anna", log_incomplete=True)
    return accept_held(spool, order, Witness(NO_MAIL, lambda *_: {}), relay.tables)


def _roll_back(spool: Spool, relay: SmallRelay) -> Outcome:
    back = ListChoice(back=1)
    removing = len(preview_rollback(spool, back)["going"])
    return roll_back(spool, back, removing, Origin(int(time.time()), by="anna"), relay.tables)
