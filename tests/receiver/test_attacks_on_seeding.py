"""An attacker with account `postern` of one relay: what a rebuilt relay takes over from that relay."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.exit_codes import DONE, HELD, REFUSED
from fleet.copy_lists import ConnectedRelay, find_lacking
from inventory.model import Customer
from receiver.actions.bring_back import bring_back
from receiver.lists import list_file, removed_addresses, upload_log
from receiver.lists.list_file import ListRecord
from receiver.outcome import AHEAD, Origin
from tests.support.small_relay import SmallRelay, lines, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
EVERYBODY = people(40)
TOMORROW = int(time.time()) + 86_000
MISSING = EVERYBODY[7]


@pytest.fixture
def honest(tmp_path: Path) -> SmallRelay:
    """A relay whose first list, of 40, has been accepted."""
    relay = SmallRelay(tmp_path / "honest")
    relay.offer(EVERYBODY)
    relay.accept("first", 40)
    return relay


@pytest.fixture
def liar(honest: SmallRelay, tmp_path: Path) -> SmallRelay:
    """Its sibling, on which the account takes one recipient away."""
    relay = SmallRelay.copy(honest, tmp_path / "liar")
    relay.offer([one for one in EVERYBODY if one != MISSING])
    assert MISSING not in relay.in_force()
    return relay


@pytest.fixture
def rebuilt(tmp_path: Path) -> SmallRelay:
    return SmallRelay(tmp_path / "rebuilt")


def given(relay: SmallRelay, **changes: Any) -> bytes:
    """Return what a relay hands over, with these changes."""
    said = json.loads(relay.admin("hand-over", "acme").stdout)
    return json.dumps({**said, **changes}).encode() + b"\n"


def dated(relay: SmallRelay, when: int) -> dict[str, Any]:
    return {"accepted": {**json.loads(given(relay))["accepted"], "domains": {"acme.example": when}}}


def take(relay: SmallRelay, stdin: bytes, code: int) -> str:
    done = relay.admin("take-over", "acme", stdin=stdin)
    assert (done.returncode, done.stderr) == (code, b"")
    return done.stdout.decode()


def test_attack_a_list_accepted_tomorrow_is_not_the_newest(honest: SmallRelay, liar: SmallRelay) -> None:
    lists = {"liar": TOMORROW, "honest": int(time.time()) - 3600}
    customer = Customer.model_construct(id="acme", relays=("honest", "liar", "new"), keys=("k1",))  # type: ignore[call-arg, arg-type]
    relays = {name: ConnectedRelay(None, {"acme": when}, True) for name, when in lists.items()}  # type: ignore[arg-type]
    relays["new"] = ConnectedRelay(None, {}, True)  # type: ignore[arg-type]
    assert [*find_lacking([customer], relays, int(time.time()))] == [(customer, "new", ["honest", "liar"])]
    del relays["honest"]
    assert not [*find_lacking([customer], relays, int(time.time()))], "a date to come is none"


@pytest.mark.parametrize("first", ["honest", "liar"])
def test_attack_whom_one_sibling_leaves_out_stays_listed(
    honest: SmallRelay, liar: SmallRelay, rebuilt: SmallRelay, first: str
) -> None:
    """The honest relay's list is older, so the liar's is held, and removes nobody before a person has looked."""
    handed = [given(honest), given(liar)]
    said = take(rebuilt, b"".join(handed if first == "honest" else reversed(handed)), HELD)
    assert said.startswith(
        "acme: its relays list different addresses (40, 39): every address that any of them lists stays listed: held"
    )
    assert rebuilt.in_force() == rebuilt.in_tables() == set(EVERYBODY)
    assert rebuilt.accepted().keys() == {"acme.example"}, "both close it"
    review = rebuilt.admin("review", "acme").stdout.decode()
    assert (f"- {MISSING}" in review) is (first == "liar")


def test_attack_a_date_to_come_closes_nothing(liar: SmallRelay, rebuilt: SmallRelay) -> None:
    take(rebuilt, given(liar, **dated(liar, TOMORROW)), DONE)
    assert rebuilt.accepted() == {}
    assert rebuilt.in_force() == liar.in_force()


def test_a_clock_that_is_a_little_ahead_is_believed(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    take(rebuilt, given(honest, **dated(honest, int(time.time()) + AHEAD - 60)), DONE)
    assert rebuilt.accepted().keys() == {"acme.example"}


def test_attack_a_domain_that_one_sibling_alone_closes_is_open(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    said = take(rebuilt, given(honest) + given(honest, **dated(honest, TOMORROW)), HELD)
    assert "do not agree on which domains have an accepted list" in said
    assert rebuilt.accepted() == {}
    assert rebuilt.in_force() == set(EVERYBODY)


def test_attack_the_liar_s_own_list_is_not_the_one_accepted_last(
    honest: SmallRelay, liar: SmallRelay, rebuilt: SmallRelay
) -> None:
    """The list accepted last passes unjudged when it comes again."""
    liar.offer(EVERYBODY[:5])
    liar.accept("removing", 34)
    take(rebuilt, given(liar) + given(honest), HELD)
    assert rebuilt.offer(EVERYBODY[:5]).code == HELD
    assert rebuilt.in_force() == set(EVERYBODY)


def test_a_pin_on_one_sibling_alone_is_taken_over(honest: SmallRelay, liar: SmallRelay, rebuilt: SmallRelay) -> None:
    assert honest.admin("rollback", "acme", "--to", "0").returncode == DONE
    take(rebuilt, given(liar) + given(honest), HELD)
    assert rebuilt.offer(EVERYBODY[:39]).did == "pinned"


def test_siblings_that_agree_hand_over_as_one(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    assert take(rebuilt, given(honest) + given(honest), DONE) == "acme: 40 recipients (+40 -0)\n"
    assert rebuilt.offer(EVERYBODY).did == "unchanged"


def sparse(relay: SmallRelay) -> None:
    (relay.folder / "history" / "00000000.gz").touch()
    for number in range(1, 10):
        with (relay.folder / "history" / f"0000000{number}.gz").open("ab") as file:
            file.truncate(190 << 20)


def years_ahead(relay: SmallRelay) -> None:
    (relay.folder / "reference").mkdir(exist_ok=True)
    (newest,) = (relay.folder / "history").iterdir()
    (relay.folder / "reference" / "2999-01-01.gz").write_bytes(newest.read_bytes())


def test_a_list_with_a_domain_that_left_is_taken_over_without_it(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    honest.provision(domains=("acme.example", "old.example"))
    honest.offer([*EVERYBODY, "one@old.example"])
    honest.accept("first", 1)
    honest.provision(domains=("acme.example",))
    assert "one@old.example" in honest.in_force(), "no upload has come since"
    assert rebuilt.admin("take-over", "acme", stdin=given(honest)).returncode == DONE
    assert rebuilt.in_force() == set(EVERYBODY)
    assert rebuilt.accepted().keys() == {"acme.example"}


def test_the_past_of_siblings_that_differ_is_united(honest: SmallRelay, tmp_path: Path, rebuilt: SmallRelay) -> None:
    honest.offer(EVERYBODY[:39])
    twin = SmallRelay.copy(honest, tmp_path / "twin")
    honest.offer(EVERYBODY[:38])
    with honest.spool() as spool:
        step = next(upload_log.read_entries(spool.folder)).entry
        bring_back(spool, step, Origin(int(time.time()), by="olga"), honest.tables)
    twin.offer(EVERYBODY[:37])
    with twin.spool() as spool:
        other = next(upload_log.read_entries(spool.folder)).entry
    take(rebuilt, given(twin) + given(honest), HELD)
    with rebuilt.spool() as spool:
        removals = removed_addresses.read_removals(spool.folder, int(time.time()))
        assert {step, other} <= {entry.entry for entry in upload_log.read_entries(spool.folder)}
    assert {name: each.is_brought_back for name, each in removals.items()} == {
        EVERYBODY[39]: False,
        EVERYBODY[38]: True,
    }
    assert rebuilt.in_force() == set(EVERYBODY[:39])


def test_attack_sparse_history_files_are_not_handed_over(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    sparse(honest)
    handed = given(honest)
    assert len(handed) < 512 << 20
    take(rebuilt, handed, DONE)
    assert rebuilt.in_force() == set(EVERYBODY)


def test_attack_a_reference_of_a_day_to_come_is_none(honest: SmallRelay, rebuilt: SmallRelay) -> None:
    years_ahead(honest)
    take(rebuilt, given(honest), DONE)
    assert not (rebuilt.folder / "reference" / "2999-01-01.gz").exists()


@pytest.mark.parametrize("number", [0, -1, 99_999_999, 10**30])
def test_attack_a_history_that_can_take_no_more_lists_is_refused(
    honest: SmallRelay, rebuilt: SmallRelay, number: int
) -> None:
    assert "cannot be used" in take(rebuilt, given(honest, number=number), REFUSED)
    assert not lines(rebuilt.folder / "recipients")


NESTED: dict[str, Callable[[bytes], bytes]] = {
    "nested beyond measure": lambda _: b"[" * 100_000,
    "a list where a text should be": lambda handed: handed.replace(b'"list": "', b'"list": ["', 1),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("what", NESTED)
def test_attack_what_is_no_hand_over_is_refused_in_a_sentence(
    honest: SmallRelay, rebuilt: SmallRelay, what: str
) -> None:
    said = take(rebuilt, given(honest) + NESTED[what](given(honest)), REFUSED if what != "nothing" else DONE)
    assert what == "nothing" or "what was handed over cannot be used" in said


def packed(text: bytes, **changes: Any) -> str:
    label = ListRecord(list_file.digest(text), 41, 0, 0, Origin(changes.pop("when", 1)), ("acme.example",), **changes)
    return base64.b64encode(list_file.pack_list(label, text)).decode()


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a list of 10**30": {"list": packed(b"a@acme.example\n", when=10**30)},
    "a list of the year 40000": {"list": packed(b"a@acme.example\n", when=1_200_000_000_000)},
    "one accepted at -10**17": {"list": packed(b"a@acme.example\n", accepted_by="x", accepted_when=-(10**17))},
    "40 MB of line ends": {"list": packed(b"\n" * (40 << 20))},
    "8 MB of line ends": {"list": packed(b"\n" * (8 << 20))},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_attack_a_list_of_a_date_that_cannot_be_or_of_line_ends_is_no_hand_over(
    honest: SmallRelay, rebuilt: SmallRelay, what: str
) -> None:
    assert "what was handed over cannot be used" in take(rebuilt, given(honest, **IMPOSSIBLE[what]), REFUSED)


def test_attack_dates_that_cannot_be_in_files_that_are_handed_over_make_no_relay_blind(
    honest: SmallRelay, rebuilt: SmallRelay
) -> None:
    files = {
        "./pinned.json": {"postern": 1, "since": 10**17, "by": "olga", "list": ""},
        "held/why.json": {"postern": 1, "list": "a", "origin": {"when": 10**17}, "since": 10**30, "reasons": []},
        "./log": {"entry": "a" * 12, "when": 10**17, "did": "published", "list": "a", "removed": 1},
    }
    coded = {name: base64.b64encode(json.dumps(each).encode() + b"\n").decode() for name, each in files.items()}
    accepted = {"domains": {"acme.example": -(10**17)}, "list": "", "counts": {}}
    take(rebuilt, given(honest, files=coded, accepted=accepted), DONE)
    for verb in (("tick",), ("status", "acme"), ("history", "acme")):
        done = rebuilt.admin(*verb)
        assert (done.returncode, done.stderr) == (DONE, b"")
    assert rebuilt.accepted() == {}
