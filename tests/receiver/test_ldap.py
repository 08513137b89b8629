"""LDIF as a list: whom it lists, and what is refused because part of it is lost."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from receiver.monitoring import alarms
from receiver.monitoring.status import Status
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.stream import strip_end_mark
from tests.support.small_relay import SmallRelay

SAMPLES = sorted((Path(__file__).parent.parent / "exports" / "ldap").glob("*.ldif"))
LINE_END = b"\n"
LAST = "# pagedresults: cookie=\n"
ANNA = "dn: cn=anna,dc=acme,dc=example\nobjectClass: user\nproxyAddresses: SMTP:anna@acme.example\n\n"


def settings(**changes: Any) -> Settings:
    return Settings("acme", "ldap", ("acme.example",), ldap_attributes=("proxyAddresses",))._replace(**changes)


def entry(*lines: str) -> str:
    return "".join(f"{line}\n" for line in ("dn: cn=bob,dc=acme,dc=example", *lines)) + "\n"


def read(text: str | bytes, **changes: Any) -> FilteredExport:
    wanted = settings(**changes)
    return filter_export(formats.read(text if isinstance(text, bytes) else text.encode(), wanted), wanted)


def of_sample(want: Mapping[str, Any]) -> Settings:
    keys = want["source_keys"]
    return settings(
        domains=tuple(want["domains"]),
        ldap_attributes=tuple(keys["attributes"]),
        ldap_filter_is_default="zimbraMailStatus" not in keys["filter"],
        leave_out=("internal only", "system objects", "arbitration mailboxes", "health mailboxes"),
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_of_ldapsearch_lists_exactly_who_is_named_beside_it(sample: Path) -> None:
    want = json.loads(sample.with_suffix(".want.json").read_text("utf-8"))
    wanted = of_sample(want)
    if want["refused"]:
        with pytest.raises(BadExport):
            formats.read(sample.read_bytes(), wanted)
        return
    export = sample.read_bytes()
    mark = f"#postern end rows={export.count(LINE_END)} sha256={hashlib.sha256(export).hexdigest()}\r\n".encode()
    choice = filter_export(formats.read(strip_end_mark(export + mark), wanted), wanted)
    assert set(want["lists"]) <= choice.recipients <= {*want["lists"], *want.get("either", ())}
    assert set(want["left_out"].values()) <= set(choice.left_out)
    assert choice.open_domains == set(want.get("takes_everybody", ()))
    assert all(word in " ".join(choice.notes) for word in want.get("told", ()))


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("the export is empty", ""),
        ("nobody was found", LAST),
        ("the last page does not say", ANNA),
        ("cookie is not empty", ANNA + "# pagedresults: estimate=3 cookie=AQ==\n"),
        ("cookie is not empty", ANNA + "# pagedresults: cookie=AQ==AAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n AAAAA\n"),
        ("more behind the last page", ANNA + LAST + ANNA),
        ("the last row is not whole", ANNA + LAST + "dn: cn=b"),
        ("-LLL", "version: 1\n\n" + ANNA + LAST),
        ("-LLL", "# Anna Smith, acme.example\n" + ANNA + LAST),
        ("-LLL", ANNA.replace("objectClass", "# Anna\nobjectClass") + LAST),
        ("-LLL", "proxyAddresses: smtp:injected@acme.example\n\n" + ANNA + LAST),
        ("-LLL", "# refldap://b.acme.example/DC=b\nproxyAddresses: smtp:injected@acme.example\n\n" + ANNA + LAST),
        ("-LLL", "# refldap://berlin.acme.example/DC=berlin\n" + ANNA + LAST),
        ("-LLL", ANNA + " proxyAddresses: smtp:injected@acme.example\n\n" + LAST),
        ("-LLL", "\ufeff" + ANNA + LAST),
        ("HTML", "<html>\n</html>\n"),
        ("belongs to no entry", ANNA.replace("user\n", "user\nproxyAddr\n") + LAST),
        ("another entry begins", ANNA.rstrip("\n") + "\n" + ANNA + LAST),
        ("another entry begins", ANNA.rstrip("\n") + "\nDN:: Y249\n\n" + LAST),
        ("a change and no entry", ANNA.replace("objectClass: user", "changetype: add") + LAST),
        (";range=", entry("proxyAddresses;range=0-29: smtp:a@acme.example") + LAST),
        (";range=", entry("PROXYADDRESSES;RANGE=0-29:: c210cDphQGFjbWUuZXhhbXBsZQ==") + LAST),
        (";range=", entry("proxyAddresses;binary;Range=0-*: smtp:a@acme.example") + LAST),
        ("lies in another file", entry("proxyAddresses:< file:///tmp/ldapsearch-proxyAddresses-1") + LAST),
        ("not the base64", entry("proxyAddresses:: c210cDphQGFj!") + LAST),
        ("not the base64", entry("proxyAddresses:: c210cDphQGF") + LAST),
        ("none of proxyAddresses", ANNA + entry("objectClass: user") + LAST),
        ("none of 1 entries has an address", entry("proxyAddresses:") + LAST),
        ("more than 10000 references", "# refldap://b.example/dc=b\n\n" * 10_001 + ANNA + LAST),
        ("more than 8 MB", "dn: cn=a\n" + "proxyAddresses: smtp:a@acme.example\n" * 300_000 + "\n" + LAST),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_or_not_ldapsearch_s_is_refused(why: str, text: str) -> None:
    with pytest.raises(BadExport, match=why):
        read(text)


def test_a_fault_names_the_line_in_which_its_entry_begins() -> None:
    with pytest.raises(BadExport, match=r"^line 7: in the entry that begins here"):
        read(ANNA + "\n\n" + entry("proxyAddresses;range=0-1: smtp:a@acme.example") + LAST)


def test_a_server_without_paging_ends_without_a_word_about_pages() -> None:
    assert read(ANNA, ldap_paged=False).recipients == {"anna@acme.example"}
    with pytest.raises(BadExport, match="cookie is not empty"):
        read(ANNA + "# pagedresults: cookie=AQ==\n", ldap_paged=False)


def test_folded_lines_are_joined_before_anything_is_decoded() -> None:
    folded = entry("proxyAddresses:: c210cDrDvG", " JlckBh", " Y21lLmV4YW1wbGU=")
    raw = entry("proxyAddresses: smtp:b").encode().replace(b"smtp:b", b"smtp:\xc3\n \xb6l@acme.example")
    pages = "# pagedresults: cookie=\n QUFB\n"
    assert read((folded + pages).encode() + raw + LAST.encode()).recipients == {"über@acme.example", "öl@acme.example"}


def test_line_ends_of_windows_and_many_empty_lines_are_no_fault() -> None:
    assert read((ANNA + "\n\n" + LAST).replace("\n", "\r\n")).recipients == {"anna@acme.example"}


def test_an_address_attribute_with_options_or_other_letters_is_one() -> None:
    kanidm = entry("MAIL;primary: a@acme.example", "mail;lang-de;x-other:b@acme.example", "mailbox: c@acme.example")
    assert read(kanidm + LAST, ldap_attributes=("mail",)).recipients == {"a@acme.example", "b@acme.example"}


def test_entries_without_an_address_are_counted_where_the_filter_is_the_operator_s() -> None:
    choice = read(ANNA + entry("objectClass: user") + LAST, ldap_filter_is_default=False)
    assert choice.recipients == {"anna@acme.example"}
    assert choice.notes == ("1 of 2 entries have none of proxyAddresses",)


def test_references_are_told_but_for_parts_in_which_nobody_lives() -> None:
    references = (
        "# refldap://acme.example/CN=Configuration,DC=acme,DC=example\n\n"
        "# refldaps://DomainDnsZones.acme.example/DC=DomainDnsZones,DC=acme,DC=example\n\n"
        "# refldap://acme.example/CN=Schema,CN=Configuration,DC=acme,DC=example??sub\n\n"
        "# refldaps://berlin.acme.example/DC=berlin,DC=acme,DC=example??su\n b\n\x1b[31m\n\n"
    ).replace("\n\x1b[31m", "\x1b[31m")
    choice = read(ANNA + references + LAST)
    (note,) = choice.notes
    assert note == (
        "recipients on other servers are not listed: "
        r"ldaps://berlin.acme.example/DC=berlin,DC=acme,DC=example??sub\x1b[31m"
    )


@pytest.mark.parametrize(
    "written", ["@acme.example", "smtp:@ACME.example", "*@acme.example", ":: QGFjbWUuZXhhbXBsZSA="]
)
def test_a_catch_all_opens_its_domain_unless_it_is_partial(written: str) -> None:
    line = f"proxyAddresses{written if written.startswith(':') else f': {written}'}"
    text = ANNA + entry(line) + LAST
    assert read(text).open_domains == {"acme.example"}
    assert "catch-all @acme.example" in read(text).notes[0]
    assert read(text, partial=("acme.example",)).open_domains == set()
    assert read(text, domains=("other.example",)).open_domains == set()


def test_a_catch_all_of_an_internationalised_domain_is_known_in_either_form() -> None:
    ours = {"domains": ("xn--mller-kva.example",), "unicode": {"xn--mller-kva.example": "müller.example"}}
    for written in ("@müller.example", "@XN--MLLER-kva.example"):
        assert read(ANNA + entry(f"proxyAddresses: {written}") + LAST, **ours).open_domains == {*ours["domains"]}


def test_more_entries_than_any_list_needs_are_refused_before_they_cost_time() -> None:
    with pytest.raises(BadExport, match=r"line 60001: more than 20000 entries or values up to here"):
        read("dn:\nmail:a\n\n" * 30_000 + LAST, ldap_attributes=("mail",), max_recipients=0)


def test_a_million_empty_lines_cost_no_more_than_their_bytes() -> None:
    began = time.process_time()
    read(ANNA + "\n" * 1_000_000 + LAST)
    few = time.process_time() - began
    began = time.process_time()
    read(ANNA + "\n" * 8_000_000 + LAST)
    assert time.process_time() - began < 40 * few + 1


# ---- what a relay makes of a catch-all


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay that has accepted a first list of 20."""
    relay = SmallRelay(tmp_path, format="ldap", ldap_attributes=("mail",))
    relay.take(export(20))
    relay.accept("first", 20)
    return relay


def export(count: int, *more: str) -> bytes:
    people = [f"user{number}@acme.example" for number in range(count)]
    return ("".join(entry(f"mail: {address}") for address in (*people, *more)) + LAST).encode()


def test_an_upload_with_a_catch_all_opens_the_closed_domain_and_alarms(relay: SmallRelay) -> None:
    assert relay.accepted().keys() == {"acme.example"}
    outcome = relay.take(export(20, "@acme.example"))
    assert (outcome.did, relay.accepted()) == ("unchanged", {})
    assert relay.builds() == 3, "the third one opens it"
    assert "note: the directory has a catch-all @acme.example" in outcome.line
    with relay.spool() as spool:
        now = outcome.origin.when
        told = list(alarms.find_alarms(Status.of(spool, relay.settings, now), relay.settings, now))
    assert any("catch-all" in alarm.text for alarm in told)


def test_a_held_list_with_a_catch_all_opens_and_closes_nothing_when_accepted(relay: SmallRelay) -> None:
    outcome = relay.take(export(10, "@acme.example"))
    assert (outcome.did, relay.accepted()) == ("held", {})
    relay.accept("removing", 10)
    assert relay.accepted() == {}
    assert len(relay.in_force()) == 10


def test_a_list_without_the_catch_all_is_a_first_list_again(relay: SmallRelay) -> None:
    relay.take(export(20, "@acme.example"))
    relay.take(export(20, "@acme.example"))
    outcome = relay.take(export(20))
    assert (outcome.did, outcome.reasons) == ("held", ("first list of acme.example (20)",))


# ---- one table of kinds for all sources


@pytest.mark.parametrize(
    "sample",
    [
        *("every-type-of-recipient", "every-type-taken", "hidden-disabled-and-contacts-left-out"),
        *("names-only-exchange-gives", "exchange-2003"),
    ],
)
def test_the_people_of_a_csvde_export_are_the_same_recipients_by_ldap(sample: str) -> None:
    path = Path(__file__).parent.parent / "exports" / "csvde" / f"{sample}.txt"
    said = path.with_suffix(".recipients").read_text("utf-8").splitlines()
    wanted = settings(format="csvde", leave_out=tuple(line[12:] for line in said if line.startswith("# leave out ")))
    export = path.read_bytes()
    by_csvde = filter_export(formats.read(export, wanted), wanted)
    by_ldap = filter_export(formats.read(as_ldif(export).encode(), wanted._replace(format="ldap")), wanted)
    assert len(by_csvde.recipients) > 1
    assert by_ldap[:2] == by_csvde[:2]


def as_ldif(export: bytes) -> str:
    """Write what csvde exported as ldapsearch would have: a line for each value."""
    return "".join(map(_as_entry, csv.DictReader(export.decode("ascii").splitlines()))) + LAST


def _as_entry(row: Mapping[str, str]) -> str:
    cells = {name: cell for name, cell in row.items() if name != "DN" and cell}
    values = [(name, part) for name, cell in cells.items() for part in re.split(r"(?<!\\);", cell)]
    return entry(*(f"{name}: {part.replace(chr(92), '')}" for name, part in values))


def test_what_samba_answers_on_port_636_is_whole_and_has_nothing_to_tell() -> None:
    parts = ("CN=Configuration", "DC=DomainDnsZones", "DC=ForestDnsZones")
    references = "".join(f"# refldaps://acme.example/{part},DC=acme,DC=example\n\n" for part in parts)
    assert read(ANNA + references + LAST).notes == ()
