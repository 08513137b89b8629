from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from common.settings import Settings
from lab.host import LabHost
from receiver.addresses import table_key
from receiver.upload import address_rules
from receiver.upload.address_rules import reason_left_out
from receiver.upload.formats import BadExport, Block, Values
from receiver.upload.recipient_filter import KEPT, filter_export
from receiver.upload.recipient_types import INTERNAL_ONLY
from tests.support.dice import seeds

ACME = Settings(customer="acme", format="exchange-5.5", domains=("acme.example", "acme.co.example"))
IDN = ACME._replace(
    domains=("xn--mller-kva.example", "acme.example"), unicode={"xn--mller-kva.example": "müller.example"}
)
ANY = ACME._replace(domains=())


def recipients(*addresses: str, settings: Settings = ACME) -> set[str]:
    return set(filter_export([f"SMTP:{address}" for address in addresses], settings).recipients)


def reason(address: str, settings: Settings = ACME) -> str | None:
    return reason_left_out(f"SMTP:{address}", settings)


# ---- what is a recipient


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("anna@acme.example", "anna@acme.example"),
        ("Anna.Lee@ACME.Example", "anna.lee@acme.example"),
        ("o'neil+news=x@acme.co.example", "o'neil+news=x@acme.co.example"),
        ("50%off@acme.example", "50%off@acme.example"),
        ("site!user@acme.example", "site!user@acme.example"),
        ("hash#in.the.middle@acme.example", "hash#in.the.middle@acme.example"),
        ("a.b.c.d.e.f@acme.example", "a.b.c.d.e.f@acme.example"),
        ("-rf@acme.example", "-rf@acme.example"),
        ("IMCEAEX-_O=ACME_OU=HQ_CN=ANNA@acme.example", "imceaex-_o=acme_ou=hq_cn=anna@acme.example"),
        ('"joe smith"@acme.example', '"joe smith"@acme.example'),
        ('"a@b"@acme.example', '"a@b"@acme.example'),
        ('"dots.."@acme.example', '"dots.."@acme.example'),
        ('"*"@acme.example', None),
        ("x" * 64 + "@acme.example", "x" * 64 + "@acme.example"),
        ("JÖRG@acme.example", "jörg@acme.example"),
        ("STRAẞE@acme.example", "strasse@acme.example"),
        ("用户@acme.example", "用户@acme.example"),
        (" anna@acme.example ", "anna@acme.example"),
        ("\t\xa0anna@acme.example\r\n", "anna@acme.example"),
        ("\u200banna \u200e@acme.example\ufeff\u200e", "anna@acme.example"),
        ("John..Doe@acme.example", '"john..doe"@acme.example'),
        (".anna@acme.example", '".anna"@acme.example'),
        ("anna.@acme.example", '"anna."@acme.example'),
        ("an...na@acme.example", '"an...na"@acme.example'),
        (".@acme.example", '"."@acme.example'),
        ("#Sales@acme.example", "#sales@acme.example"),
        ('"#Sales"@acme.example', "#sales@acme.example"),
        ("##@acme.example", "##@acme.example"),
        ("Sales Dept@acme.example", '"sales dept"@acme.example'),
        ("x" * 65 + "@acme.example", "x" * 65 + "@acme.example"),
        ("x" * 315 + "@acme.example", "x" * 315 + "@acme.example"),
        ("ü" * 315 + "@acme.example", "ü" * 315 + "@acme.example"),
        (".x" * 157 + "@acme.example", '"' + ".x" * 157 + '"@acme.example'),
    ],
)
def test_an_address_is_listed_as_postfix_looks_it_up(written: str, listed: str | None) -> None:
    assert recipients(written) == ({listed} if listed else set())


def test_quotes_that_are_not_needed_go_as_postfix_never_asks_with_them() -> None:
    assert recipients('"joe.smith"@acme.example', "Joe.Smith@acme.example") == {"joe.smith@acme.example"}
    assert recipients(r'"joe\ smith"@acme.example', r'"\j\o\e smith"@acme.example') == {'"joe smith"@acme.example'}
    assert recipients(r'"back\\slash \"x\""@acme.example') == {r'"back\\slash \"x\""@acme.example'}


def test_addresses_that_fold_alike_are_one_recipient() -> None:
    assert recipients("ANNA@acme.example", "anna@ACME.EXAMPLE", "Anna@acme.example") == {"anna@acme.example"}
    assert recipients("straße@acme.example", "STRASSE@acme.example") == {"strasse@acme.example"}


@pytest.mark.parametrize("kind", ["SMTP", "smtp", "Smtp"])
def test_the_type_counts_in_any_case(kind: str) -> None:
    assert reason_left_out(f"{kind}:anna@acme.example", ACME) is None


# ---- what is no recipient


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("X400:c=US;a= ;p=Acme;o=HQ;s=Lee;g=Anna;", address_rules.NOT_INTERNET),
        ("MS:ACME/HQ/ANNA@acme.example", address_rules.NOT_INTERNET),
        ("anna@acme.example", address_rules.NOT_INTERNET),
        ("XSMTP:anna@acme.example", address_rules.NOT_INTERNET),
        ("SMTP anna@acme.example", address_rules.NOT_INTERNET),
        ("SMTP:anna@other.example", address_rules.OTHER_DOMAIN),
        ("SMTP:anna smith@other.example", address_rules.OTHER_DOMAIN),
        ("SMTP:anna@acme..example", address_rules.OTHER_DOMAIN),
        ("SMTP:anna", address_rules.NOT_AN_ADDRESS),
        ("SMTP:", address_rules.NOT_AN_ADDRESS),
        ("SMTP:anna@home@acme.example", address_rules.NOT_AN_ADDRESS),
        ("SMTP:Anna <anna@acme.example", address_rules.NOT_AN_ADDRESS),
        ('SMTP:"anna@acme.example', address_rules.NOT_AN_ADDRESS),
        ('SMTP:an"na@acme.example', address_rules.NOT_AN_ADDRESS),
        ('SMTP:"an"na"@acme.example', address_rules.NOT_AN_ADDRESS),
        ('SMTP:"anna\\"@acme.example', address_rules.NOT_AN_ADDRESS),
        ("SMTP:@acme.example", address_rules.NO_LOCAL_PART),
        ('SMTP:""@acme.example', address_rules.NO_LOCAL_PART),
        ("SMTP:*@acme.example", address_rules.WILDCARD),
        ('SMTP:"*"@acme.example', address_rules.WILDCARD),
        ("SMTP:anna(work)@acme.example", address_rules.NOT_AN_ADDRESS),
        ("SMTP:lee, anna@acme.example", address_rules.NOT_AN_ADDRESS),
        ("SMTP:anna@acme.example, anna@other.example", address_rules.NOT_AN_ADDRESS),
        ("SMTP:anna@acme.example.org, anna@other.example", address_rules.OTHER_DOMAIN),
        ("SMTP::anna@acme.example", address_rules.NOT_AN_ADDRESS),
        ("SMTP:back\\slash@acme.example", address_rules.NOT_AN_ADDRESS),
        (f"SMTP:{'x' * 316}@acme.example", address_rules.TOO_LONG),
        (f"SMTP:.{'x' * 315}@acme.example", address_rules.TOO_LONG),
    ],
)
def test_a_value_that_is_no_recipient_is_left_out_and_counted_with_its_reason(value: str, why: str) -> None:
    assert reason_left_out(value, ACME) == why
    assert filter_export([value], ACME)[:2] == (frozenset(), {why: 1})


@pytest.mark.parametrize(
    "character", ["\t", "\r", "\n", "\0", "\x1c", "\x7f", "\x85", "\xa0", "\u2028", "\u3000", "\ufffd"]
)
def test_a_control_or_odd_blank_never_gets_into_a_table_even_in_quotes(character: str) -> None:
    for address in (f"an{character}na@acme.example", f'"an{character}na"@acme.example'):
        assert reason(address) == address_rules.NOT_AN_ADDRESS
        assert filter_export([f"SMTP:{address}"], ACME).recipients == frozenset()


@pytest.mark.parametrize("character", ["\u0378", "\ufdd0", "\U0002fffe", "\U000e0fff"])
def test_a_character_unicode_has_not_assigned_is_left_out_as_a_newer_postfix_may_fold_it_into_another(
    character: str,
) -> None:
    for local in (f"an{character}na", f'"an {character}na"'):
        values = [f"SMTP:{local}@acme.example", "SMTP:bob@acme.example"]
        assert filter_export(values, ACME)[:2] == (frozenset({"bob@acme.example"}), {address_rules.UNASSIGNED: 1})


def test_characters_for_private_use_and_those_that_only_join_or_accent_are_assigned() -> None:
    kept = {"an\ue000na@acme.example", "an\u200dna@acme.example", "an\u0301na@acme.example"}
    assert recipients(*kept) == kept


def test_an_attempt_to_bring_a_second_address_in_behind_a_line_end_fails() -> None:
    assert filter_export(["X400:s=a\nsmtp:eve@acme.example"], ACME)[:2] == (
        frozenset(),
        {address_rules.NOT_INTERNET: 1},
    )
    assert filter_export(["SMTP:a@acme.example\nsmtp:eve@acme.example"], ACME)[:2] == (
        frozenset(),
        {address_rules.NOT_AN_ADDRESS: 1},
    )


def test_an_attempt_to_open_a_whole_domain_fails() -> None:
    tries = ["@acme.example", '""@acme.example', "*@acme.example", " @acme.example", "acme.example", '" "']
    assert recipients(*tries) == set()


def test_a_domain_is_matched_whole_and_not_as_a_part_of_a_name() -> None:
    tries = ["a@evil-acme.example", "a@acme.example.evil", "a@sub.acme.example", "a@acmeXexample", "a@acme.exampleb"]
    assert filter_export([f"SMTP:{address}" for address in tries], ACME)[:2] == (
        frozenset(),
        {address_rules.OTHER_DOMAIN: 5},
    )


def test_a_line_of_the_table_never_begins_with_a_hash_as_postmap_would_lose_it_silently() -> None:
    listed = recipients("#hash@acme.example", "#joe smith@acme.example", "joe@acme.example")
    assert {*map(table_key, listed)} == {*('"#hash"@acme.example', '"#joe smith"@acme.example', "joe@acme.example")}


def test_an_address_in_the_longest_domain_is_listed() -> None:
    domain = ".".join(["x" * 62] * 4) + ".ex"  # 254
    settings = ACME._replace(domains=(domain,))
    assert reason(f"{'a' * 64}@{domain}", settings) is reason(f"{'ü' * 315}@{domain}", settings) is None


@pytest.mark.parametrize("settings", [ACME, ANY])
def test_an_address_of_megabytes_costs_neither_time_nor_memory(settings: Settings) -> None:
    for address in (
        '"' + "x" * 10_000_000 + '"@acme.example',
        "a." * 5_000_000 + "a@acme.example",
        "a@" + "a." * 5_000_000,
    ):
        assert reason(address, settings) == address_rules.TOO_LONG


# ---- domains


def test_an_internationalised_domain_is_its_a_label_however_it_is_written() -> None:
    written = ["info@müller.example", "INFO@MÜLLER.EXAMPLE", "info@xn--mller-kva.example", "info@XN--MLLER-KVA.Example"]
    assert recipients(*written, settings=IDN) == {"info@xn--mller-kva.example"}


def test_a_domain_with_an_eszett_is_not_taken_for_the_one_with_ss() -> None:
    settings = ACME._replace(domains=("xn--strae-oqa.example",), unicode={"xn--strae-oqa.example": "straße.example"})
    assert recipients("a@straße.example", settings=settings) == {"a@xn--strae-oqa.example"}
    assert reason("a@strasse.example", settings) == address_rules.OTHER_DOMAIN


def test_with_no_domains_every_domain_is_taken_if_it_can_be_one() -> None:
    taken = recipients(
        "a@One.example", "b@müller.example", "c@server", "d@x", "e@[192.0.2.1]", "f@a b", "g@", settings=ANY
    )
    assert taken == {"a@one.example", "b@müller.example", "c@server", "d@x"}
    for address in ("e@[192.0.2.1]", "f@a b", "g@", "nobody", "h@two..dots"):
        assert reason(address, ANY) == address_rules.NOT_AN_ADDRESS


def test_many_domains_are_one_customer_too() -> None:
    settings = ACME._replace(domains=tuple(f"d{number}.example" for number in range(500)))
    written = [f"SMTP:a@d{number}.example" for number in range(501)]
    assert filter_export(written, settings).left_out == {address_rules.OTHER_DOMAIN: 1}


def test_a_domain_whose_accents_stand_apart_is_the_same_domain() -> None:
    assert recipients("a@mu\u0308ller.example", "b@MU\u0308LLER.example", settings=IDN) == {
        *("a@xn--mller-kva.example", "b@xn--mller-kva.example")
    }


@pytest.mark.parametrize(
    "domain",
    [
        *("acme.example.", "ACME\u3002example", "acme\uff0eexample", "\uff21\uff43\uff4d\uff45\uff61example"),
        *("ac\xadme.example", "\u200bacme\u200b.exa\u2060mple", "acme.example\u200e.", "acme\ufeff.example"),
    ],
)
def test_a_domain_as_it_was_typed_or_pasted_is_the_same_domain(domain: str) -> None:
    assert recipients(f"Anna@{domain}") == {"anna@acme.example"}


# ---- two values in one


@pytest.mark.parametrize("separator", '&^#@!$";,| ')
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("MS:A/B/C", "SMTP:anna@acme.example"),
        ("SMTP:bob@acme.example", "smtp:anna@acme.example"),
        ("SMTP:bob@acme.example", "X400:c=US;a= ;p=Acme;"),
        ("SMTP:bob@ACME.CO.EXAMPLE", "MS:A/B/C"),
        ("SMTP:bob@acme.example", "rfax:Bob@+49 30 1"),
    ],
)
def test_a_value_with_another_behind_an_odd_separator_is_named(before: str, separator: str, behind: str) -> None:
    with pytest.raises(BadExport, match=re.escape(f"{before}{separator}{behind} holds".lower()) + ".*MVSeparator"):
        filter_export(["SMTP:ann@acme.example", f"{before}{separator}{behind}", "SMTP:eve@acme.example"], ACME)


@pytest.mark.parametrize("separator", "/+-:='._\x01\x1f§ß")
def test_an_address_of_ours_behind_anything_in_another_value_is_named(separator: str) -> None:
    for behind in ("", "&X400:c=US;a= ;"):
        with pytest.raises(BadExport, match="holds the type of another value"):
            filter_export([f"MS:ACME/HQ/BOB{separator}SMTP:anna@acme.example{behind}"], ACME)
    assert filter_export([f"MS:ACME/HQ/BOB{separator}SMTP:anna@other.example"], ACME)[:2] == (
        frozenset(),
        {address_rules.NOT_INTERNET: 1},
    )


@pytest.mark.parametrize("separator", "/+:='\x01\x1f§")
def test_an_address_of_ours_with_another_type_behind_anything_is_named(separator: str) -> None:
    with pytest.raises(BadExport, match="holds the type of another value"):
        filter_export([f"SMTP:bob@acme.example{separator}X400:c=US;a= ;"], ACME)


def test_a_named_value_of_two_addresses_moves_no_cursor() -> None:
    with pytest.raises(BadExport, match=re.escape("smtp:b\\x1b[2jb@acme.example,smtp:c@acme.example holds")):
        filter_export(["SMTP:b\x1b[2Jb@acme.example,smtp:c@acme.example"], ACME)


@pytest.mark.parametrize(
    "value",
    [
        "X400:c=US;a= ;p=Acme;o=HQ;dda:SMTP=anna(a)acme.example;",
        "X500:/o=Acme/ou=HQ/cn=smtp:anna",
        "EUM:1234;phone-context=Dialplan.acme.example",
        "SMTP:smtp:anna@acme.example",
        "SMTP:anna@other.example (see http://other.example)",
        "NOTES:Anna Lee/HQ/ACME@ACME",
    ],
)
def test_a_value_that_only_looks_like_two_is_read(value: str) -> None:
    assert sum(filter_export([value], ACME).left_out.values()) == 1


@pytest.mark.parametrize(
    "value",
    [
        *("System.String[]", "System.Object[]", "Microsoft.ActiveDirectory.Management.ADPropertyValueCollection"),
        *("Microsoft.Exchange.Data.ProxyAddressCollection", "System.Collections.Generic.List`1[System.String]"),
    ],
)
def test_a_list_that_powershell_did_not_write_out_is_refused(value: str) -> None:
    with pytest.raises(BadExport, match="in place of a list that was not joined"):
        filter_export(["SMTP:anna@acme.example", value], ACME)
    assert filter_export(["SMTP:system.string@acme.example"], ACME).recipients == {"system.string@acme.example"}


# ---- who is named


def test_whom_nobody_meant_to_leave_out_is_named_as_written_with_the_reason() -> None:
    values = [
        'smtp:An"Na@ACME.example',
        f"SMTP:{'Ü' * 400}@acme.example",
        "SMTP:an\u0378na@acme.example",
        "SMTP:*@acme.example",
        "SMTP:Ann@acme.example/Ann@other.example",
    ]
    others = ["SMTP:staff@acme.example", "SMTP:a<b@other.example", "MS:a<b@acme.example", "SMTP:anna"]
    taken = filter_export([*values, *others, values[0]], ACME._replace(exclude=("staff",)))
    assert taken.named == (
        (values[0], address_rules.NOT_AN_ADDRESS),
        (values[1][:200], address_rules.TOO_LONG),
        (values[2], address_rules.UNASSIGNED),
        (values[3], address_rules.WILDCARD),
        (values[4], address_rules.NOT_AN_ADDRESS),
    )


@pytest.mark.parametrize(
    "written",
    [
        *("<anna@acme.example>", "Anna Lee <anna@acme.example>", "'anna@acme.example'", '"anna@acme.example"'),
        *("anna@acme.example,", "anna@acme.example (Anna)", "anna@acme.example/", "anna@acme.example:25"),
        *("anna@acme.example?subject=x", "anna@acme.example%3B", "anna@[acme.example]", "anna@acme.example\\"),
        *("anna@acme.example...", "anna@acme.ex...", "anna\u2026", "anna@acme.example\u2026"),
        *("anna@ acme.example", "anna@acme .example", "anna\uff20acme.example", "<anna@mu\u0308ller.example>"),
    ],
)
def test_an_address_of_ours_in_another_notation_is_named(written: str) -> None:
    taken = filter_export([f"SMTP:{written}"], IDN._replace(domains=(*IDN.domains, "acme.example")))
    assert taken.recipients == frozenset()
    assert taken.named == ((f"SMTP:{written}", address_rules.NOT_AN_ADDRESS),)


@pytest.mark.parametrize(
    "written", ["<anna@other.example>", "anna@sub.acme.example,", "anna@acme.example.org.", "'anna@myacme.example'"]
)
def test_somebody_else_s_address_in_another_notation_is_counted(written: str) -> None:
    taken = filter_export([f"SMTP:{written}"], ACME)
    assert (taken.left_out, taken.named) == ({address_rules.OTHER_DOMAIN: 1}, ())


@pytest.mark.parametrize(
    "type_", ["SMPT:", "stmp: ", "SMTP :", "SMTP ", "SMTP;", "mailto:", "E-Mail: ", "\uff33\uff2d\uff34\uff30:"]
)
def test_an_address_of_ours_with_a_type_that_was_typed_wrong_is_named(type_: str) -> None:
    long = f"anna.{'x' * 40}@acme.example"
    values = [f"{type_}Anna@acme.example", "SIP:anna@acme.example", "EUM:anna@acme.example", f"{type_}a@other.example"]
    taken = filter_export([*values, f"SMTP:{long}"], ACME)
    assert taken[:2] == (frozenset({long}), {address_rules.NOT_INTERNET: 4})
    assert taken.named == taken.own_left_out == ((f"{type_}Anna@acme.example", address_rules.NOT_INTERNET),)


def test_an_address_of_ours_without_a_type_is_named() -> None:
    values = ["SMTP:bob@acme.example", " Anna@ACME.example", "anna@other.example", "MS:anna@acme.example", "anna"]
    taken = filter_export(values, ACME)
    assert taken.recipients == {"bob@acme.example"}
    assert taken.left_out == {address_rules.NOT_INTERNET: 4}
    assert taken.named == taken.own_left_out == (("Anna@ACME.example", address_rules.NOT_INTERNET),)


def test_of_very_many_left_out_the_first_hundred_are_named_and_all_are_counted() -> None:
    taken = filter_export((f"SMTP:a<{number}@acme.example" for number in range(20_000)), ACME)
    assert taken.left_out == {address_rules.NOT_AN_ADDRESS: 20_000}
    assert [each.value for each in taken.named] == [f"SMTP:a<{number}@acme.example" for number in range(100)]


# ---- exclusions


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("administrator", {"administrator@acme.example", "administrator@acme.co.example"}),
        ("ADMINISTRATOR", {"administrator@acme.example", "administrator@acme.co.example"}),
        ("admin", set()),
        ("all-staff@acme.example", {"all-staff@acme.example"}),
        ("*-internal@*", {"x-internal@acme.example", "x-internal@acme.co.example"}),
        ("*@acme.co.example", {"administrator@acme.co.example", "x-internal@acme.co.example"}),
        ("?-internal@acme.example", {"x-internal@acme.example"}),
        ("[w-z]-INTERNAL@acme.example", {"x-internal@acme.example"}),
        ("[!w-z]-internal@acme.example", set()),
        ("*staff*", {"all-staff@acme.example"}),
        ("staff*", set()),
        ("a.l-staff@acme.example", set()),
        ("[z-a]*@acme.example", set()),
        ("[*@acme.example", set()),
        ("joe smith", {'"joe smith"@acme.example'}),
        ('"joe smith"', {'"joe smith"@acme.example'}),
    ],
)
def test_an_exclusion_is_a_local_part_or_a_shell_pattern_for_the_folded_address(line: str, gone: set[str]) -> None:
    every = {
        *("administrator@acme.example", "administrator@acme.co.example", "all-staff@acme.example"),
        *("x-internal@acme.example", "x-internal@acme.co.example", '"joe smith"@acme.example'),
    }
    settings = ACME._replace(exclude=(line,))
    assert {address for address in every if reason(address, settings) == address_rules.EXCLUDED} == gone
    assert recipients(*every, settings=settings) == every - gone


def test_an_exclusion_may_name_an_internationalised_domain_in_either_form() -> None:
    for line in ("info@müller.example", "*@MÜLLER.example", "info@xn--mller-kva.example"):
        assert reason("Info@Müller.example", IDN._replace(exclude=(line,))) == address_rules.EXCLUDED


def test_an_exclusion_of_many_stars_does_not_take_for_ever() -> None:
    settings = ACME._replace(exclude=("*a" * 30 + "*b@*",))
    assert reason("a" * 64 + "@acme.example", settings) is None


def test_many_exclusions_work_together() -> None:
    settings = ACME._replace(exclude=(*(f"user{number}" for number in range(300)), "*-x@*", "y@acme.example"))
    taken = recipients(
        *(f"user{n}@acme.example" for n in range(301)), "a-x@acme.example", "y@acme.example", settings=settings
    )
    assert taken == {"user300@acme.example"}


# ---- the quick reading and the careful one

PIECES = [
    *("anna", "ANNA", ".", "..", "@", "@acme.example", "@acme.example", "@ACME.CO.EXAMPLE", "@other.example", "#", "*"),
    *(
        "smtp:",
        '"',
        "\\",
        " ",
        "ü",
        "İ",
        "ß",
        "\u212a",
        "Σ",
        "\n",
        "\r",
        "\u2028",
        "\u0378",
        "x" * 40,
        "-internal",
        "%",
        "=",
        ":",
    ),
]


def made_up(dice: random.Random) -> Iterator[str]:
    for _ in range(3_000):
        kind = dice.choice(["SMTP:", "smtp:", "sMtP:", "X400:", "", "\u017fmtp:"])
        end = dice.choice(["", "@acme.example", "@müller.example"])
        yield kind + "".join(dice.choices(PIECES, k=dice.randrange(5))) + end


def is_two(value: str, settings: Settings = ACME) -> bool:
    try:
        filter_export([value], settings)
    except BadExport:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(20))
@pytest.mark.parametrize("settings", [ACME, IDN, ANY, ACME._replace(exclude=("anna", "*-internal@*"))])
def test_values_in_bulk_are_chosen_as_each_would_be_by_itself(settings: Settings, seed: int) -> None:
    values = [value for value in made_up(random.Random(seed)) if value and not is_two(value, settings)]
    refusals = [reason_left_out(value, settings) for value in values]
    chosen = filter_export(values, settings)
    assert chosen.left_out == Counter(filter(None, refusals))
    taken = [f"{value} " for value, why in zip(values, refusals, strict=True) if why is None]  # a blank: never plain
    assert chosen.recipients == filter_export(taken, settings).recipients == _one_by_one(taken, settings)


def _one_by_one(values: Iterable[str], settings: Settings) -> set[str]:
    return set().union(*(filter_export([value], settings).recipients for value in values))


def test_values_in_blocks_and_one_by_one_give_the_same_choice() -> None:
    values = [value for value in made_up(random.Random(1)) if value and "\n" not in value and not is_two(value)]
    blocks = ["\n".join(values[:1000]), "", "\n\n" + "\n\n\n".join(values[1000:]) + "\n"]
    assert list(Values(map(Block, blocks))) == values
    assert filter_export(Values(map(Block, blocks)), ACME) == filter_export(values, ACME)


def test_what_somebody_of_a_kind_to_leave_out_would_add_counts_as_that_kind_and_the_rest_of_it_as_ever() -> None:
    block = Block("SMTP:anna@acme.example\nsmtp:a@acme.example\nX400:c=US;\nSMTP:anna@other.example", ("hidden", "x"))
    taken = filter_export(Values(iter([block])), ACME)
    assert taken.recipients == {"anna@acme.example", "a@acme.example"}
    left = filter_export(Values(iter([block])), ACME._replace(leave_out=("disabled", "hidden")))
    assert left[:2] == (frozenset(), {address_rules.NOT_INTERNET: 1, address_rules.OTHER_DOMAIN: 1, "hidden": 2})


def test_an_address_of_two_owners_is_left_out_only_if_both_are() -> None:
    blocks = [Block("SMTP:staff@acme.example", ("hidden",)), Block("smtp:Staff@acme.example")]
    settings = ACME._replace(leave_out=("hidden",))
    assert filter_export(Values(iter(blocks)), settings)[:2] == (frozenset({"staff@acme.example"}), {"hidden": 1})


def test_what_is_chosen_is_chosen_again_unchanged() -> None:
    """Each recipient, filtered again, stays the same recipient: the build and later readers check lists again."""
    taken = filter_export((value for value in made_up(random.Random(2)) if not is_two(value)), ACME).recipients
    assert filter_export([f"SMTP:{recipient}" for recipient in taken], ACME)[:2] == (taken, {})
    assert taken


def test_reasons_are_counted_in_one_stable_order() -> None:
    values = ["SMTP:*@acme.example", "SMTP:a<b@acme.example", "SMTP:a@other.example", "MS:A", "MS:B"]
    assert list(filter_export(values, ACME).left_out.items()) == [
        (address_rules.NOT_INTERNET, 2),
        (address_rules.OTHER_DOMAIN, 1),
        (address_rules.NOT_AN_ADDRESS, 1),
        (address_rules.WILDCARD, 1),
    ]


# ---- Postfix itself

WAYS_TO_WRITE = [  # as it stands in the export, as senders write it
    ("Joe.Smith@acme.example", ["joe.smith@acme.example", '"joe.smith"@acme.example', "JOE.SMITH@ACME.EXAMPLE"]),
    ('"Ann.Lee"@acme.example', ["ann.lee@acme.example", '"ann.lee"@acme.example']),
    ('"Joe Smith"@acme.example', ['"joe smith"@acme.example', r'"joe\ smith"@acme.example']),
    (r'"say \"hi\""@acme.example', [r'"say \"hi\""@acme.example']),
    (r'"back\\slash"@acme.example', [r'"back\\slash"@acme.example']),
    ('"a@b"@acme.example', ['"a@b"@acme.example']),
    ('"two..dots"@acme.example', ['"two..dots"@acme.example']),
    ("50%off@acme.example", ["50%off@acme.example"]),
    ("bang!user@acme.example", ["bang!user@acme.example"]),
    ("'quoted'=x/y&z?^_`{|}~+$@acme.example", ["'quoted'=x/y&z?^_`{|}~+$@acme.example"]),
    ("hash#tag@acme.example", ["hash#tag@acme.example"]),
    ("two..Dots@acme.example", ["two..dots@acme.example", "Two..Dots@acme.example", '"two..dots"@acme.example']),
    (".first@acme.example", [".first@acme.example"]),
    ("last.@acme.example", ["last.@acme.example"]),
    ("Sales Dept@acme.example", ['"sales dept"@acme.example']),
    ("x" * 315 + "@acme.example", ["x" * 315 + "@acme.example"]),
]


@pytest.mark.host
def test_postfix_finds_every_recipient_however_a_sender_writes_it(bookworm: LabHost) -> None:
    listed = recipients(*(address for address, _ in WAYS_TO_WRITE))
    table = bookworm.root / "etc/postfix/listed"
    table.write_text("".join(f"{recipient} OK\n" for recipient in listed), encoding="utf-8")
    told = bookworm.run("postmap", "hash:/etc/postfix/listed")
    assert told.stderr == "", "postmap exits 0 for lines it skips, but it speaks"
    keys = bookworm.run("postmap", "-s", "hash:/etc/postfix/listed").stdout.splitlines()
    assert {line.split("\t")[0] for line in keys} == listed
    bookworm.run("postconf", "relay_domains = acme.example", "relay_recipient_maps = hash:/etc/postfix/listed")
    bookworm.start_postfix()
    asked = [way for _, ways in WAYS_TO_WRITE for way in ways]
    assert {way: answer for way in asked if not (answer := bookworm.ask(way)).startswith("250")} == {}
    assert bookworm.ask("nobody@acme.example").startswith("550")


@pytest.mark.host
def test_keys_are_folded_as_postfix_folds_them(bookworm: LabHost) -> None:
    written = [
        f"x{chr(code)}y" for code in range(0xA1, 0x2000) if chr(code).isalpha() and chr(code).casefold() != chr(code)
    ]
    listed = recipients(*(f"{local}@acme.example" for local in written))
    table = bookworm.root / "etc/postfix/folded"
    table.write_text("".join(f"{recipient} OK\n" for recipient in sorted(listed)), encoding="utf-8")
    assert bookworm.run("postmap", "-o", "hash:/etc/postfix/folded").stderr == ""
    asked = "".join(f"{local}@acme.example\n" for local in written)
    found = bookworm.run("postmap", "-q", "-", "hash:/etc/postfix/folded", stdin=asked.encode()).stdout.splitlines()
    assert len(found) == len(written) > 500


# ---- what is kept for explain


def test_values_of_own_domains_are_kept_as_exported_with_the_reason() -> None:
    settings = ACME._replace(exclude=("boss",), leave_out=(INTERNAL_ONLY,))
    blocks = [
        Block("SMTP:Boss@acme.example\nsmtp:a@acme.example\nSMTP:x@other.example\nsmtp:a:b@acme.example"),
        Block("SMTP:Team@Acme.example\nX400:c=de\nSMTP:y@other.example", (INTERNAL_ONLY,)),
    ]
    found = filter_export(Values(iter(blocks)), settings)
    assert found.recipients == {"a@acme.example"}
    assert found.own_left_out == (
        ("SMTP:Boss@acme.example", "excluded"),
        ("smtp:a:b@acme.example", "not an address"),
        ("SMTP:Team@Acme.example", INTERNAL_ONLY),
    )
    assert found.named == (("smtp:a:b@acme.example", "not an address"),)


def test_attack_a_million_values_that_are_left_out_are_not_kept() -> None:
    block = "\n".join(f"smtp:u{number}@acme.example" for number in range(3 * KEPT))
    found = filter_export(Values(iter([Block(block, (INTERNAL_ONLY,))])), ACME._replace(leave_out=(INTERNAL_ONLY,)))
    assert (len(found.own_left_out), found.left_out) == (KEPT, {INTERNAL_ONLY: 3 * KEPT})
