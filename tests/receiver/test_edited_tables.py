"""A table with few changes is edited in a copy: it then holds what a table built anew would hold."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from lab.host import LabHost
from receiver.tables.line_diff import diff_lines
from receiver.tables.postmap import _FEW as FEW
from tests.support.built_relay import HostRelay
from tests.support.dice import seeds
from tests.support.releases import releases

MakeHost = Callable[..., LabHost]
LOGGED = '#!/bin/sh\necho "$*" >> /var/tmp/postmap.log\nexec /usr/sbin/postmap.real "$@"\n'


def text(lines: set[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in sorted(lines))


def removed_and_added(before: set[bytes], after: set[bytes]) -> tuple[set[bytes], set[bytes]]:
    gone, come = diff_lines(text(before), text(after))
    assert (gone, come) == (sorted(gone), sorted(come))
    return {line[:-1] for line in gone}, {line[:-1] for line in come}


@pytest.mark.parametrize("seed", seeds(60))
def test_two_texts_differ_by_what_sets_say(seed: int) -> None:
    dice = random.Random(seed)
    alphabet = [b"a", b"aa", b"aaa" * 200, b"ab", b"b" * dice.randrange(1, 600)]
    known = [b".".join(dice.choices(alphabet, k=dice.randrange(1, 4))) for _ in range(dice.randrange(1, 400))]
    before = set(dice.sample(known, dice.randrange(len(known))))
    after = before ^ set(dice.choices(known, k=dice.choice((0, 1, 3, 100))))
    assert removed_and_added(before, after) == (before - after, after - before)


@pytest.mark.parametrize(("before", "after"), [("", ""), ("a", ""), ("", "a"), ("a", "b"), ("b", "a"), ("ab", "abc")])
def test_texts_that_are_empty_or_all_different_are_compared_too(before: str, after: str) -> None:
    one, other = ({bytes([code]) for code in letters.encode()} for letters in (before, after))
    assert removed_and_added(one, other) == (one - other, other - one)


# ---- on lab hosts


def logged(relay: HostRelay) -> list[str]:
    """Return how postmap has been called since the last call of this."""
    log = relay.host.root / "var/tmp/postmap.log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.write_text("")
    return [line for line in lines if "exchange_recipients" in line]


def watched(host: LabHost, kind: str) -> HostRelay:
    """A relay whose postmap logs how it is called."""
    host.run("mv", "/usr/sbin/postmap", "/usr/sbin/postmap.real")
    (host.root / "usr/sbin/postmap").write_text(LOGGED)
    (host.root / "usr/sbin/postmap").chmod(0o755)
    return HostRelay(host, kind)


def held(relay: HostRelay, kind: str) -> set[str]:
    """Return all that the built table holds, as Postfix' own postmap lists it."""
    dump = relay.host.run("postmap.real", "-s", f"{kind}:/etc/postern/tables/exchange_recipients").stdout
    return {line.replace("\t", " ") for line in dump.splitlines()}


@pytest.mark.host
@pytest.mark.parametrize(
    ("release", "kind"),
    releases(("bullseye", "hash"), ("bookworm", "lmdb"), ("bookworm", "hash"), ("trixie", "btree")),
)
def test_after_many_small_changes_a_table_holds_just_what_its_text_says(
    lab_host: MakeHost, release: str, kind: str
) -> None:
    relay, dice = watched(lab_host(release), kind), random.Random(7)
    names = [f"user{number}" for number in range(3000)] + ['"a b"', "o'neil", "jörg", "x" * 60]
    listed = set(dice.sample(names, 1500))
    relay.tree("acme")
    relay.upload("acme", *(f"{name}@acme.example" for name in listed))
    relay.build()
    assert not [line for line in logged(relay) if "-i" in line.split()]
    for _ in range(8):
        listed ^= set(dice.sample(names, dice.choice((1, 2, 90))))
        relay.upload("acme", *(f"{name}@acme.example" for name in listed))
        assert relay.build().stdout == ""
        assert {"-i", "-d"} & {word for line in logged(relay) for word in line.split()}
        assert held(relay, kind) == set(relay.text())
        assert len(relay.text()) == len(listed) + 1  # and postmaster
    assert relay.build("--check").stdout == ""


@pytest.mark.host
def test_a_table_in_which_much_changed_is_built_anew(bookworm: LabHost) -> None:
    relay = watched(bookworm, "hash")
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    logged(relay)
    relay.upload("acme", "ann@acme.example", *(f"user{number}@acme.example" for number in range(FEW + 1)))
    relay.build()
    assert not [line for line in logged(relay) if {"-i", "-d"} & set(line.split())]
    assert held(relay, "hash") == set(relay.text())


@pytest.mark.host
@pytest.mark.parametrize("what", ["exchange_recipients.db", "exchange_recipients"])
def test_a_table_that_somebody_touched_is_not_edited_but_built_anew(bookworm: LabHost, what: str) -> None:
    relay = watched(bookworm, "hash")
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    logged(relay)
    if what.endswith(".db"):
        relay.host.run(
            "postmap.real", "-i", "hash:/etc/postern/tables/exchange_recipients", stdin=b"foe@acme.example OK\n"
        )
    else:
        (relay.tables / what).write_text("ann@acme.example OK\nfoe@acme.example OK\n")
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    relay.build()
    assert not [line for line in logged(relay) if {"-i", "-d"} & set(line.split())]
    assert held(relay, "hash") == set(relay.text())
    assert relay.closed("ann@acme.example", "bob@acme.example")
    assert not relay.finds("foe@acme.example")


@pytest.mark.host
@pytest.mark.parametrize("fault", ["exit 1", "exit 0", 'echo "postmap: warning: odd" >&2'])
def test_where_a_table_cannot_be_edited_it_is_built_anew(bookworm: LabHost, fault: str) -> None:
    relay = watched(bookworm, "hash")
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example", "cy@acme.example")
    relay.build()
    faulty = LOGGED.replace("exec", f'case " $* " in *" -i "*|*" -d "*) {fault}; exit ;; esac\nexec')
    (relay.host.root / "usr/sbin/postmap").write_text(faulty)
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    relay.build()
    assert held(relay, "hash") == set(relay.text())
    assert relay.closed("ann@acme.example", "bob@acme.example")
    assert not relay.finds("cy@acme.example")
