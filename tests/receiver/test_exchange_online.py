"""Lists of Exchange Online as a relay reads them: which domains they may close, and whose they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from receiver.actions import copy_list
from receiver.actions.rollback import ListChoice
from receiver.lists.spool import LastExport
from receiver.outcome import Origin
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import FilteredExport, filter_export
from tests.support.small_relay import SmallRelay

TITLE = "Exchange Online\t1\tacme.onmicrosoft.com\r\n"
OURS = "domain\tacme.example\tAuthoritative\texact\r\n"
RELAYED = "domain\tacme.example\tInternalRelay\texact\r\n"
OTHER = "domain\tbolt.example\tAuthoritative\texact\r\n"
PLUS = "plus\tyes\r\n"
COLUMNS = "Type\tFlags\tAddresses\r\n"
ANNA = "UserMailbox\t\tSMTP:anna@acme.example;SIP:anna@acme.example\r\n"
BOB = "MailUniversalDistributionGroup\tinternal,hidden\tSMTP:bob@bolt.example\r\n"


def settings(**changes: Any) -> Settings:
    return Settings("acme", "exchange-online", ("acme.example",))._replace(**changes)


def read(*lines: str, **changes: Any) -> FilteredExport:
    wanted = settings(**changes)
    return filter_export(formats.read("".join(lines).encode(), wanted), wanted)


def tenant(*domains: str, **changes: Any) -> FilteredExport:
    return read(TITLE, *(f"domain\t{domain}\r\n" for domain in domains), PLUS, COLUMNS, ANNA, **changes)


# ---- what is read


def test_recipients_are_read_as_the_powershell_source_writes_them() -> None:
    choice = read(
        TITLE,
        OURS,
        OTHER,
        PLUS,
        COLUMNS,
        ANNA,
        BOB,
        leave_out=("internal only",),
        domains=("acme.example", "bolt.example"),
    )
    assert choice.recipients == {"anna@acme.example"}
    assert choice.left_out == {"not internet": 1, "internal only": 1}
    assert choice.open_domains == frozenset()
    assert choice.notes == ()


@pytest.mark.parametrize(("word", "taken"), [("yes", True), ("no", False)])
def test_whether_plus_addresses_are_taken_travels_with_the_list(word: str, taken: bool) -> None:
    assert read(TITLE, OURS, f"plus\t{word}\r\n", COLUMNS, ANNA).plus_addresses is taken


@pytest.mark.parametrize(
    "lines",
    [
        ("",),
        (COLUMNS, ANNA),
        (TITLE.replace("\t1\t", "\t2\t"), OURS, PLUS, COLUMNS, ANNA),
        (TITLE, OURS),
        (TITLE, OURS, PLUS, COLUMNS),
        (TITLE, OURS, COLUMNS, ANNA),
        (TITLE, PLUS, COLUMNS, ANNA),
        (TITLE, OURS, PLUS, "plus\tno\r\n", COLUMNS, ANNA),
        (TITLE, OURS, "domain\ta b\tAuthoritative\texact\r\n", PLUS, COLUMNS, ANNA),
        (TITLE, OURS, PLUS, ANNA, COLUMNS, ANNA),
        (TITLE, OURS, PLUS, COLUMNS, ANNA, OTHER),
        (TITLE, OURS, PLUS, COLUMNS, ANNA.rstrip()),
    ],
)
def test_an_export_that_is_not_as_the_script_writes_it_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(BadExport):
        read(*lines)


def test_a_line_that_is_wrong_is_named_by_its_number_in_the_whole_export() -> None:
    with pytest.raises(BadExport, match=r"^line 6: "):
        read(TITLE, OURS, PLUS, COLUMNS, ANNA, "UserMailbox\tloud\tSMTP:a@acme.example\r\n")


# ---- whose domains they are


@pytest.mark.parametrize(
    ("domains", "opens"),
    [
        (["acme.example\tAuthoritative\texact"], False),
        (["ACME.example\tAuthoritative\tsubdomains"], False),
        (["acme.example\tInternalRelay\texact"], True),
        (["acme.example\tExternalRelay\texact"], True),
        (["acme.example\t\texact"], True),
        (["acme.example\tAuthoritative\texact", "acme.example\tInternalRelay\texact"], True),
        (["acme.example\tInternalRelay\texact", "acme.example\tAuthoritative\texact"], True),
        (["example\tInternalRelay\tsubdomains"], True),
        (["example\tAuthoritative\tsubdomains"], True),
        (["*.example\tAuthoritative\texact"], True),
        (["example\tInternalRelay\tsubdomains", "acme.example\tAuthoritative\texact"], False),
    ],
)
def test_a_domain_closes_only_where_the_tenant_answers_for_it_alone(domains: list[str], opens: bool) -> None:
    choice = tenant(*domains)
    assert choice.open_domains == ({"acme.example"} if opens else set())
    assert bool(choice.notes) == opens
    assert all("acme.example stays open" in note and "Authoritative serves" in note for note in choice.notes)


@pytest.mark.parametrize(
    "domain",
    [
        "acme.onmicrosoft.com\tAuthoritative\texact",
        "example\tInternalRelay\texact",
        "x.acme.example\tAuthoritative\tsubdomains",
    ],
)
def test_a_domain_that_the_tenant_does_not_know_is_the_wrong_tenant(domain: str) -> None:
    with pytest.raises(BadExport, match=r"acme\.example is none of the domains"):
        tenant(domain)


def test_a_partial_domain_is_open_anyhow_and_nobody_is_told() -> None:
    choice = tenant("acme.example\tInternalRelay\texact", partial=("acme.example",))
    assert (choice.open_domains, choice.notes) == (frozenset(), ())


@pytest.mark.parametrize("written", ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example"])
def test_an_internationalised_domain_is_found_in_either_form(written: str) -> None:
    ours = {"domains": ("xn--bcher-kva.example",), "unicode": {"xn--bcher-kva.example": "bücher.example"}}
    assert tenant(f"{written}\tAuthoritative\texact", **ours).open_domains == frozenset()
    assert tenant(f"{written}\tInternalRelay\texact", **ours).open_domains == {"xn--bcher-kva.example"}


# ---- what a relay does with it


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay with an accepted list of both domains."""
    made = SmallRelay(tmp_path, format="exchange-online", domains=("acme.example", "bolt.example"))
    send(made, OURS)
    made.accept("first", 2)
    return made


def send(relay: SmallRelay, *domains: str, rows: str = ANNA + BOB, plus: str = PLUS) -> str:
    return relay.take("".join((TITLE, *domains, OTHER, plus, COLUMNS, rows)).encode()).line


def test_a_domain_that_is_no_longer_authoritative_opens_and_comes_back_as_a_first(relay: SmallRelay) -> None:
    assert set(relay.accepted()) == {"acme.example", "bolt.example"}
    said = send(relay, RELAYED)
    assert "note: acme.example stays open" in said
    assert "held" not in said
    assert set(relay.accepted()) == {"bolt.example"}
    assert "first list of acme.example (1): held" in send(relay, OURS)
    assert set(relay.accepted()) == {"bolt.example"}
    relay.accept("first", 1)
    assert set(relay.accepted()) == {"acme.example", "bolt.example"}


def test_a_domain_opens_though_the_list_that_says_so_is_held(relay: SmallRelay) -> None:
    relay.provision(canaries=("bob@bolt.example",))
    assert "canary" in send(relay, RELAYED, rows=ANNA)
    assert set(relay.accepted()) == {"bolt.example"}


def test_accepting_a_held_list_closes_no_domain_that_the_list_opens(relay: SmallRelay) -> None:
    relay.provision(canaries=("bob@bolt.example",))
    carl = "UserMailbox\t\tSMTP:carl@bolt.example\r\n"
    assert "canary" in send(relay, RELAYED, rows=ANNA + carl)
    relay.accept("removing", 1)
    assert set(relay.accepted()) == {"bolt.example"}


def test_a_rollback_closes_no_domain_that_the_last_export_opens(relay: SmallRelay) -> None:
    carl = "UserMailbox\t\tSMTP:carl@bolt.example\r\n"
    send(relay, RELAYED, rows=ANNA + BOB + carl)
    relay.roll_back(ListChoice(), Origin(1_790_000_000, by="olga"))
    assert set(relay.accepted()) == {"bolt.example"}


def test_another_tenant_s_list_is_refused_and_the_list_in_force_stays(relay: SmallRelay) -> None:
    assert "refused: acme.example is none of the domains of this Exchange Online" in send(relay)
    assert relay.in_force() == {"anna@acme.example", "bob@bolt.example"}
    assert set(relay.accepted()) == {"acme.example", "bolt.example"}


def test_the_spool_remembers_the_last_export_s_word_and_hands_it_on(relay: SmallRelay, tmp_path: Path) -> None:
    send(relay, RELAYED, plus="plus\tno\r\n")
    with relay.spool() as spool:
        assert spool.read_last_export() == LastExport(("acme.example",), False)
        given = copy_list.read_exported(
            json.dumps(copy_list.export_lists(spool)).encode(), "acme", 1_790_000_000, 1 << 20
        )
    other = SmallRelay(tmp_path / "other", format="exchange-online", domains=("acme.example", "bolt.example"))
    with other.spool() as spool:
        copy_list.import_lists(spool, given, Origin(1_790_000_000), other.tables)
        assert spool.read_last_export() == LastExport(("acme.example",), False)


@pytest.mark.parametrize(("rows", "did"), [(ANNA + BOB, "unchanged"), (ANNA, "held; 0 added")])
def test_the_first_export_that_says_plus_has_the_tables_built_once(relay: SmallRelay, rows: str, did: str) -> None:
    """Whatever else comes of its list."""
    send(relay, OURS, plus="plus\tno\r\n")
    builds = relay.builds()
    assert did in send(relay, OURS, rows=rows)
    send(relay, OURS, rows=rows)
    assert relay.builds() == builds + 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"open_domains": 5, "plus_addresses": "yes"}', "\0"])
def test_a_damaged_record_of_the_last_export_says_nothing(content: str, relay: SmallRelay) -> None:
    (relay.folder / "last-export.json").write_text(content)
    with relay.spool() as spool:
        assert spool.read_last_export() == LastExport()
