"""rebuild-relay-recips on lab hosts, with Postfix's own postmap."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.main_cf_params import OTHERS, RECIPIENTS, our_members
from common.paths import LIBRARY
from lab.host import LabHost
from tests.support.built_relay import DAY, ROUTE, HostRelay, key_line
from tests.support.releases import releases
from tests.support.tiers import every_nth

pytestmark = pytest.mark.host
MakeHost = Callable[..., LabHost]
BUILT = ("exchange_recipients", "relay_domains", "transport")


@pytest.fixture
def relay(bookworm: LabHost) -> HostRelay:
    return HostRelay(bookworm)


def stamps(relay: HostRelay) -> dict[str, int]:
    """What changes when a table is put in force anew."""
    return {name: path.stat().st_ino for name in (*BUILT, "others") for path in relay.tables.glob(f"{name}*")}


@pytest.mark.parametrize(
    ("release", "kind"),
    releases(("bullseye", "hash"), ("bookworm", "lmdb"), ("bookworm", "hash"), ("trixie", "btree"), ("forky", "cdb")),
)
def test_every_release_and_type_builds_what_its_postfix_finds(lab_host: MakeHost, release: str, kind: str) -> None:
    relay = HostRelay(lab_host(release), kind)
    relay.tree("acme", "acme.example", "xn--mller-kva.example", unicode={"xn--mller-kva.example": "müller.example"})
    relay.tree("bolt")
    relay.upload("acme", "ann@acme.example", "jörg@xn--mller-kva.example", '"a b"@acme.example', "o'neil@acme.example")
    assert relay.build("--check").stdout
    assert relay.build().stdout == ""
    assert relay.build("--check").stdout == ""
    assert relay.closed("ann@acme.example", '"a b"@acme.example', "o'neil@acme.example", "Postmaster@ACME.example")
    assert relay.closed("JÖRG@MÜLLER.example", "jörg@xn--mller-kva.example", domain="müller.example")
    assert relay.finds("@bolt.example") == "OK"
    assert relay.finds("bolt.example", "transport") == ROUTE
    assert relay.finds("müller.example", "relay_domains") == "OK"
    assert relay.finds("other.example", "relay_domains") == ""


def test_a_second_run_builds_nothing_and_a_changed_list_builds_its_table_alone(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    first = stamps(relay)
    relay.build()
    assert stamps(relay) == first
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    assert relay.build("--check").stdout.splitlines() == [
        "/etc/postern/tables/exchange_recipients does not say what its sources say"
    ]
    relay.build()
    changed = {name for name, inode in stamps(relay).items() if first[name] != inode}
    assert changed == {"exchange_recipients"}
    assert relay.closed("ann@acme.example", "bob@acme.example")


def test_an_older_list_that_comes_back_is_built_though_its_file_is_older(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.upload("acme", "bob@acme.example")
    os.utime(relay.folder("acme") / "recipients", (1_000_000_000, 1_000_000_000))
    relay.build()
    assert relay.closed("bob@acme.example")
    assert not relay.finds("ann@acme.example")


MEDDLING: dict[str, str] = {
    "a table built over by hand": "cd /tmp && echo 'x@y OK' > exchange_recipients &&"
    " postmap hash:exchange_recipients && cat exchange_recipients.db > /etc/postern/tables/exchange_recipients.db",
    "a text edited by hand": "echo 'x@y OK' >> /etc/postern/tables/relay_domains",
    "others edited by hand": "echo '/./ OK' > /etc/postern/tables/others",
    "a table that went": "rm /etc/postern/tables/transport.db",
    "a text that went": "rm /etc/postern/tables/exchange_recipients",
    "a mode that keeps Postfix out": "chmod 600 /etc/postern/tables/exchange_recipients.db",
    "an owner other than root": "chown postern /etc/postern/tables/relay_domains.db",
    "no record": "rm /etc/postern/tables/built.json",
    "a record that is damaged": 'echo \'{"postern": 1, "tables": 3}\' > /etc/postern/tables/built.json',
    "a key added": "echo 'ssh-ed25519 AAAA mallory' >> /var/lib/postern/.ssh/authorized_keys",
    "a spool that went": "rm -r /var/lib/postern/customers/bolt",
    "a spool that is root's": "chown root /var/lib/postern/customers/acme",
    "a home that is the account's": "chown postern /var/lib/postern",
    "a directory of keys that others may write": "chmod 777 /var/lib/postern/.ssh",
    "copies anybody may read": "chmod 755 /etc/postern/tables/good",
}


@pytest.mark.parametrize("what", every_nth(MEDDLING, 3))
def test_what_was_changed_by_hand_is_named_and_put_right(relay: HostRelay, what: str) -> None:
    relay.tree("acme")
    relay.tree("bolt")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.host.run("sh", "-c", MEDDLING[what])
    assert relay.build("--check").stdout
    relay.build()
    assert relay.build("--check").stdout == ""
    assert relay.closed("ann@acme.example")


def test_uploads_that_come_while_a_build_runs_share_the_next(relay: HostRelay) -> None:
    for number in range(6):
        relay.tree(f"c{number}")
        relay.upload(f"c{number}", f"ann@c{number}.example")
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: relay.build(check=False), range(6)))
    assert {each.returncode for each in done} == {0}
    assert relay.build("--check").stdout == ""
    assert not list(relay.tables.glob(".build-*"))


def test_one_customers_damaged_list_is_told_and_the_others_are_built(relay: HostRelay) -> None:
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    relay.build()
    relay.put("acme", "recipients", b"ann@acme.example\nnot an address\n")
    relay.upload("bolt", "ann@bolt.example", "bob@bolt.example")
    done = relay.build()
    assert done.stdout == "acme: recipients, line 2: 'not an address' is no address\n"
    assert relay.closed("ann@acme.example")
    assert relay.closed("ann@bolt.example", "bob@bolt.example", domain="bolt.example")
    assert relay.build("--check").stdout == ""
    assert relay.build().stdout == done.stdout


def test_a_tree_that_is_lost_with_roots_copy_of_it_takes_no_domain_away(relay: HostRelay) -> None:
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    relay.build()
    domains, routes = relay.text("relay_domains"), relay.text("transport")
    (relay.etc / "customers/acme/settings.json").write_text("{")
    (relay.tables / "good/acme/tree.json").unlink()
    done = relay.build()
    assert done.stdout.startswith("acme: ")
    assert done.stdout.endswith("; root has no copy of its tree: its domains that are in the tables stay there, open\n")
    assert (relay.text("relay_domains"), relay.text("transport")) == (domains, routes)
    assert relay.finds("@acme.example") == "OK"
    assert relay.closed("ann@bolt.example", domain="bolt.example")
    assert relay.build("--check").stdout == ""
    relay.tree("acme")
    assert relay.build().stdout == ""
    assert relay.closed("ann@acme.example")


def test_roots_copy_follows_every_good_list_and_grows_old_like_one(relay: HostRelay) -> None:
    relay.tree("acme")
    for address in ("ann@acme.example", "bob@acme.example"):
        relay.upload("acme", address, age_days=29.99)
        relay.build()
    relay.put("acme", "recipients", b"damaged")
    relay.build()
    assert relay.closed("bob@acme.example")
    copied = relay.tables / "good/acme/accepted.json"
    copied.write_text(copied.read_text().replace(str(json.loads(copied.read_text())["domains"]["acme.example"]), "1"))
    relay.build()
    assert relay.finds("@acme.example") == "OK"


def test_a_domain_opens_by_time_alone(relay: HostRelay) -> None:
    relay.tree("acme")
    for seconds in (4, 16, 64, 256):  # as many as a busy machine needs to see it closed before
        opens = time.time() + seconds
        relay.upload("acme", "ann@acme.example", age_days=30 - seconds / DAY)
        relay.build()
        is_closed = relay.closed("ann@acme.example")
        if time.time() < opens - 1:
            break
    assert is_closed
    time.sleep(max(0, opens + 1 - time.time()))
    assert "exchange_recipients" in relay.build("--check").stdout
    relay.build()
    assert relay.finds("@acme.example") == "OK"
    assert relay.finds("ann@acme.example") == "OK"


def test_the_last_customer_that_goes_leaves_nothing_but_what_is_retired(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.leaves("acme")
    assert "customers/acme is of no customer" in relay.build("--check").stdout
    relay.build()
    assert [relay.text(name) for name in (*BUILT, "others")] == [[], [], [], ["/./ OK"]]
    assert not relay.finds("ann@acme.example")
    assert not (relay.tables / "good/acme").exists()
    assert len(relay.retired()) == 1
    assert key_line("acme") not in (relay.var / ".ssh/authorized_keys").read_text()
    assert relay.build("--check").stdout == ""


def test_a_customer_that_comes_back_does_not_find_its_old_list(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.leaves("acme")
    relay.build()
    relay.tree("acme")
    relay.build()
    assert relay.text() == ["@acme.example OK", "postmaster@acme.example OK"]


# ---- smtpd, without a reload


def answers(relay: HostRelay, *recipients: str) -> list[str]:
    return [relay.host.ask(recipient)[:3] for recipient in recipients]


def with_postfix(relay: HostRelay, **parameters: str) -> None:
    name_tables(relay, **parameters)
    relay.host.start_postfix()


def name_tables(relay: HostRelay, **parameters: str) -> None:
    tables = {
        "relay_recipient_maps": ", ".join((*our_members(RECIPIENTS, "hash"), OTHERS)),
        "relay_domains": "hand.example, hash:/etc/postern/tables/relay_domains",
        "transport_maps": "hash:/etc/postern/tables/transport",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        **parameters,
    }
    relay.host.run("postconf", "-e", *(f"{name} = {value}" for name, value in tables.items()))


def test_a_running_smtpd_sees_domains_come_and_go_without_a_reload(relay: HostRelay) -> None:
    """hand.example is also in the hand-kept list, so what it answers before and after us is decided by `others`."""
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    with_postfix(relay)
    asked = ("ann@acme.example", "nobody@acme.example", "any@hand.example", "any@else.example")
    assert answers(relay, *asked) == ["250", "550", "250", "554"]
    relay.tree("hand")
    relay.upload("hand", "ann@hand.example")
    relay.build()
    assert answers(relay, *asked, "ann@hand.example") == ["250", "550", "550", "554", "250"]
    relay.leaves("hand")
    relay.build()
    assert answers(relay, *asked) == ["250", "550", "250", "554"]


def test_a_postfix_that_names_none_of_the_tables_yet_is_not_reloaded_for_them(relay: HostRelay) -> None:
    relay.host.start_postfix()
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    name_tables(relay)
    relay.host.reload_postfix()
    relay.tree("bolt")
    relay.build()
    assert relay.host.log("reload --").count("reload -- version") == 2, "by hand, and by the second build"


def test_others_that_was_edited_by_hand_is_seen_put_right_by_a_running_smtpd(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.host.run("sh", "-c", "echo '/./ OK' > /etc/postern/tables/others")
    with_postfix(relay)
    assert answers(relay, "nobody@acme.example") == ["250"]
    relay.build()
    assert answers(relay, "nobody@acme.example") == ["550"]


def test_others_knows_our_domains_in_both_forms_and_any_case_and_no_others(relay: HostRelay) -> None:
    relay.tree("acme", "xn--mller-kva.example", unicode={"xn--mller-kva.example": "müller.example"})
    relay.build()
    others = "regexp:/etc/postern/tables/others"
    ours = ("x@müller.example", "x@MÜLLER.EXAMPLE", "x@XN--Mller-kva.example")
    foreign = ("x@muller.example", "x@a.müller.example", "x@müllerxexample")
    found = [relay.host.run("postmap", "-q", key, others, check=False).stdout for key in (*ours, *foreign)]
    assert found == ["", "", "", "OK\n", "OK\n", "OK\n"]
    relay.tree("bolt", *(f"d{number}.example" for number in range(250)))
    relay.build()
    more = [f"x@{name}.example" for name in ("d0", "d99", "D100", "d249", "d250", "d9.x")]
    found = [relay.host.run("postmap", "-q", key, others, check=False).stdout for key in (*ours, *foreign, *more)]
    assert found == [*[""] * 3, *["OK\n"] * 3, *[""] * 4, *["OK\n"] * 2]


def test_while_tables_are_rebuilt_no_listed_address_is_ever_refused(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.tree("bolt")
    relay.upload("acme", "ann@acme.example")
    relay.upload("bolt", "ann@bolt.example")
    relay.build()
    with_postfix(relay)
    seen = set()
    for number in range(6):
        relay.upload("bolt", "ann@bolt.example", *(f"u{number}x{each}@bolt.example" for each in range(3000)))
        (relay.leaves if number % 2 else relay.tree)("third")
        with ThreadPoolExecutor(1) as pool:
            building = pool.submit(relay.build)
            while not building.done():
                seen.update(answers(relay, "ann@acme.example", "ann@bolt.example"))
            building.result()
    assert seen == {"250"}


# ---- what can go wrong


def test_a_killed_build_leaves_tables_that_go_together_and_the_next_run_finishes(relay: HostRelay) -> None:
    """Killed at sixteen moments, while one domain comes and one goes in each build."""
    chance = random.Random(7)
    relay.tree("stays")
    relay.upload("stays", *(f"u{number}@stays.example" for number in range(20_000)))
    relay.build()
    start = time.monotonic()
    relay.tree("d0")
    relay.build()
    whole = time.monotonic() - start
    killed, number = 0, 0
    while killed < 16:
        number += 1
        relay.leaves(f"d{number - 1}")
        relay.tree(f"d{number}")
        relay.upload("stays", *(f"u{each}@stays.example" for each in range(20_000)), f"new{number}@stays.example")
        if kill_after(relay, chance.uniform(0.1, 1) * whole):
            killed += 1
        else:
            whole *= 0.9  # it was done before: the machine has become quicker
        ours = relay.host.run("postmap", "-s", "hash:/etc/postern/tables/relay_domains").stdout.split()[::2]
        for domain in ours:
            assert relay.finds(domain, "transport") == ROUTE
            assert relay.finds(f"@{domain}") == "OK" or domain == "stays.example"
        assert relay.finds("u1@stays.example") == "OK"
        assert "stays.example" in ours
        if number % 5 == 0:
            relay.build()
            assert relay.build("--check").stdout == ""
            assert relay.closed(f"new{number}@stays.example", domain="stays.example")
            assert not list(relay.tables.glob(".build-*"))


def kill_after(relay: HostRelay, seconds: float) -> bool:
    """Kill the program that builds, alone, as an operator or the kernel would."""
    script = f"/usr/local/sbin/rebuild-relay-recips & sleep {seconds:.3f}; kill -9 $! 2>/dev/null; wait $!; echo $?"
    return relay.host.run("bash", "-c", script).stdout.strip().endswith("137")


def test_a_full_disk_leaves_the_old_tables_and_the_next_run_goes_on(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.tables.mkdir()
    relay.host.tmpfs("/etc/postern/tables", "400k")
    relay.build()
    relay.upload("acme", *(f"u{number}@acme.example" for number in range(20_000)))
    done = relay.build(check=False)
    assert done.returncode == 4
    assert re.search(r"/tables: its disk has 0\.\d MB free; new tables need \d\.\d MB", done.stderr)
    assert relay.closed("ann@acme.example")
    assert relay.host.run("sh", "-c", "ls -A /etc/postern/tables | grep build-", check=False).stdout == ""
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    relay.build()
    assert relay.closed("bob@acme.example")


def test_attack_a_build_takes_no_room_that_mail_needs(relay: HostRelay) -> None:
    """Postfix answers 452 to all mail while its disk has less than one and a half of the largest message free."""
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.host.tmpfs("/var/spool/postfix", "30m")
    relay.host.run("mkdir", "/var/spool/postfix/tables")
    check = "import sys; sys.path.insert(0, '/usr/local/lib/postern'); from receiver.tables import disk_room\n"
    check += "disk_room.check('/var/spool/postfix/tables', [b'x' * int(sys.argv[1])], '/etc/postfix')"
    assert (
        "new tables need 0.1 MB, and mail keeps 30.6 MB"
        in relay.host.run("python3", "-c", check, "20000", check=False).stderr
    )
    relay.host.run("postconf", "message_size_limit = 5000000")
    relay.host.run("python3", "-c", check, "20000")
    assert "MB free" in relay.host.run("python3", "-c", check, "2000000", check=False).stderr


def test_a_type_that_postmap_cannot_build_is_refused_in_its_words(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.build()
    for kind, words in {"texthash": "texthash", "sqlite": "unsupported dictionary type"}.items():
        relay.kind(kind)
        done = relay.build(check=False)
        assert done.returncode == 4
        assert words in done.stderr
    relay.kind("hash")
    assert relay.build("--check").stdout == ""


def name_type(relay: HostRelay, kind: str) -> None:
    names = {"relay_recipient_maps": BUILT[0], "relay_domains": BUILT[1], "transport_maps": BUILT[2]}
    members = (f"{parameter} = {kind}:/etc/postern/tables/{name}" for parameter, name in names.items())
    relay.host.run("postconf", "-e", *members)


def test_another_type_is_built_beside_the_old_which_goes_when_main_cf_no_longer_names_it(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.build()
    name_type(relay, "hash")
    relay.kind("lmdb")
    assert "is not built as lmdb" in relay.build("--check").stdout
    relay.build()
    assert relay.build("--check").stdout == ""
    assert relay.finds("@acme.example", kind="hash") == relay.finds("@acme.example", kind="lmdb") == "OK"
    name_type(relay, "lmdb")
    assert relay.build("--check").stdout == ""
    relay.build()
    assert sorted(path.name for path in relay.tables.glob("*.*b")) == [f"{name}.lmdb" for name in sorted(BUILT)]


def test_while_main_cf_names_the_old_type_a_list_that_comes_is_in_the_tables_of_both(relay: HostRelay) -> None:
    """A change of type whose edit of main.cf was put back, or is not done yet: mail meets the old tables."""
    relay.tree("acme")
    relay.build()
    name_type(relay, "hash")
    relay.kind("lmdb")
    relay.build()
    relay.upload("acme", "ann@acme.example", "new@acme.example")
    relay.build()
    assert [relay.finds("new@acme.example", kind=kind) for kind in ("hash", "lmdb")] == ["OK", "OK"]
    assert relay.build("--check").stdout == ""
    name_type(relay, "lmdb")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    assert sorted(path.name for path in relay.tables.glob("*.*b")) == [f"{name}.lmdb" for name in sorted(BUILT)]


def test_a_main_cf_that_sets_something_twice_stops_no_build(relay: HostRelay) -> None:
    relay.tree("acme")
    with (relay.host.root / "etc/postfix/main.cf").open("a") as main_cf:
        main_cf.write("mynetworks = 127.0.0.0/8\nmynetworks = 127.0.0.0/8\n")
    assert "overriding earlier entry" in relay.host.run("postmap", "-q", "x", "static:OK").stderr
    relay.build()
    assert relay.finds("@acme.example") == "OK"


def test_a_broken_main_cf_leaves_the_tables_and_says_so(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.build()
    relay.tree("bolt")
    with (relay.host.root / "etc/postfix/main.cf").open("a") as main_cf:
        main_cf.write("smtputf8_enable = maybe\n")
    done = relay.build(check=False)
    assert done.returncode == 4
    assert "smtputf8_enable" in done.stderr
    assert relay.text("relay_domains") == ["acme.example OK"]


FAULTY_POSTMAP = {
    "loses a line and says nothing": 'sed -i 2d "$file"; exec postmap.real "$@"',
    "warns and ends 0": 'echo "postmap: warning: something is odd" >&2; exec postmap.real "$@"',
    "dies": "kill -9 $$",
    "builds nothing": "exit 0",
}


@pytest.mark.parametrize("how", FAULTY_POSTMAP)
def test_a_postmap_that_does_not_do_all_of_it_leaves_the_tables(relay: HostRelay, how: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    relay.host.run("mv", "/usr/sbin/postmap", "/usr/sbin/postmap.real")
    asked = 'case "$*" in *-q*) exec postmap.real "$@" ;; esac'
    script = f'#!/bin/sh\n{asked}\nfile="${{3#hash:}}"\n{FAULTY_POSTMAP[how]}\n'
    (relay.host.root / "usr/sbin/postmap").write_text(script)
    (relay.host.root / "usr/sbin/postmap").chmod(0o755)
    relay.upload("acme", "ann@acme.example", "bob@acme.example", "cy@acme.example")
    done = relay.build(check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("rebuild-relay-recips: ")
    assert relay.closed("ann@acme.example")
    assert not relay.finds("cy@acme.example")
    relay.host.run("mv", "/usr/sbin/postmap.real", "/usr/sbin/postmap")
    relay.build()
    assert relay.closed("ann@acme.example", "bob@acme.example", "cy@acme.example")


def test_trees_that_are_all_gone_change_nothing(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.build()
    relay.leaves("acme")
    (relay.etc / "customers").rmdir()
    done = relay.build(check=False)
    assert done.returncode == 4
    assert "/etc/postern/customers is gone" in done.stderr
    assert relay.finds("@acme.example") == "OK"
    assert relay.folder("acme").exists()


@pytest.mark.parametrize("arguments", [("--chekc",), ("--check", "acme"), ("acme",)])
def test_a_wrong_call_is_refused_and_explained(relay: HostRelay, arguments: tuple[str, ...]) -> None:
    done = relay.build(*arguments, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "rebuild-relay-recips: usage: rebuild-relay-recips [--check | --look-up | --main-cf | --adopted | --repair]\n",
    )


def test_only_root_builds(relay: HostRelay) -> None:
    done = relay.as_postern("/usr/local/sbin/rebuild-relay-recips")
    assert done.returncode == 2
    assert "sudo -n" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("rm /etc/postern/relay.json", "relay.json"),
        ("sed -i /postern/d /etc/passwd", "there is no account 'postern'"),
        ("rm -r /var/lib/postern; ln -s /tmp /var/lib/postern", "/var/lib/postern"),
    ],
)
def test_a_relay_that_is_not_provisioned_is_told_in_one_line(relay: HostRelay, spoil: str, words: str) -> None:
    relay.host.run("sh", "-c", spoil)
    done = relay.build(check=False)
    assert done.returncode == 4
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# Reads addresses, one a line, and prints those that our check lets pass, on that host's own Python.
OUR_CHECK = """
import sys
sys.path.insert(0, "/usr/local/lib/postern")
from receiver.tables import customer_recipients
for line in sys.stdin.buffer.read().splitlines(True):
    try:
        customer_recipients._lines(line)
        sys.stdout.buffer.write(line)
    except customer_recipients.Damaged:
        pass
"""
PLAIN = "abcxyz0189!#$%&'*+/=?^_`{|}~-."
ALPHABETS = ((0xA1, 0x24F), (0x370, 0x530), (0x10A0, 0x10FF), (0x1E00, 0x2000), (0x2C00, 0x2E00), (0xA640, 0xA7FF))
ODD = [
    chr(number) for start, end in (*ALPHABETS, (0x10400, 0x10D90), (0x1E900, 0x1E944)) for number in range(start, end)
]
ODD += ["\u200b", "\u00ad", "\ufeff", "\ue000", "\u0345", "\u212a", "\u017f", "\U0001fae0"]


def strange_address(chance: random.Random) -> str:
    letters = chance.choices(PLAIN, k=chance.randint(1, 8)) + chance.choices(ODD, k=chance.randint(0, 4))
    chance.shuffle(letters)
    name = "".join(letters).casefold()
    return f'"{name}, \\" \\\\"@acme.example' if chance.random() < 0.2 else f"{name}@acme.example"


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie", "forky"))
def test_postmap_takes_every_address_that_our_check_takes(lab_host: MakeHost, release: str) -> None:
    """What our check lets pass and postmap would not would stop the tables of all."""
    relay = HostRelay(lab_host(release), "lmdb")
    relay.tree("acme")
    chance = random.Random(release)
    lines = "".join(f"{address}\n" for address in sorted({strange_address(chance) for _ in range(8000)}))
    passed = relay.host.run("python3", "-X", "utf8", "-c", OUR_CHECK, stdin=lines.encode())
    taken = sorted(set(passed.stdout.split("\n")) - {""})
    assert len(taken) > 4000
    relay.upload("acme", *taken)
    assert relay.build().stdout == ""
    assert len(relay.text()) == len(taken) + 1


def test_root_makes_the_receiver_s_bytecode_once_where_the_account_cannot_write(relay: HostRelay) -> None:
    relay.tree("acme")
    relay.host.run("find", LIBRARY, "-name", "*.pyc", "-delete")
    relay.build()
    library = relay.host.root / "usr/local/lib/postern/receiver"
    sources = {path.relative_to(library) for path in library.rglob("*.py")}
    made = {path: path.stat() for path in library.rglob("*.pyc")}
    assert {path.parent.parent.relative_to(library) / f"{path.name.partition('.')[0]}.py" for path in made} == sources
    assert {(state.st_uid, state.st_mode & 0o777) for state in made.values()} == {(0, 0o644)}
    assert {(path.parent.stat().st_uid, path.parent.stat().st_mode & 0o777) for path in made} == {(0, 0o755)}
    relay.build()
    assert {path: path.stat().st_mtime_ns for path in made} == {path: made[path].st_mtime_ns for path in made}
