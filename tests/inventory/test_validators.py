from __future__ import annotations

from collections.abc import Callable

import pytest

from inventory import domains, validators

Word = Callable[[str], str]

GOOD: list[tuple[Word, str, str]] = [
    (validators.name, "acme", "acme"),
    (validators.name, "a", "a"),
    (validators.name, "acme-2" + "x" * 25, "acme-2" + "x" * 25),
    (domains.ascii_form, "Acme.Example", "acme.example"),
    (domains.ascii_form, "a.co.example", "a.co.example"),
    (domains.ascii_form, "4711.example", "4711.example"),
    (domains.ascii_form, "Acme_Corp.example", "acme_corp.example"),
    (domains.ascii_form, "mu\u0308ller.example", "xn--mller-kva.example"),
    (domains.ascii_form, "müller.example", "xn--mller-kva.example"),
    (domains.ascii_form, "MÜLLER.example", "xn--mller-kva.example"),
    (domains.ascii_form, "mu\u0308ller.example", "xn--mller-kva.example"),
    (domains.ascii_form, "XN--MLLER-KVA.example", "xn--mller-kva.example"),
    (domains.ascii_form, "straße.example", "xn--strae-oqa.example"),  # IDNA 2003 would make it strasse.example
    (domains.ascii_form, "例え.テスト", "xn--r8jz45g.xn--zckzah"),
    (validators.recipient, "Joe.O'Brien+x@ACME.example", "joe.o'brien+x@acme.example"),
    (validators.recipient, "info@Müller.example", "info@xn--mller-kva.example"),
    (validators.recipient, "MÜLLER@acme.example", "müller@acme.example"),
    (validators.recipient, "John..Doe@acme.example", '"john..doe"@acme.example'),
    (validators.recipient, ".joe.@acme.example", '".joe."@acme.example'),
    (validators.recipient, f"{'J' * 315}@acme.example", f"{'j' * 315}@acme.example"),
    (validators.recipient, "#Sales@acme.example", "#sales@acme.example"),
    (validators.recipient, "Sales Dept@acme.example", '"sales dept"@acme.example'),
    (validators.recipient, '"joe.smith"@acme.example', "joe.smith@acme.example"),
    (validators.pattern, "Administrator", "administrator"),
    (validators.pattern, "*-internal@*", "*-internal@*"),
    (validators.pattern, "[a-c]*@acme.example", "[a-c]*@acme.example"),
    (validators.host, "mx1", "mx1"),
    (validators.host, "127.77.0.1", "127.77.0.1"),
    (validators.host, "2001:db8::1", "2001:db8::1"),
    (validators.host_port, "mx1.provider.example:2222", "mx1.provider.example:2222"),
    (validators.host_port, "[2001:db8::1]:22", "[2001:db8::1]:22"),
    (validators.host_port, "198.51.100.7", "198.51.100.7"),
    (validators.next_hop, "relay:[203.0.113.25]:25", "relay:[203.0.113.25]:25"),
    (validators.next_hop, "smtp:exchange.acme.example", "smtp:exchange.acme.example"),
    (validators.next_hop, "mx", "mx"),
    (validators.next_hop, "relay:[2001:db8::1]", "relay:[2001:db8::1]"),
    (validators.next_hop, "relay:[ipv6:2001:db8::1]:26", "relay:[ipv6:2001:db8::1]:26"),
    (validators.key_from, "198.51.100.7", "198.51.100.7"),
    (validators.key_from, "198.51.100.0/24", "198.51.100.0/24"),
    (validators.key_from, "2001:DB8:0::/32", "2001:db8::/32"),
    (validators.key_from, "any", "any"),
    (validators.windows_path, r"D:\exchsrvr", r"D:\exchsrvr"),
    (validators.windows_path, "C:\\Program Files (x86)\\Exchsrvr\\", r"C:\Program Files (x86)\Exchsrvr"),
    (validators.plain_windows_path, r"d:\user.export\a-b_c", r"d:\user.export\a-b_c"),
    (validators.base_point, "/o=Acme/ou=Site 1/cn=Recipients", "/o=Acme/ou=Site 1/cn=Recipients"),
    (validators.domain_root, "DC=acme,dc=example", "DC=acme,dc=example"),
    (validators.server_name, "NT_SERVER-1", "NT_SERVER-1"),
    (validators.unix_path, "/etc/postfix-out", "/etc/postfix-out"),
    (validators.user, "ops", "ops"),
    (validators.clock, "07:05", "07:05"),
    (validators.time_zone, "Europe/Berlin", "Europe/Berlin"),
    (validators.line, 'Müller & Söhne "GmbH" 100 %', 'Müller & Söhne "GmbH" 100 %'),
]

BAD: list[tuple[Word, str, str]] = [
    (validators.name, "Acme", "a letter a-z"),
    (validators.name, "-acme", "a letter a-z"),
    (validators.name, "acme.example", "a letter a-z"),
    (validators.name, "a" * 32, "up to 30"),
    (validators.name, "../x", "a letter a-z"),
    (validators.name, "acme\n", "a letter a-z"),
    (domains.ascii_form, "acme", "single label"),
    (domains.ascii_form, "", "single label"),
    (domains.ascii_form, "acme.example.", "empty label"),
    (domains.ascii_form, "acme..example", "empty label"),
    (domains.ascii_form, "-acme.example", "no - at its ends"),
    (domains.ascii_form, "ac me.example", "must be up to 63"),
    (domains.ascii_form, "*.acme.example", "must be up to 63"),
    (domains.ascii_form, "acme.example\n", "must be up to 63"),
    (domains.ascii_form, "acme.example OK\nother.example", "must be up to 63"),
    (domains.ascii_form, f"{'a' * 64}.example", "up to 63"),
    (domains.ascii_form, ".".join(["a" * 60] * 5), "longer than 253"),
    (domains.ascii_form, "203.0.113.25", "ends in a number"),
    (domains.ascii_form, "acme。example", "single label"),
    (domains.ascii_form, "\uff41cme.example", "no domain has"),  # a full-width a
    (domains.ascii_form, "ac\u200dme.example", "no domain has"),  # a joiner nobody sees
    (domains.ascii_form, "\u0301cme.example", "no domain has"),  # begins with a mark
    (domains.ascii_form, "xn--zzzzzz99999.example", "stands for nothing"),
    (domains.ascii_form, "xn--acme-.example", "no - at its ends"),
    (validators.recipient, "joe", "not an address"),
    (validators.recipient, "@acme.example", "local part"),
    (validators.recipient, '""@acme.example', "local part"),
    (validators.recipient, "*@acme.example", "local part"),
    (validators.recipient, "Joe <joe@acme.example", "local part"),
    (validators.recipient, 'joe"x@acme.example', "local part"),
    (validators.recipient, "joe,x@acme.example", "local part"),
    (validators.recipient, "joe@home@acme.example", "local part"),
    (validators.recipient, f"{'j' * 316}@acme.example", "more than 315"),
    (validators.recipient, "joe\u2028x@acme.example", "control character U\\+2028"),
    (validators.recipient, "joe@acme", "single label"),
    (validators.pattern, "*", "leave nobody"),
    (validators.pattern, "*@*.*", "leave nobody"),
    (validators.pattern, "# all", "comment"),
    (validators.pattern, " joe", "blanks"),
    (validators.pattern, "joe\nann", "control character U\\+000A"),
    (validators.pattern, "", "empty"),
    (validators.host, "mx1:22", "own key"),
    (validators.host, "-oProxyCommand=x", "host name"),
    (validators.host, "mx1 mx2", "host name"),
    (validators.host, "fe80::1%eth0", "host name"),
    (validators.host, "mx1\n", "host name"),
    (validators.host_port, "mx1.provider.example:0", "1 to 65535"),
    (validators.host_port, "mx1.provider.example:65536", "1 to 65535"),
    (validators.host_port, "mx1.provider.example:", "1 to 65535"),
    (validators.host_port, "mx1.provider.example:٢٢", "1 to 65535"),
    (validators.host_port, "[2001:db8::1", "must be written"),
    (validators.host_port, "[mx1.provider.example]:22", "must be written"),
    (validators.host_port, "mx1", "full name"),
    (validators.host_port, "mx1.example & del *.*", "host name"),
    (validators.next_hop, "[203.0.113.25]:25", "must read relay:"),
    (validators.next_hop, "203.0.113.25", "must read relay:"),
    (validators.next_hop, "relay:[203.0.113.25]:99999", "1 to 65535"),
    (validators.next_hop, "relay:[203.0.113.25]\nacme.example discard:", "must read relay:"),
    (validators.next_hop, "MX", 'or "mx"'),
    (validators.next_hop, "discard:[203.0.113.25]", "delivers nothing"),
    (validators.next_hop, "error:acme.example", "delivers nothing"),
    (validators.next_hop, "relay:[a b]", "host name"),
    (validators.key_from, "198.51.100.7/24", "host bits"),
    (validators.key_from, "0.0.0.0/0", "say 'any'"),
    (validators.key_from, "::/0", "say 'any'"),
    (validators.key_from, "*", "an address or a network"),
    (validators.key_from, "server.acme.example", "an address or a network"),
    (validators.key_from, "!198.51.100.7", "negated"),
    (validators.key_from, '198.51.100.7",command="sh', "an address or a network"),
    (validators.key_from, "198.51.100.7,10.0.0.1", "an address or a network"),
    (validators.key_from, "::ffff:198.51.100.7", "sshd sees"),
    (validators.key_from, "fe80::1%eth0", "sshd sees"),
    (validators.key_from, "Any", "an address or a network"),
    (validators.windows_path, "D:/exchsrvr", "not /"),
    (validators.windows_path, r"\\server\share", "a drive and folders"),
    (validators.windows_path, "exchsrvr", "a drive and folders"),
    (validators.windows_path, "D:\\", "a drive and folders"),
    (validators.windows_path, "D:\temp", "single quotes"),
    (validators.windows_path, r"D:\%TEMP%", "a drive and folders"),
    (validators.windows_path, r"D:\a&del", "a drive and folders"),
    (validators.windows_path, 'D:\\a" "b', "a drive and folders"),
    (validators.windows_path, r"D:\a^b", "a drive and folders"),
    (validators.windows_path, "D:\\a\r\ndel x", "control character U\\+000D"),
    (validators.windows_path, "D:\\müll", "a drive and folders"),
    (validators.windows_path, r"D:\..\winnt", "something else"),
    (validators.windows_path, r"D:\userexport.", "something else"),
    (validators.windows_path, "D:\\userexport \\x", "something else"),
    (validators.windows_path, r"D:\con", "something else"),
    (validators.windows_path, r"D:\userexport\NUL.txt", "something else"),
    (validators.plain_windows_path, r"C:\Program Files", "no blanks"),
    (validators.plain_windows_path, r"C:\a(b)", "no brackets"),
    (validators.base_point, "o=Acme", "/o="),
    (validators.base_point, "/o=Acme;x", 'no ; " %'),
    (validators.base_point, "/o=Acme\n[Import]", "control character"),
    (validators.base_point, "/o=Müller", "ASCII"),
    (validators.base_point, "/o=Acme ", "no blanks"),
    (validators.domain_root, "OU=Users,DC=acme,DC=example", "root of a domain"),
    (validators.domain_root, "acme.example", "as DC=acme,DC=example"),
    (validators.domain_root, "DC=acme, DC=example", "root of a domain"),
    (validators.domain_root, 'DC=acme" -i', "root of a domain"),
    (validators.domain_root, "", "root of a domain"),
    (
        validators.domain_root,
        "DC=\u212aunden,DC=example",
        "root of a domain",
    ),  # Kelvin, a K where case is ignored
    (validators.domain_root, "DC=acme,DC=te\u017ft", "root of a domain"),  # the long s
    (validators.server_name, "NT SERVER", "server's name"),
    (validators.server_name, "NTSERVER\n/i x", "server's name"),
    (validators.server_name, "", "server's name"),
    (validators.unix_path, "etc/postfix", "absolute"),
    (validators.unix_path, "/etc/../root", "without \\.\\."),
    (validators.unix_path, "/etc/post fix", "absolute"),
    (validators.unix_path, "/etc/$(id)", "absolute"),
    (validators.unix_path, "/", "absolute"),
    (validators.user, "-l", "login name"),
    (validators.user, "root;id", "login name"),
    (validators.clock, "7:00", "two digits"),
    (validators.clock, "24:00", "23:59"),
    (validators.clock, "07:60", "23:59"),
    (validators.clock, "0\u0667:00", "23:59"),
    (validators.time_zone, "Europe/Berln", "did you mean 'Europe/Berlin'"),
    (validators.time_zone, "/etc/passwd", "no time zone"),
    (validators.time_zone, "../../../etc/passwd", "no time zone"),
    (validators.time_zone, "Europe", "no time zone"),
    (validators.time_zone, "", "no time zone"),
    (validators.line, "  ", "empty"),
    (validators.line, "a\x1b[31mb", "control character U\\+001B"),
    (validators.line, "a\u202eb", "control character U\\+202E"),
    (validators.line, "a\x85b", "control character U\\+0085"),
]


@pytest.mark.parametrize(("word", "written", "meant"), GOOD)
def test_a_good_value_comes_out_in_its_one_form(word: Word, written: str, meant: str) -> None:
    assert word(written) == meant


@pytest.mark.parametrize(("word", "written", "meant"), GOOD)
def test_the_one_form_of_a_value_stays_as_it_is(word: Word, written: str, meant: str) -> None:
    assert word(meant) == meant


@pytest.mark.parametrize(("word", "written", "why"), BAD)
def test_a_value_its_format_cannot_carry_is_refused_with_the_reason(word: Word, written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        word(written)


def test_an_a_label_and_its_u_label_are_one_domain_in_two_forms() -> None:
    assert domains.unicode_form("xn--mller-kva.example") == "müller.example"
    assert domains.unicode_form("xn--strae-oqa.example") == "straße.example"


def test_a_u_label_that_postfix_folds_into_another_is_no_form_for_its_tables() -> None:
    assert domains.table_form("xn--mller-kva.example") == "müller.example"
    assert domains.table_form("acme.example") is None
    for folded in ("straße.example", "βόλος.example", "ǰ.example"):
        assert domains.table_form(domains.ascii_form(folded)) is None


def test_a_domain_in_plain_letters_has_one_form() -> None:
    assert domains.unicode_form("acme.example") is None


def test_an_a_label_that_stands_for_no_domain_name_is_kept_without_a_second_form() -> None:
    assert domains.ascii_form("xn--i-7iq.example") == "xn--i-7iq.example"  # i and a heart
    assert domains.unicode_form("xn--i-7iq.example") is None


@pytest.mark.parametrize(
    ("written", "chosen"),
    [
        ("MON-FRI", ("MON", "TUE", "WED", "THU", "FRI")),
        ("fri-mon", ("MON", "FRI", "SAT", "SUN")),
        ("SUN, MON", ("MON", "SUN")),
        (["MON-WED", "WED", "SAT"], ("MON", "TUE", "WED", "SAT")),
        ("SUN-SUN", ("SUN",)),
    ],
)
def test_days_are_written_as_ranges_or_lists_and_come_out_in_the_week_s_order(
    written: object, chosen: tuple[str, ...]
) -> None:
    assert validators.days(written) == chosen


@pytest.mark.parametrize("written", ["", "MON-", "MONDAY", "MON..FRI", [], ["MON", 2], 5, None])
def test_days_that_are_none_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="day"):
        validators.days(written)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("mx.example", ("mx.example", None)),
        ("mx.example:24", ("mx.example", 24)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:24", ("2001:db8::1", 24)),
    ],
)
def test_a_host_and_its_port_are_told_apart(written: str, parts: tuple[str, int | None]) -> None:
    assert validators.host_and_port(written) == parts


def test_a_word_gets_the_choice_it_is_nearest_to_or_none() -> None:
    assert validators.near("acmee", ["acme", "bolt"]) == "; did you mean 'acme'?"
    assert validators.near("zzz", ["acme", "bolt"]) == ""


@pytest.mark.parametrize(("label", "labels", "has_both"), [(52, 4, False), (21, 3, True), (22, 3, False)])
def test_attack_a_domain_too_long_for_a_key_of_lmdb_has_no_second_form(label: int, labels: int, has_both: bool) -> None:
    written = ".".join(["\U00020000" * label] * labels)
    assert domains.unicode_form(domains.ascii_form(written)) == (written if has_both else None)
