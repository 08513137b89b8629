"""An attacker with account `postern`: whatever the files of one customer's spool hold, no other customer notices."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.settings import load_settings
from receiver.admin_arguments import parse_arguments
from receiver.admin_cli import answer_call
from receiver.formatting import format_time
from receiver.lists.spool import Spool
from receiver.monitoring.alarms import find_alarms
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.status import Status
from receiver.outcome import Answer, Origin
from receiver.tables_client import Tables
from receiver.timer import run_timer
from receiver.upload import receive
from receiver.upload.pipeline import process_export
from receiver.views.status import customer_lines
from tests.support.small_relay import SmallRelay, export, people
from tests.support.tiers import every_nth

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
DAY = 86_400
HASH = "a" * 64
ESCAPES = "\x1b]0;owned\x07\x1b[31m\nForged: line"
PUBLICATION = {
    "postern": 1,
    "when": 1,
    "list": HASH,
    "accepted": {"domains": {"acme.example": 1}, "list": "", "counts": {"acme.example": 1}},
    "number": 1,
    "pin": {"since": 1, "by": "olga", "list": HASH},
    "clears": False,
    "entry": None,
}
MADE: Mapping[str, Any] = {
    "pinned.json": {"postern": 1, "since": 1, "by": "olga", "list": HASH},
    "asking.json": {"postern": 1, "refused": 1, "put_off": False, "unasked": 1},
    "judged-mail.json": {"postern": 1, "judged": {"a@acme.example": 1}},
    "unproven.json": PUBLICATION,
    "begun.json": PUBLICATION,
    "refusal-alarms.json": {"postern": 1, "raised": {"kind": ["2026-11-29", "text"]}},
    "last-export.json": {"postern": 1, "open_domains": ["acme.example"], "plus_addresses": True},
    "left-out.json": {"postern": 1, "values": [["smtp:x", "it is none"]]},
    "had-mail.json": {"postern": 1, "had_mail": {"a@acme.example": ["2026-11-29", 2]}, "waiting": {}},
}
"""What a spool has besides what uploads leave there."""
LEFT = ("accepted.json", "last-run.json", "keys.json", "held/why.json", "held/review.json", "log", "refusals.json")
LIES: tuple[object, ...] = (
    10**30,
    -(10**30),
    10**17,
    -1,
    True,
    1.5,
    float("nan"),
    None,
    "x",
    ESCAPES,
    "\ud800",
    [],
    {},
    [[1]],
    {"a": 1},
)
WHOLE = (b"", b"{", b"[]", b"null", b"\xff", b'"\xed\xa0\x80"', b"[" * 100_000, b'{"postern": 1}', b"1" * 5_000)
OTHER = "bolt"


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRelay:
    """Two customers, each with a list in force and one held. Root answers at once, and no mail is logged."""
    monkeypatch.setattr(Tables, "build", lambda self: {})
    monkeypatch.setattr(Tables, "repair", lambda self: {})
    for name in ("find_unnamed", "find_left_open"):
        monkeypatch.setattr(Tables, name, lambda self: [])
    monkeypatch.setattr(Tables, "find_missing", lambda self, recipients: [])
    monkeypatch.setattr(Tables, "is_in_doubt", lambda self: False)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    relay = SmallRelay(tmp_path, no_additions_days=5)
    relay.offer(people(30))
    relay.accept("first", 30)
    relay.offer([*people(29), "so-ann@acme.example"])
    relay.offer(people(10))
    relay.review()
    with relay.spool() as spool:
        spool.note_key("k1", int(time.time()))
    for name, fields in MADE.items():
        if name != "begun.json":
            (relay.folder / name).write_text(json.dumps(fields))
    (relay.folder / "pinned.json").unlink()
    tick(relay)
    tree = Path(relay.places.tree(OTHER))
    shutil.copytree(relay.places.tree("acme"), tree)
    (tree / "settings.json").write_text(relay.settings._replace(customer=OTHER).text())
    shutil.copytree(relay.folder, relay.places.spool(OTHER))
    return relay


def tick(relay: SmallRelay) -> Answer:
    shutil.rmtree(relay.var / "run")
    (relay.var / "run").mkdir()
    return run_timer(relay.places, relay.tables, int(time.time()), OpenedLogs((), None, {}))


def look(relay: SmallRelay) -> list[str]:
    """Return the alarms of one customer, after printing its status."""
    now, settings = int(time.time()), load_settings(relay.places, "acme")
    with relay.spool() as spool:
        status = Status.of(spool, settings, now)
        alarms = [alarm.line for alarm in find_alarms(status, settings, now)]
        spool.note_key("k1", now)
        customer_lines(status.record())
        return alarms


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a call in its own process resets: umask and working directory are the tests' here."""
    monkeypatch.setattr("receiver.admin_cli.process_limits.reset_environment", lambda _: None)


def call(relay: SmallRelay, *arguments: str) -> int:
    environ = {"SUDO_USER": "olga", "SSH_CONNECTION": "192.0.2.1 50000 203.0.113.1 22"}
    return answer_call(relay.places, relay.tables, parse_arguments(arguments), environ, None)


def upload(relay: SmallRelay) -> None:
    with relay.spool() as spool:
        origin = Origin(int(time.time()), "k1", "198.51.100.7")
        receive.run_recorded(
            spool,
            origin,
            lambda: process_export(relay.settings, export(people(12)), spool, origin, relay.tables, look=False),
        )


def leaves(fields: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value, those that hold others too."""
    yield path
    pairs = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for key, value in pairs:
        yield from leaves(value, (*path, key))


def replaced(fields: Any, path: tuple[Any, ...], lie: object) -> Any:
    if not path:
        return lie
    copied = json.loads(json.dumps(fields))
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = lie
    return copied


def sound(relay: SmallRelay, name: str) -> Any:
    return MADE[name] if name in MADE else json.loads((relay.folder / name).read_text().splitlines()[-1])


def contents(relay: SmallRelay, name: str) -> Iterator[bytes]:
    """Yield what an attacker may write: no JSON, other JSON, and ours with one lie in each place in turn."""
    fields = sound(relay, name)
    yield from WHOLE
    for path in leaves(fields):
        for lie in LIES if path != ("postern",) else ():
            yield json.dumps(replaced(fields, path, lie)).encode() + b"\n"


FILES = [*LEFT, *MADE, "gone", "held/recipients", "recipients"]
LINES = (b"999999999999 aaaaaaaa r user00041@acme.example\n", b"1 aaaaaaaa r \xed\xa0\x80@acme.example\n", *WHOLE)
VERBS = (
    ("status", "acme"),
    ("history", "acme"),
    ("review", "acme"),
    ("explain", "acme", "--address", "user00003@acme.example"),
    ("refusals", "acme"),
    ("report",),
    ("rehearse", "acme", "--guard", "shrink_percent=5"),
    ("hand-over", "acme"),
)


@pytest.mark.parametrize("name", [*LEFT, *MADE])
def test_attack_any_lie_in_a_file_of_a_spool_is_seen_for_damage_by_who_looks(relay: SmallRelay, name: str) -> None:
    kept = (relay.folder / "keys.json").read_bytes()
    for content in contents(relay, name):
        (relay.folder / name).write_bytes(content)
        assert all(line.isprintable() for line in look(relay)), content
        (relay.folder / "keys.json").write_bytes(kept)


@pytest.mark.parametrize("name", every_nth(FILES, 2))
def test_attack_whatever_a_spool_holds_every_verb_answers_and_the_others_alarms_are_raised(
    relay: SmallRelay, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for content in some_contents(relay, name):
        kept = relay.folder.with_name(".kept")
        shutil.copytree(relay.folder, kept)
        (relay.folder / name).write_bytes(content)
        assert any(line.startswith(f"{OTHER}: held since") for line in tick(relay).record["alarms"]), content
        upload(relay)
        (relay.folder / name).write_bytes(content)
        for verb in VERBS:
            assert call(relay, *verb) in (0, 2, 4), (verb, content)
        assert all(line.isprintable() for line in capfd.readouterr().out.splitlines()), content
        shutil.rmtree(relay.folder)
        kept.rename(relay.folder)


def test_a_number_that_is_no_time_is_printed_as_none() -> None:
    assert {format_time(when) for when in (10**30, -(10**30), -1, 10**12)} == {"an impossible time"}
    assert format_time(1_790_000_000) == "2026-09-21 14:13 UTC"


def some_contents(relay: SmallRelay, name: str) -> list[bytes]:
    """Return what the costly test tries: each lie in one place, each place in turn."""
    if name not in (*LEFT, *MADE):
        return [*LINES]
    fields = sound(relay, name)
    ways = [path for path in leaves(fields) if path != ("postern",)]
    lies = [replaced(fields, ways[number % len(ways)], lie) for number, lie in enumerate(LIES)]
    return [*WHOLE, *(json.dumps(each).encode() + b"\n" for each in lies)]


def test_a_customer_whose_files_end_in_any_error_is_an_alarm_and_hides_no_other(
    relay: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other error that reading a spool may raise."""
    sound = Spool.summarize_held

    def fail(spool: Spool) -> Any:
        if spool.customer == "acme":
            raise ArithmeticError("nobody thought of it")
        return sound(spool)

    monkeypatch.setattr(Spool, "summarize_held", fail)
    found = tick(relay).record["alarms"]
    assert any(line.startswith("acme: its files cannot be read: ArithmeticError") for line in found)
    assert any(line.startswith(f"{OTHER}: held since") for line in found)
    assert 'customer="bolt"' in (relay.var / "metrics" / "postern.prom").read_text()
