"""Which lists accept takes: the held one, if a review showed all that it does, and no later mail went unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.exit_codes import DONE, REFUSED
from common.next_hop_probe import Answers, Reply
from receiver.actions.accept import AcceptOrder, Witness, accept_held
from receiver.lists import judged_mail
from receiver.lists.review_record import BadRecord, ListEffect, MailSeen, Numbers, decode_record
from receiver.monitoring.log_findings import SeenMail
from receiver.monitoring.next_hop import NextHop
from receiver.outcome import Failed, Refused
from tests.support import next_hop_server
from tests.support.mail_server import mail_server
from tests.support.small_relay import SmallRelay, people

SALES = "sales@acme.example"
LATE = "late@acme.example"
NO, YES, LATER = Reply(550, "no such user"), Reply(250, "ok"), Reply(450, "later")


def mail(*names: str, days: int = 1) -> SeenMail:
    return SeenMail(dict.fromkeys(names, MailSeen("2026-11-28", days)))


@pytest.fixture
def first(tmp_path: Path) -> SmallRelay:
    """A relay that holds a first list, of 40."""
    relay = SmallRelay(tmp_path)
    relay.offer(people(40))
    return relay


@pytest.fixture
def settled(first: SmallRelay) -> SmallRelay:
    """The same once that list is accepted."""
    first.accept("first", 40)
    return first


# ---- all the numbers


def test_an_accept_that_takes_no_effect_has_judged_nobody(first: SmallRelay) -> None:
    """Whoever a person has judged raises no alarm when he is refused."""

    def fail(_: object) -> None:
        raise Failed("the store does not answer")

    name = first.review(mail(SALES)).held.list
    order = AcceptOrder(Numbers(first=40, although_mail=1), name, "olga", log_incomplete=True)
    with first.spool() as spool:
        spool.commit = fail
        with pytest.raises(Failed):
            accept_held(spool, order, Witness(mail(SALES), lambda *_: {}), first.tables)
        assert judged_mail.read_judged(spool.folder, 0) == {}
        spool.commit = None
        accept_held(spool, order, Witness(mail(SALES), lambda *_: {}), first.tables)
        assert judged_mail.read_judged(spool.folder, 0).keys() == {SALES}


def test_a_first_list_wants_the_number_of_those_who_had_mail_and_are_not_on_it(first: SmallRelay) -> None:
    name = first.review(mail(SALES, people(1)[0], "postmaster@acme.example", "x@elsewhere.example")).held.list
    with pytest.raises(Refused, match=r"accept acme --first 40 --although-mail 1 --log-incomplete --list"):
        first.accept_reviewed(name, Numbers(first=40))
    assert first.accept_reviewed(name, Numbers(first=40, although_mail=1)).code == DONE


def test_one_number_does_not_accept_two_things(first: SmallRelay) -> None:
    first.offer(people(60)[20:])
    name = first.review().held.list
    with pytest.raises(Refused, match="--first 40 --removing 20"):
        first.accept_reviewed(name, Numbers(first=40))
    assert first.accept_reviewed(name, Numbers(first=40, removing=20)).removed == 20


def test_mail_that_was_not_seen_wants_a_word_of_its_own(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review(SeenMail(unseen=("the mail log has gaps",))).held.list
    done = settled.admin("accept", "acme", "--removing", "20", "--list", name)
    assert done.returncode == 2
    assert b"there may have been more mail: the mail log has gaps; only this relay was asked" in done.stdout
    assert settled.admin("accept", "acme", "--removing", "20", "--log-incomplete", "--list", name).returncode == 0


def test_a_dry_run_of_accept_checks_all_and_changes_nothing(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    with pytest.raises(Refused, match="is not what is held"):
        settled.accept_reviewed(name, Numbers(removing=19), look=True)
    with pytest.raises(Refused, match="no number was named of what is held"):
        settled.accept_reviewed(name, Numbers(), look=True)
    outcome = settled.accept_reviewed(name, Numbers(removing=20), look=True)
    assert (outcome.did, outcome.removed, outcome.going) == ("looked", 20, tuple(people(40)[20:]))
    assert settled.in_force() == set(people(40))


def test_a_dry_run_of_accept_names_the_domains_that_would_close(first: SmallRelay) -> None:
    outcome = first.accept_reviewed(first.review().held.list, Numbers(first=40), look=True)
    assert outcome.notes == ("closes acme.example",)
    assert first.accepted() == {}


# ---- exports that come between review and accept


def test_an_export_that_only_adds_is_no_reason_to_look_again(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    settled.offer([*people(20), LATE])
    settled.accept_reviewed(name, Numbers(removing=20))
    assert settled.in_force() == {*people(20), LATE}


def test_an_export_that_removes_fewer_is_no_reason_to_look_again(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    settled.offer(people(25))
    settled.accept_reviewed(name, Numbers(removing=20))
    assert settled.in_force() == set(people(25))


def test_an_export_that_closes_another_domain_wants_another_look(settled: SmallRelay) -> None:
    settled.provision(domains=("acme.example", "acme.co.example"))
    settled.offer(people(20))
    name = settled.review().held.list
    settled.offer([*people(20), "one@acme.co.example"])
    with pytest.raises(Refused, match=r"acme.co.example would be closed by the list held now"):
        settled.accept_reviewed(name, Numbers(removing=20))


def test_a_list_that_passes_ends_the_review(settled: SmallRelay) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    settled.offer(people(40))
    settled.offer(people(20))
    with pytest.raises(Refused, match="has not been reviewed here"):
        settled.accept_reviewed(name, Numbers(removing=20))


# ---- mail since the review


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        (Answers({LATE: YES}, NO), True),
        (Answers({LATE: LATER}, NO), True),
        (Answers({LATE: LATER}, LATER), True),
        (Answers(problem="203.0.113.25:25: timed out"), True),
        (Answers({LATE: NO}, NO), False),
        (Answers({LATE: YES}, YES), False),
    ],
    ids=["takes it", "4xx for it", "4xx for everybody", "not reached", "refuses it", "takes everybody"],
)
def test_mail_since_the_review_counts_unless_the_server_refuses_it_or_takes_everybody(
    first: SmallRelay, answers: Answers, refused: bool
) -> None:
    name = first.review(mail(SALES)).held.list
    now, numbers = mail(SALES, LATE), Numbers(first=40, although_mail=1)
    if refused:
        with pytest.raises(Refused, match=f"{LATE} had mail since the review, and would be refused; look again"):
            first.accept_reviewed(name, numbers, now, answers)
        assert first.accepted() == {}
        return
    outcome = first.accept_reviewed(name, numbers, now, answers)
    assert outcome.code == DONE
    assert bool(outcome.notes) == (answers.random == YES)


def test_a_server_that_takes_everybody_in_one_domain_proves_nothing_of_another(tmp_path: Path) -> None:
    relay, there = SmallRelay(tmp_path, domains=("acme.example", "acme.co.example")), "late@acme.co.example"
    relay.offer([*people(40), *people(40, "acme.co.example")])
    name = relay.review().held.list
    with next_hop_server.mail_server([there]) as server:
        server.open_domain = "acme.example"
        order = AcceptOrder(Numbers(first=80), name, "olga", log_incomplete=True)
        with relay.spool() as spool, pytest.raises(Refused, match=rf"^{there} had mail since the review"):
            accept_held(spool, order, Witness(mail(LATE, there), NextHop(server.route, {}).ask), relay.tables)


def test_a_server_that_refuses_who_is_listed_as_well_has_said_nothing_of_who_had_mail(first: SmallRelay) -> None:
    name = first.review().held.list
    order = AcceptOrder(Numbers(first=40), name, "olga", log_incomplete=True)
    late, server = f"^{LATE} had mail since the review", mail_server(b"550 5.7.68 we do not know you\r\n")
    with server as route, first.spool() as spool, pytest.raises(Refused, match=late):
        accept_held(spool, order, Witness(mail(LATE), NextHop(route, {}).ask), first.tables)


def test_a_review_says_in_which_domain_the_server_takes_everybody() -> None:
    with next_hop_server.mail_server([]) as server:
        server.open_domain = "acme.co.example"
        said = NextHop(server.route, {}).describe([LATE, SALES, "late@acme.co.example"], [])
    assert said.startswith("acme.co.example: the customer's server takes everybody")
    assert "acme.example:" not in said


def test_more_than_can_be_asked_of_a_server_count_as_taken(first: SmallRelay) -> None:
    name = first.review().held.list
    late = [f"late{number}@acme.example" for number in range(60)]
    answers = Answers(dict.fromkeys(late[:50], NO), NO)
    with pytest.raises(Refused, match=r"late50@acme.example, .* had mail since the review"):
        first.accept_reviewed(name, Numbers(first=40), mail(*late), answers)


def test_mail_for_somebody_who_came_onto_the_list_since_is_no_hindrance(first: SmallRelay) -> None:
    name = first.review().held.list
    first.offer([*people(40), LATE])
    assert first.accept_reviewed(name, Numbers(first=40), mail(LATE)).code == DONE
    assert LATE in first.in_force()


def test_a_tagged_address_is_on_the_list_where_plus_addresses_are_taken() -> None:
    effect = ListEffect(closing=frozenset(["acme.example"]), listed=frozenset(["joe@acme.example"]))
    assert effect.refuses("joe+tag@acme.example")
    assert not effect._replace(takes_plus=True).refuses("joe+tag@acme.example")
    assert effect._replace(takes_plus=True).refuses("+joe@acme.example")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"250 ok\r\n", "takes everybody: that it took mail for an address proves nothing"),
        (b"450 later\r\n", "does not say whom it takes now: 450 later"),
        (b"", "could not be asked: 127.0.0.1"),
        (b"550 no\r\n", ""),
    ],
    ids=["yes", "4xx", "hangs up", "no"],
)
def test_a_review_says_what_the_customer_s_server_makes_of_a_random_name(reply: bytes, says: str) -> None:
    with mail_server(reply) as route:
        said = NextHop(route, {}).describe([LATE], [])
    assert says in said
    assert bool(said) == bool(says)


def test_mail_that_another_relay_has_seen_since_the_review_counts(first: SmallRelay) -> None:
    name = first.review().held.list
    words = ("accept", "acme", "--first", "40", "--log-incomplete", "--list", name, "--mail")
    done = first.admin(*words, stdin=json.dumps({LATE: ["2026-11-28", 1]}).encode())
    assert done.returncode == REFUSED
    assert f"{LATE} had mail since the review, and would be refused" in done.stdout.decode()
    assert first.accepted() == {}
    assert first.admin(*words, stdin=b"{}").returncode == DONE


@pytest.mark.parametrize("said", [b"", b"[]", b'{"a": 1}', b'{"a": []}', b'{"a": [1, 1]}', b'{"a": ["b", 1, 2]}'])
def test_mail_of_other_relays_that_cannot_be_read_takes_nothing(first: SmallRelay, said: bytes) -> None:
    name = first.review().held.list
    words = ("accept", "acme", "--first", "40", "--log-incomplete", "--list", name, "--mail")
    done = first.admin(*words, stdin=said)
    assert done.returncode == REFUSED
    assert "who had mail on the relays of acme cannot be read" in done.stdout.decode()
    assert first.accepted() == {}


# ---- records


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"nothing",
        b"[]",
        b'{"postern": 1}',
        b'{"postern": 9}',
        b"[" * 100_000,
        b'{"postern":1,"list":"a","total":1,"first":0,"adding":0,"relays":1,"going":[1],"closing":[],"mail":{},"unseen":[]}',
        b'{"postern":1,"list":"a","total":"1","first":0,"adding":0,"relays":1,"going":[],"closing":[],"mail":{},"unseen":[]}',
        b'{"postern":1,"list":"a","total":1,"first":0,"adding":0,"relays":1,"going":[],"closing":[],"mail":[],"unseen":[]}',
        b'{"postern":1,"list":"a","total":1,"first":0,"adding":0,"relays":1,"going":[],"closing":[],"listed":[],"mail":{"a":[]},"unseen":[]}',
    ],
)
def test_a_damaged_record_wants_another_look_and_takes_nothing(settled: SmallRelay, damage: bytes) -> None:
    settled.offer(people(20))
    name = settled.review().held.list
    (settled.folder / "held/review.json").write_bytes(damage)
    with pytest.raises(Refused, match="or the record of its review is damaged"):
        settled.accept_reviewed(name, Numbers(removing=20))
    with pytest.raises(BadRecord):
        decode_record(damage)
    done = settled.admin("record-review", "acme", stdin=damage)
    assert done.returncode == 2
    assert b"it is no record of a review" in done.stdout


def test_what_the_first_release_noted_of_a_review_counts_for_nothing(settled: SmallRelay) -> None:
    held = settled.offer(people(20))
    (settled.folder / "held/reviewed.json").write_text(json.dumps({"postern": 1, "list": held.offered}))
    with pytest.raises(Refused, match="has not been reviewed here"):
        settled.accept_reviewed(held.offered, Numbers(removing=20))


def test_a_look_at_one_relay_does_not_replace_the_review_of_all(settled: SmallRelay) -> None:
    settled.offer(people(20))
    settled.review()
    record = json.loads((settled.folder / "held/review.json").read_text())
    record.update(relays=3, unseen=[], mail={people(40)[30]: ["2026-11-28", 2]})
    assert settled.admin("record-review", "acme", stdin=json.dumps(record).encode()).returncode == 0
    lines = settled.admin("review", "acme").stdout.decode().splitlines()
    assert lines[-1] == f"inv accept acme --removing 20 --although-mail 1 --list {record['list']}"
    settled.offer(people(19))
    assert b"only this relay was asked" in settled.admin("review", "acme").stdout
