"""An offered list from its bytes to the tables: what takes effect, what waits, and what is reported."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path

import pytest

from common.exit_codes import BUSY, DONE, FAILED, HELD, REFUSED
from common.settings import BadSettings
from receiver.actions import review
from receiver.actions.resume import resume_uploads
from receiver.actions.review import Review
from receiver.actions.rollback import ListChoice, roll_back
from receiver.lists import history, publishing
from receiver.lists.review_record import Numbers
from receiver.monitoring.log_findings import SeenMail
from receiver.outcome import Answer, Busy, Origin, Outcome, Refused
from receiver.system import locks
from receiver.upload.pipeline import process_export, recover
from receiver.views.review import review_lines
from tests.support.small_relay import SmallRelay, age, export, people

NEW = "new@acme.example"
OPERATOR = Origin(1_790_000_000, client="192.0.2.1", by="olga")


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    return SmallRelay(tmp_path)


@pytest.fixture
def settled(relay: SmallRelay) -> SmallRelay:
    """A relay whose first list, of 40, has been accepted."""
    relay.offer(people(40))
    accept(relay, "first", 40)
    return relay


def accept(relay: SmallRelay, option: str, size: int, expected: str = "", removing: int = 0) -> Outcome:
    """Accept what is held; with a hash, without reviewing it first."""
    if not expected:
        return relay.accept(option, size, removing)
    return relay.accept_reviewed(expected, Numbers()._replace(**{option: size}))


def rollback(relay: SmallRelay, name: str = "", back: int | None = None) -> Outcome:
    return relay.roll_back(ListChoice(name, back), OPERATOR)


def resume(relay: SmallRelay) -> Outcome:
    with relay.spool() as spool:
        return resume_uploads(spool, OPERATOR, relay.tables)


def reviewed(relay: SmallRelay) -> Review:
    with relay.spool() as spool:
        return review.review_held(spool, relay.settings, int(time.time()))


def numbers(relay: SmallRelay) -> Numbers:
    """Return the numbers that accept needs."""
    return reviewed(relay).record(SeenMail()).numbers


def held(relay: SmallRelay) -> bool:
    with relay.spool() as spool:
        return spool.read_held() is not None


# ---- what comes into force


def test_a_first_list_is_held_and_in_the_tables_beside_the_open_domain(relay: SmallRelay) -> None:
    outcome = relay.offer(people(40))
    assert (outcome.did, outcome.code, outcome.added) == ("held", HELD, 40)
    assert outcome.line == "acme: first list of acme.example (40): held; 40 added"
    assert relay.in_tables() == set(people(40))
    assert relay.accepted() == {}


def test_accepting_the_first_list_closes_its_domain(relay: SmallRelay) -> None:
    uploaded = int(time.time()) - 1000
    relay.offer(people(40), when=uploaded)
    outcome = accept(relay, "first", 40)
    assert outcome.code == DONE
    assert relay.accepted() == {"acme.example": uploaded}, "from the time of the upload, not of the accept"
    assert relay.builds() == 2, "the build closes the domain"


def test_a_second_first_list_adds_and_accepting_leaves_exactly_the_last_one(relay: SmallRelay) -> None:
    relay.offer(people(40))
    relay.offer([*people(30), NEW])
    assert relay.in_force() == {*people(40), NEW}
    accept(relay, "first", 31, removing=10)
    assert relay.in_force() == relay.in_tables() == {*people(30), NEW}


def test_a_changed_list_is_published_and_told_in_one_line(settled: SmallRelay) -> None:
    outcome = settled.offer([*people(40)[1:], NEW, "a@elsewhere.example", "b@elsewhere.example"])
    assert outcome.line == "acme: 40 recipients (+1 -1); left out 2: 2 other domain"
    assert settled.in_tables() == {*people(40)[1:], NEW}


def test_an_unchanged_list_builds_nothing_and_is_recorded_as_good(settled: SmallRelay) -> None:
    builds, now = settled.builds(), int(time.time()) + 60
    outcome = settled.offer(people(40), when=now)
    assert outcome.line == "acme: 40 recipients, unchanged"
    assert settled.builds() == builds
    assert settled.accepted() == {"acme.example": now}
    with settled.spool() as spool:
        assert spool.read_last_run() == outcome


def test_what_a_held_list_adds_is_published_and_the_rest_waits(settled: SmallRelay) -> None:
    outcome = settled.offer([*people(20), NEW])
    assert outcome.line == "acme: 50.0 % would go (20 of 40), limit 10 %: held; 1 added"
    assert (outcome.code, outcome.kept_back) == (HELD, 20)
    assert settled.in_tables() == {*people(40), NEW}


def test_a_held_list_does_not_count_as_a_good_upload(settled: SmallRelay) -> None:
    before = settled.accepted()
    settled.offer(people(20), when=time.time() + 60)
    assert settled.accepted() == before


def test_the_next_list_that_passes_clears_the_held_one(settled: SmallRelay) -> None:
    settled.offer(people(20))
    assert settled.offer([*people(40), NEW]).did == "published"
    assert not held(settled)


def test_another_held_list_replaces_the_first_and_is_held_since_then(settled: SmallRelay) -> None:
    settled.offer(people(20), when=1_790_000_000)
    settled.offer(people(10), when=1_790_003_600)
    assert reviewed(settled).held.since == 1_790_000_000
    assert len(reviewed(settled).effect.going) == 30


def test_the_list_accepted_last_is_not_held_again_whatever_the_guard_says(settled: SmallRelay) -> None:
    settled.provision(canaries=("ceo@acme.example",))
    assert settled.offer([*people(40), NEW]).reasons == ("canary ceo@acme.example is missing",)
    accept(settled, "removing", 0)
    assert settled.offer([*people(40), NEW]).did == "unchanged"
    assert settled.offer(people(40)).did == "held", "any other list is judged as before"


def test_the_list_accepted_last_is_held_where_people_that_came_since_would_go(settled: SmallRelay) -> None:
    settled.offer([*people(20), *(f"new{number}@acme.example" for number in range(10))])
    again = settled.offer(people(40))
    assert (again.did, again.removed) == ("held", 0)
    assert again.reasons == ("20.0 % would go (10 of 50), limit 10 %",)
    assert settled.in_force() > set(people(40))


def test_growth_is_held_and_accepted_by_what_it_adds(settled: SmallRelay) -> None:
    outcome = settled.offer(people(400))
    assert (outcome.code, outcome.added) == (HELD, 0)
    assert numbers(settled) == Numbers(adding=360)
    accept(settled, "adding", 360)
    assert settled.in_tables() == set(people(400))


def test_a_new_domain_of_an_old_customer_is_held_as_a_first_list(settled: SmallRelay) -> None:
    settled.provision(domains=("acme.example", "acme.co.example"))
    settled.offer([*people(40), *people(3, "acme.co.example")])
    assert numbers(settled) == Numbers(first=3)
    accept(settled, "first", 3)
    assert settled.accepted().keys() == {"acme.example", "acme.co.example"}


def test_a_domain_that_left_is_forgotten_and_open_if_it_comes_back(settled: SmallRelay) -> None:
    settled.provision(domains=("acme.example", "acme.co.example"))
    settled.offer([*people(40), *people(9, "acme.co.example")])
    accept(settled, "first", 9)
    settled.provision(domains=("acme.example",))
    assert settled.offer(people(40)).did == "published"
    assert settled.accepted().keys() == {"acme.example"}
    settled.provision(domains=("acme.example", "acme.co.example"))
    assert settled.offer([*people(40), *people(9, "acme.co.example")]).did == "held"


def test_a_changed_exclusion_takes_effect_with_the_next_list_under_the_guard(settled: SmallRelay) -> None:
    settled.provision(exclude=("user0000*",))
    outcome = settled.offer(people(40))
    assert outcome.reasons == ("25.0 % would go (10 of 40), limit 10 %",)
    assert outcome.left_out == {"excluded": 10}


def test_a_customer_who_was_provisioned_while_we_read_is_chosen_for_again(settled: SmallRelay) -> None:
    before = settled.settings
    settled.provision(exclude=("user00001",))
    with settled.spool() as spool:
        outcome = process_export(before, export(people(40)), spool, Origin(1), settled.tables)
    assert outcome.left_out == {"excluded": 1}
    assert settled.in_force() == set(people(40)) - {"user00001@acme.example"}


def test_a_customer_who_was_retired_while_we_read_gets_nothing_published(settled: SmallRelay) -> None:
    settings, builds = settled.settings, settled.builds()
    with settled.spool() as spool:
        (Path(settled.places.tree("acme")) / "settings.json").unlink()
        with pytest.raises(BadSettings):
            process_export(settings, export(people(39)), spool, Origin(1), settled.tables)
    assert settled.builds() == builds
    assert settled.in_force() == set(people(40))


def test_while_the_relay_is_provisioned_an_upload_waits_and_then_is_told_to_come_again(
    settled: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SETTINGS", 0.05)
    directory = os.open(settled.etc, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with pytest.raises(Busy, match="being provisioned"):
        settled.offer(people(39))
    os.close(directory)
    assert settled.offer(people(39)).code == DONE
    assert Busy.code == BUSY


# ---- exports that cannot be read


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"Obj-Class,First Name\r\nMailbox,Olga\r\n", "line 1"),
        (export([]), ""),
        (export(people(3)).replace(b"00001", b"00\x001"), "line 3"),
        (export(people(3))[:-3], ""),
    ],
)
def test_an_export_that_cannot_be_read_is_refused_with_its_line_and_changes_nothing(
    settled: SmallRelay, bad: bytes, why: str
) -> None:
    with settled.spool() as spool:
        outcome = process_export(settled.settings, bad, spool, Origin(1), settled.tables)
        assert spool.read_last_run() == outcome
    assert (outcome.did, outcome.code) == ("refused", REFUSED)
    assert why in outcome.line
    assert settled.in_force() == set(people(40))


def test_an_export_without_an_address_of_ours_goes_to_the_guard(settled: SmallRelay) -> None:
    assert settled.offer(["x@elsewhere.example"]).reasons == (
        "100.0 % would go (40 of 40), limit 10 %",
        "acme.example would be left with none of its 40",
    )
    assert settled.in_force() == set(people(40))


# ---- who was left out


def test_whom_a_list_leaves_out_by_nobody_s_wish_is_named_wherever_it_is_told(relay: SmallRelay) -> None:
    value = "SMTP:An<Na@ACME.example"
    told = ({"value": value, "reason": "not an address"},)
    first = export(["bob@acme.example", value.removeprefix("SMTP:")])
    with relay.spool() as spool:
        outcome = process_export(relay.settings, first, spool, OPERATOR, relay.tables)
        again = spool.read_last_run()
        look = process_export(relay.settings, first, spool, OPERATOR, relay.tables, look=True)
        found = review.review_held(spool, relay.settings, int(time.time()))
        held_record = {**found.as_json("acme", None, found.record(SeenMail())), "next_hop": ""}
    assert outcome == again
    assert [each._asdict() for each in outcome.named] == [*told]
    assert Answer.to(outcome).lines[1] == Answer.to(look).lines[1] == f"  left out: {value} (not an address)"
    assert f"  left out: {value} (not an address)" in review_lines(held_record)
    assert held_record["named"] == Answer.to(look).record["named"] == [*told]
    assert accept(relay, "first", 1).named == outcome.named


# ---- a dry run


def test_a_look_tells_who_would_come_and_go_and_writes_nothing(settled: SmallRelay) -> None:
    before = {path: path.read_bytes() for path in settled.folder.rglob("*") if path.is_file()}
    outcome = settled.offer([*people(39), NEW], look=True)
    assert (outcome.coming, outcome.going, outcome.code) == ((NEW,), ("user00039@acme.example",), DONE)
    assert outcome.line == "acme: only looked: 40 recipients (+1 -1); would be published"
    outcome = settled.offer(people(20), look=True)
    assert (outcome.code, outcome.removed) == (HELD, 20)
    assert outcome.line.endswith("50.0 % would go (20 of 40), limit 10 %: would be held")
    assert {path: path.read_bytes() for path in settled.folder.rglob("*") if path.is_file()} == before


# ---- rule 5


def test_after_rule_five_a_domain_closes_again_by_a_review_alone(settled: SmallRelay) -> None:
    """Whoever came meanwhile had mail, and may be on no list."""
    age(settled, 31)
    for some in (people(40), [*people(40), NEW], people(40)):
        assert settled.offer(some).reasons[0].startswith("first list of acme.example")
        assert settled.accepted() == {}
    accept(settled, "first", 40, removing=1)
    assert settled.accepted().keys() == {"acme.example"}
    assert settled.offer(people(40)).did == "unchanged"


def test_a_domain_that_is_open_for_a_date_to_come_closes_again_by_a_review_alone(settled: SmallRelay) -> None:
    age(settled, -60)
    outcome = settled.offer([*people(40), "new@acme.example"])
    assert (outcome.did, outcome.reasons) == ("held", ("first list of acme.example (41)",))
    settled.accept("first", 41)
    assert settled.accepted().keys() == {"acme.example"}


def test_after_rule_five_a_longer_time_does_not_close_what_an_upload_has_found_open(settled: SmallRelay) -> None:
    age(settled, 31)
    settled.offer(people(40))
    settled.provision(open_after_days=60)
    assert settled.accepted() == {}


# ---- what is accepted, and by which number


def test_accept_makes_the_list_in_force_exactly_the_held_one(settled: SmallRelay) -> None:
    settled.offer([*people(20), NEW])
    outcome = accept(settled, "removing", 20)
    assert outcome.line == "acme: 21 recipients (+0 -20)"
    assert settled.in_force() == settled.in_tables() == {*people(20), NEW}
    assert not held(settled)


@pytest.mark.parametrize(("option", "size"), [("removing", 19), ("removing", 21), ("adding", 20), ("first", 20)])
def test_accept_refuses_a_wrong_number_and_names_the_right_command(settled: SmallRelay, option: str, size: int) -> None:
    settled.offer(people(20))
    with pytest.raises(Refused, match="accept acme --removing 20"):
        accept(settled, option, size)
    assert settled.in_force() == set(people(40))


def test_accept_refuses_another_list_than_the_one_that_was_reviewed(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    with pytest.raises(Refused, match="changed since it was reviewed"):
        accept(settled, "removing", 20, "0" * 64)
    with pytest.raises(Refused, match="changed since it was reviewed"):
        accept(settled, "removing", 20, name[:63])
    assert accept(settled, "removing", 20, name).code == DONE


def test_accept_refuses_to_close_a_domain_with_no_address(settled: SmallRelay) -> None:
    settled.offer(["x@elsewhere.example"])
    with pytest.raises(Refused, match="closed with no address"):
        accept(settled, "removing", 40)
    settled.provision(include=("helpdesk@acme.example",))
    assert accept(settled, "removing", 40).code == DONE, "one of `include` is an address"
    assert settled.accepted() == {}, "the list has nobody there, so the domain is open"


def test_accept_refuses_when_nothing_is_held_or_uploads_are_pinned(settled: SmallRelay) -> None:
    with pytest.raises(Refused, match="nothing is held"):
        accept(settled, "removing", 0)
    settled.offer(people(20))
    rollback(settled, back=0)
    with pytest.raises(Refused, match="frozen since"):
        accept(settled, "removing", 20)


# ---- frozen


def test_a_rollback_brings_the_list_before_back_and_pins_it(settled: SmallRelay) -> None:
    settled.offer([*people(40), NEW])
    outcome = rollback(settled)
    assert (outcome.did, outcome.code, outcome.removed) == ("pinned", DONE, 1)
    assert settled.in_tables() == set(people(40))


def test_while_pinned_an_upload_is_judged_and_kept_and_changes_nothing(settled: SmallRelay) -> None:
    rollback(settled, back=0)
    outcome = settled.offer([*people(40), NEW])
    assert (outcome.did, outcome.code) == ("pinned", DONE)
    assert "frozen since 2026-09-21" in outcome.line
    assert "it passes" in outcome.line
    assert "50.0 % would go (20 of 40)" in settled.offer(people(20)).line
    assert settled.in_force() == set(people(40))


def test_a_look_at_a_frozen_list_says_that_an_export_would_wait(settled: SmallRelay) -> None:
    rollback(settled, back=0)
    outcome = settled.offer([*people(40), NEW], look=True)
    assert (outcome.did, outcome.code, outcome.coming) == ("looked", DONE, (NEW,))
    fate = re.escape("(+1 -0); frozen since 2026-09-21 ") + r"[0-9:]+ UTC: would wait for resume \(it passes\)"
    assert re.search(f"{fate}$", outcome.line)
    outcome = settled.offer(people(20), look=True)
    assert outcome.code == DONE, "as an upload's would be"
    assert outcome.line.endswith("would wait for resume (50.0 % would go (20 of 40), limit 10 %)")


def test_an_upload_judged_while_pinned_keeps_the_domain_from_opening_for_its_age(settled: SmallRelay) -> None:
    rollback(settled, back=0)
    age(settled, 20)
    now = int(time.time())
    settled.offer(people(20), when=now)
    assert settled.accepted() == {"acme.example": now}
    assert settled.in_force() == set(people(40))
    age(settled, 31)
    opened = settled.accepted()
    settled.offer(people(40), when=now)
    assert settled.accepted() == opened, "what has opened closes by a review alone"


def test_a_rollback_wants_the_number_of_those_who_go_and_names_them(settled: SmallRelay) -> None:
    settled.offer([*people(40), NEW])
    with settled.spool() as spool, pytest.raises(Refused, match=f"1 of those in force .* {NEW}; .* --removing 1"):
        roll_back(spool, ListChoice(), 0, OPERATOR, settled.tables)
    assert settled.in_force() == {*people(40), NEW}


def test_resume_offers_the_list_that_waits_to_the_guard_at_once(settled: SmallRelay) -> None:
    rollback(settled, back=0)
    settled.offer(people(20))
    assert resume(settled).code == HELD
    rollback(settled, back=0)
    settled.offer([*people(40), NEW])
    assert (resume(settled).did, settled.in_tables()) == ("published", {*people(40), NEW})
    assert not held(settled)


def test_resume_without_a_list_that_waits_lifts_the_pin(settled: SmallRelay) -> None:
    rollback(settled, back=0)
    assert resume(settled).did == "resumed"
    with pytest.raises(Refused, match="not frozen"):
        resume(settled)


def test_a_rollback_names_its_list_by_number_or_hash_and_refuses_what_is_not_kept(settled: SmallRelay) -> None:
    settled.offer([*people(40), NEW])
    settled.offer([*people(41), NEW])
    with settled.spool() as spool:
        names = [entry.kept.list for entry in history.read_entries(spool.folder)]
    with pytest.raises(Refused, match="history goes 2 back, not 3"):
        rollback(settled, back=3)
    with pytest.raises(Refused, match="no kept list is named"):
        rollback(settled, name="00000000")
    assert rollback(settled, back=2).total == 40
    assert rollback(settled, name=names[1][:12]).total == 41


def test_a_second_rollback_must_name_its_list_since_the_first_may_have_been_repeated(settled: SmallRelay) -> None:
    settled.offer([*people(40), NEW])
    rollback(settled)
    with pytest.raises(Refused, match="frozen already"):
        rollback(settled)
    assert settled.in_force() == set(people(40))


def test_a_rollback_opens_the_domains_that_had_no_accepted_list_then(settled: SmallRelay) -> None:
    """If they were closed, only the old list's addresses in them would be accepted, and it may have none."""
    settled.provision(domains=("acme.example", "acme.co.example"))
    settled.offer([*people(40), "one@acme.co.example"])
    settled.offer([*people(40), *people(9, "acme.co.example")])
    accept(settled, "first", 9, removing=1)
    assert rollback(settled, back=1).total == 50
    assert settled.accepted().keys() == {"acme.example"}
    settled.offer([*people(40), *people(9, "acme.co.example")])
    assert resume(settled).reasons == ("first list of acme.co.example (9)",)


# ---- the tables


def test_a_customer_left_out_of_the_tables_is_told_so_and_the_next_run_finishes(settled: SmallRelay) -> None:
    (settled.etc / "left-out").write_text("bolt: line 3\nacme: its list is damaged\n")
    outcome = settled.offer([*people(40), NEW])
    assert outcome.code == FAILED
    assert outcome.line.endswith("NOT IN THE TABLES YET: left out of the tables: its list is damaged")
    assert NEW in settled.in_force(), "the list is kept"
    (settled.etc / "left-out").unlink()
    builds = settled.builds()
    assert settled.offer([*people(40), NEW]).code == DONE
    assert settled.builds() == builds + 1
    settled.offer([*people(40), NEW])
    assert settled.builds() == builds + 1


def test_a_build_that_fails_is_told_with_its_last_line(settled: SmallRelay) -> None:
    settled.program("rebuild", "#!/bin/sh\necho postmap: fatal >&2\necho 'no table could be built' >&2\nexit 4\n")
    outcome = settled.offer([*people(40), NEW])
    assert outcome.trouble == "rebuild-relay-recips ended 4: no table could be built"


def test_a_list_is_looked_up_once_it_is_built(settled: SmallRelay) -> None:
    settled.program("rebuild", "#!/bin/sh\nexit 0\n")
    assert settled.offer([*people(40), NEW]).trouble == f"{NEW} cannot be found in them"


def test_a_table_that_cannot_be_read_is_not_taken_for_one_that_lacks_the_list(settled: SmallRelay) -> None:
    works = (settled.etc / "rebuild").read_text()
    settled.program("rebuild", f"{works}rm {settled.etc}/tables/exchange_recipients\n".replace("exec cat", "cat"))
    trouble = settled.offer([*people(40), NEW]).trouble
    assert "--look-up ended 1: postmap: fatal: open database" in trouble
    assert "No such file or directory" in trouble


def test_a_table_that_only_root_may_read_is_looked_up_by_root(settled: SmallRelay) -> None:
    closed = "#!/bin/sh\necho 'postmap: fatal: open /etc/postfix/main.cf: Permission denied' >&2; exit 1\n"
    tables = settled.tables._replace(postmap=str(settled.program("closed", closed)))
    assert settled.offer([*people(40), NEW]).trouble == ""
    assert tables.find_missing([NEW, "nobody@acme.example"]) == ["nobody@acme.example"]


def test_a_relay_without_the_program_says_which(settled: SmallRelay) -> None:
    tables = settled.tables._replace(rebuild=("/nowhere/sudo",))
    with settled.spool() as spool:
        outcome = process_export(settled.settings, export([*people(40), NEW]), spool, Origin(1), tables)
    assert outcome.trouble == "/nowhere/sudo: No such file or directory"


def test_a_run_that_was_overtaken_leaves_the_answer_to_the_later_one(settled: SmallRelay) -> None:
    """Its own list is no longer in the tables, which is no failure."""
    late = [*people(40), "late@acme.example"]
    rebuild = f"#!/bin/sh\ncp {settled.etc.parent}/begun.json {settled.folder}/unproven.json\n"
    settled.program("rebuild", rebuild)
    with settled.spool() as spool:
        publishing.begin_publication(spool, publishing.Publication(1, "later", spool.read_accepted()))
    (settled.folder / "unproven.json").rename(settled.etc.parent / "begun.json")
    outcome = settled.offer(late)
    assert (outcome.code, outcome.trouble) == (DONE, "")
    assert json.loads((settled.folder / "unproven.json").read_text())["list"] == "later"


def test_the_timer_finishes_what_failed_and_the_last_run_says_so(settled: SmallRelay) -> None:
    (settled.etc / "left-out").write_text("acme: its list is damaged\n")
    settled.offer([*people(40), NEW])
    (settled.etc / "left-out").unlink()
    with settled.spool() as spool:
        recover(spool, settled.tables)
        last = spool.read_last_run()
        assert last is not None
        assert (last.trouble, last.total) == ("", 41)
        assert publishing.read_unfinished(spool) is None


MANY = tuple(f"{'long-domain' * 3}-{number}.example" for number in range(8_000))


@pytest.mark.slow
def test_a_customer_of_very_many_domains_is_published_whole(tmp_path: Path) -> None:
    """What names each domain three times takes more than a megabyte of begun.json."""
    relay = SmallRelay(tmp_path, domains=MANY)
    everybody = [f"ann@{domain}" for domain in MANY]
    relay.offer(everybody)
    relay.accept("first", len(everybody))
    outcome = relay.offer([*everybody, f"new@{MANY[0]}"])
    assert (outcome.did, outcome.added, outcome.trouble) == ("published", 1, "")
    assert f"new@{MANY[0]}" in relay.in_force()
