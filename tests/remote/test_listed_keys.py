"""What the keys of other tables say about a customer's domains."""

from __future__ import annotations

import pytest

from remote.postfix.listed_keys import ListedKeys, Names, source_keys, split_listing
from remote.postfix.map_tables import map_tables

NAMES = Names({"acme.example": "acme.example", "bücher.example": "xn--bcher-kva.example"}, ("acme.example",))


def keys(*listed: str, uses: str = "list") -> ListedKeys:
    found = ListedKeys(NAMES, uses)
    for line in listed:
        found.add(*line.split("\t"))
    return found


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("Joe@Acme.Example", "joe@acme.example"),
        ('"joe smith"@acme.example', '"joe smith"@acme.example'),
        ("a..lopez@acme.example", '"a..lopez"@acme.example'),
        ('"carl.b"@acme.example', "carl.b@acme.example"),
        ("eva@bücher.example", "eva@xn--bcher-kva.example"),
        ("joe", "joe@acme.example"),
    ],
)
def test_a_key_is_a_candidate_in_the_form_a_list_has(key: str, address: str) -> None:
    assert [*keys(f"{key}\tx").candidates] == [address]


@pytest.mark.parametrize(
    "key",
    ["<eva@acme.example>", "dot@acme.example.", "x@acme.example;", "smtp:finn@acme.example", "j\x00e@acme.example"],
)
def test_a_key_that_no_mail_matches_is_named_and_no_candidate(key: str) -> None:
    found = keys(f"{key}\tx")
    assert (found.odd, [*found.candidates]) == ([key], [])


def test_keys_of_others_are_counted_and_those_below_a_domain_are_not_the_customer_s() -> None:
    found = keys("kim@bolt.example\tx", "lee@bolt.example\tx", "fax@sub.acme.example\tx", "@acme.example\tx")
    assert found.elsewhere == {"bolt.example": 2}
    assert (found.below, found.everybody) == (["fax@sub.acme.example"], ["@acme.example"])


def test_a_domain_as_a_key_is_nobody_s_name() -> None:
    assert not keys("acme.example\tOK").candidates


@pytest.mark.parametrize(
    ("value", "is_yes"),
    [
        *(("OK", True), ("ok", True), ("RELAY", True), ("permit", True), ("DISCARD", True), ("4711", True)),
        *(("DUNNO", False), ("REJECT gone", False), ("550 no", False), ("x", False), ("user@inner", False)),
    ],
)
def test_in_an_access_table_the_value_decides_and_in_a_list_none_does(value: str, is_yes: bool) -> None:
    line = f"joe@acme.example\t{value}"
    assert keys(line, uses="access").is_yes("joe@acme.example") is is_yes
    assert keys(line).is_yes("joe@acme.example")


def test_a_name_for_every_domain_counts_in_each_of_the_customer_s() -> None:
    found = keys("postmaster@\tOK", uses="access")
    assert [*found.candidates] == ["postmaster@acme.example", "postmaster@xn--bcher-kva.example"]
    assert not keys("postmaster@\tOK").candidates


def test_a_listing_is_cut_at_the_first_tab_outside_of_quotes() -> None:
    listing = '"a\tb"@acme.example\tx\ty\njoe@acme.example\tOK\n'
    assert [*split_listing(listing)] == [('"a\tb"@acme.example', "x\ty"), ("joe@acme.example", "OK")]


def test_a_text_is_read_as_postmap_reads_it() -> None:
    text = "# by hand\nANN@acme.example x\nceo@acme.example x\n# retired@acme.example x\n vip@acme.example x\nnone@a\n"
    assert source_keys(text.splitlines()) == {
        "ann@acme.example": "ANN@acme.example",
        "ceo@acme.example": "ceo@acme.example",
    }


@pytest.mark.parametrize(
    ("value", "tables"),
    [
        ("hash:/a, proxy:lmdb:/b", ["hash:/a", "lmdb:/b"]),
        ("unionmap:{hash:/a, proxy:hash:/b, regexp:/c}", ["hash:/a", "hash:/b", "regexp:/c"]),
        ("proxy:unionmap:{{hash:/a}, unionmap:{hash:/b}}", ["hash:/a", "hash:/b"]),
        ("inline:{ {joe@acme.example = OK} }", ["inline:{ {joe@acme.example = OK} }"]),
        ("hash:/a hash:/a", ["hash:/a"]),
        ("", []),
    ],
)
def test_a_list_of_maps_is_taken_apart_to_tables(value: str, tables: list[str]) -> None:
    assert [table.name for table in map_tables(value)] == tables


@pytest.mark.parametrize("kind", ["regexp", "pcre", "static", "memcache", "sqlite", "ldap", "pipemap"])
def test_what_cannot_be_listed_is_not_taken_for_an_empty_list(kind: str) -> None:
    assert not any(table.is_listable for table in map_tables(f"{kind}:/etc/postfix/x"))
