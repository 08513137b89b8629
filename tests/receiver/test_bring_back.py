"""A wrong removal is mended by the id of its log entry, and stays mended; logged uploads are rehearsed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from receiver.actions.bring_back import bring_back
from receiver.actions.resume import resume_uploads
from receiver.actions.rollback import ListChoice
from receiver.lists import removed_addresses, upload_log
from receiver.outcome import Origin, Outcome, Refused
from receiver.system import atomic_files
from tests.support.small_relay import SmallRelay, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
EVERYBODY = people(100)


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay whose first list of 100 has been accepted, and of which an upload has removed the last eight."""
    relay = SmallRelay(tmp_path)
    relay.offer(EVERYBODY)
    relay.accept("first", 100)
    assert relay.offer(EVERYBODY[:92]).removed == 8
    return relay


def removal(relay: SmallRelay) -> str:
    """Return the id of the newest entry that removed somebody."""
    with relay.spool() as spool:
        return str(upload_log.removal_records(spool.folder)[0]["entry"])


def mend(relay: SmallRelay, entry: str) -> Outcome:
    with relay.spool() as spool:
        return bring_back(spool, entry, Origin(int(time.time()), by="olga"), relay.tables)


def test_whom_an_entry_removed_is_listed_again_and_nothing_is_frozen(relay: SmallRelay) -> None:
    outcome = mend(relay, removal(relay))
    assert (outcome.did, outcome.added, outcome.removed) == ("published", 8, 0)
    assert relay.in_tables() == set(EVERYBODY)
    assert relay.offer([*EVERYBODY, "new@acme.example"]).did == "published"


def test_a_removal_that_a_clock_which_was_ahead_has_dated_can_be_mended(tmp_path: Path) -> None:
    relay = SmallRelay(tmp_path)
    relay.offer(EVERYBODY)
    relay.accept("first", 100)
    ahead = int(time.time()) + 20 * 86_400
    relay.offer(EVERYBODY[:92])
    with relay.spool() as spool:
        removals = removed_addresses.read_removals(spool.folder, ahead)
        dated = {name: each._replace(when=ahead) for name, each in removals.items()}
        atomic_files.replace(spool.folder, removed_addresses.NAME, removed_addresses.encode_removals(dated))
    assert mend(relay, removal(relay)).added == 8
    assert relay.in_force() == set(EVERYBODY)


def test_who_was_brought_back_stays_though_uploads_lack_them(relay: SmallRelay) -> None:
    mend(relay, removal(relay))
    for _ in range(2):
        outcome = relay.offer(EVERYBODY[:92])
        assert outcome.did == "held"
        assert "8 that a rollback brought back would go" in outcome.reasons
    assert relay.in_force() == set(EVERYBODY)


def test_an_upload_that_has_them_again_does_not_end_their_protection(relay: SmallRelay) -> None:
    mend(relay, removal(relay))
    assert relay.offer(EVERYBODY).did == "unchanged"
    assert relay.offer(EVERYBODY[:99]).reasons == ("1 that a rollback brought back would go",)


def test_a_person_who_accepts_the_removal_lets_them_go(relay: SmallRelay) -> None:
    mend(relay, removal(relay))
    relay.offer(EVERYBODY[:92])
    assert relay.accept("removing", 8).removed == 8
    assert relay.offer(EVERYBODY[:92]).did == "unchanged"
    assert relay.in_force() == set(EVERYBODY[:92])


def test_bringing_back_twice_changes_nothing_the_second_time(relay: SmallRelay) -> None:
    entry = removal(relay)
    mend(relay, entry)
    assert mend(relay, entry).did == "unchanged"


def test_an_entry_that_removed_nobody_is_refused_with_a_sentence(relay: SmallRelay) -> None:
    with pytest.raises(Refused, match="nobody is to be brought back"):
        mend(relay, "0123456789ab")


def test_a_rollback_that_a_person_asked_for_ends_the_protection(relay: SmallRelay) -> None:
    mend(relay, removal(relay))
    relay.roll_back(ListChoice(back=1), Origin(int(time.time()), by="olga"))
    with relay.spool() as spool:
        resume_uploads(spool, Origin(int(time.time()), by="olga"), relay.tables)
    assert relay.offer(EVERYBODY[:92]).did == "unchanged"
    assert relay.in_force() == set(EVERYBODY[:92])


def test_what_another_upload_removed_stays_away(relay: SmallRelay) -> None:
    entry = removal(relay)
    relay.offer(EVERYBODY[:91])
    mend(relay, entry)
    assert relay.in_force() == set(EVERYBODY) - {EVERYBODY[91]}


def test_history_names_the_entry_that_the_desk_brings_back(relay: SmallRelay) -> None:
    entry = removal(relay)
    assert f"0  {entry}" in relay.admin("history", "acme").stdout.decode()
    assert relay.admin("rollback", "acme", "--entry", entry).returncode == 0
    assert relay.in_force() == set(EVERYBODY)


def test_a_sibling_that_takes_the_list_over_knows_the_same_entry(relay: SmallRelay, tmp_path: Path) -> None:
    sibling = SmallRelay(tmp_path / "sibling")
    given = relay.admin("hand-over", "acme").stdout
    assert sibling.admin("take-over", "acme", stdin=given).returncode == 0
    assert removal(sibling) == removal(relay)
    mend(sibling, removal(relay))
    assert sibling.in_force() == set(EVERYBODY)


# ---- rehearsing


def rehearsed(relay: SmallRelay, *limits: str) -> tuple[int, dict[str, object]]:
    words = [word for limit in limits for word in ("--guard", limit)]
    done = relay.admin("rehearse", "acme", "--json", *words)
    return done.returncode, json.loads(done.stdout)


def test_each_logged_upload_is_judged_again_by_other_limits(relay: SmallRelay) -> None:
    code, found = rehearsed(relay, "shrink_percent=5")
    assert (code, found["judged"], found["holds"]) == (0, 2, 2)
    assert found["lines"][0] == (  # type: ignore[index]
        "would have held 2 of 2; each was judged alone, against the list of its time"
    )
    assert "8.0 % would go (8 of 100), limit 5 %" in found["lines"][1]  # type: ignore[index]


def test_limits_as_they_are_hold_what_was_held(relay: SmallRelay) -> None:
    for _ in range(3):
        relay.offer(EVERYBODY[:92])
    _, found = rehearsed(relay)
    assert (found["judged"], found["holds"]) == (5, 1)


@pytest.mark.parametrize("limit", ["shrink_percent=lots", "canaries=1", "max_recipients=1.5", "shrink_percent=nan"])
def test_a_limit_that_cannot_be_rehearsed_is_refused(relay: SmallRelay, limit: str) -> None:
    code, found = rehearsed(relay, limit)
    assert code == 2
    assert limit.partition("=")[0] in str(found["line"])


def test_a_year_of_logged_uploads_is_rehearsed(relay: SmallRelay) -> None:
    """An upload an hour for a year; each day one in a hundred is missing, and there is one bad day a month."""
    with relay.spool() as spool:
        first, base = int(time.time()) - 365 * 86_400, next(upload_log.read_entries(spool.folder))
        assert base.inputs
        lines = []
        for hour in range(365 * 24):
            gone = 12 if hour % 720 == 719 else 1 if hour % 24 == 0 else 0
            counts = base.inputs.domains["acme.example"]._replace(reference=100, gone=gone, offered=100 - gone)
            inputs = base.inputs._replace(domains={"acme.example": counts}, leaving=gone)
            entry = base._replace(entry=f"{hour:012x}", when=first + hour * 3_600, inputs=inputs, last=0, times=1)
            lines.append(json.dumps(upload_log.encode_entry(entry)).encode() + b"\n")
        (relay.folder / upload_log.NAME).write_bytes(b"".join(lines))
    assert [rehearsed(relay, f"shrink_percent={limit}")[1]["holds"] for limit in (20, 10, 0.5)] == [0, 12, 12]
    _, found = rehearsed(relay, "shrink_percent=0.5", "shrink_floor=0")
    assert (found["judged"], found["holds"]) == (365 * 24, 365 + 12)
    assert found["lines"][-1] == "and 357 older ones, which --json names"  # type: ignore[index]


@pytest.mark.parametrize("name", ["x" * 315, "漢" * 300])
def test_a_long_address_that_left_is_remembered(tmp_path: Path, name: str) -> None:
    relay, long = SmallRelay(tmp_path), f"{name}@acme.example"
    relay.offer([*EVERYBODY, long])
    relay.accept("first", 101)
    relay.offer(EVERYBODY)
    assert long not in relay.in_force()
    assert mend(relay, removal(relay)).added == 1
    assert long in relay.in_force()
