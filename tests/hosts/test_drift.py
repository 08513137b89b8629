"""What somebody changed on a relay by hand, or in another checkout, is found, named, and put right or refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import keys
from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers, export

pytestmark = pytest.mark.host

DOMAINS = ["acme.example", "acme.co.example", "acme.net.example"]
NOTHING = "mx1: nothing to change (1 connection, 1 remote command)"
TREE = "/etc/postern/customers/acme"
OWN_KEYS = "/var/lib/postern/.ssh/authorized_keys"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay with a customer who has no list; each test leaves it as it was."""
    with provisioned(tmp_path_factory.mktemp("operator")) as made:
        yield made
        assert made[1].done("provision acme").out.startswith(NOTHING)


@pytest.fixture
def own_relay(tmp_path: Path) -> Iterator[tuple[LabHost, Operator]]:
    """One for a test that uploads."""
    with provisioned(tmp_path / "operator") as made:
        yield made


@contextmanager
def provisioned(folder: Path) -> Iterator[tuple[LabHost, Operator]]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(folder)
        operator.relay("mx1", host)
        operator.customer("acme", domains=DOMAINS)
        operator.done("provision acme")
        yield host, operator


HANDS = {
    "a file": ("echo '* * * * * root true' >> /etc/cron.d/postern", "  -* * * * * root true"),
    "a mode": ("chmod 0666 /etc/sudoers.d/postern", "  mode of /etc/sudoers.d/postern: 0666 -> 0440"),
    "a file that went": ("rm /usr/local/bin/parse-exchange-users", "  --- /dev/null"),
    "the receiver": ("echo 'import os' >> /usr/local/lib/postern/receiver/forced_command.py", "  -import os"),
    "a setting": (f"sed -i 's/: 10.0/: 100.0/' {TREE}/settings.json", '  -  "shrink_percent": 100.0,'),
    "a domain that went": (f"sed -i /co.example/d {TREE}/relay_domains", "  +acme.co.example OK"),
    "a shell for the account": (
        "usermod --shell /bin/bash postern",
        "  change account postern: shell /bin/bash -> /bin/sh",
    ),
    "a key line in the account's own file": (f"echo 'ssh-ed25519 AAAA mallory' >> {OWN_KEYS}", f"{OWN_KEYS}"),
    "a table": ("echo 'all@acme.example OK' > /etc/postern/tables/exchange_recipients", "exchange_recipients"),
    "main.cf": ("postconf -e relay_recipient_maps=", "  - relay_recipient_maps = "),
}


def test_what_hands_changed_is_found_named_in_the_plan_and_put_right(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    for hand, _ in HANDS.values():
        host.run("sh", "-c", hand)
    dry = operator.done("provision acme --dry-run --full", code=6)
    assert [thing for thing, (_, named) in HANDS.items() if named not in dry.out] == []
    run = operator.done("provision acme --full")
    assert run.out.startswith(dry.out.partition("acme: kit")[0])
    assert operator.done("provision acme --dry-run").out.startswith(NOTHING)


def test_attack_a_key_line_put_into_a_customers_tree_is_named_and_goes_only_when_that_is_said(
    relay: tuple[LabHost, Operator],
) -> None:
    """It might as well be a colleague's, from a newer checkout: nothing is removed by leaving it out."""
    host, operator = relay
    mine = keys.admin_key().with_suffix(".pub").read_text().strip()
    line = f'restrict,command="/usr/local/sbin/postern-receive acme mallory" {mine} acme mallory'
    host.run("sh", "-c", f"cat >> {TREE}/authorized_keys", stdin=f"{line}\n".encode())
    for words in ("provision acme --dry-run --diff", "provision acme --diff"):
        ran = operator.done(words, code=2)
        assert "  removes key:mallory\n" in ran.out
        help_ = "If that is meant: `inv provision` with --removing key:mallory"
        assert f"mx1: would remove key:mallory; nothing is done. {help_}" in ran.err
        assert f"  -{line}" in ran.out
    ran = operator.done("provision acme --removing key:malory", code=2)
    assert "--removing key:malory: no plan here would remove that; did you mean 'key:mallory'?" in ran.err
    assert "mallory" in host.run("cat", f"{TREE}/authorized_keys").stdout

    operator.done("provision acme --removing key:mallory")
    assert "mallory" not in host.run("cat", f"{TREE}/authorized_keys", OWN_KEYS).stdout


def test_a_domain_left_out_of_the_inventory_goes_only_when_that_is_said(
    relay: tuple[LabHost, Operator],
) -> None:
    host, operator = relay
    operator.customer("acme", domains=DOMAINS[:2])
    ran = operator.done("provision acme", code=2)
    assert "mx1: would remove domain:acme.net.example, route:acme.net.example; nothing is done" in ran.err
    assert answers(host, "x@acme.net.example") == {"x@acme.net.example": "250"}
    operator.done("provision acme --removing domain:acme.net.example")
    assert "acme.net.example" not in host.run("postmap", "-s", "hash:/etc/postern/tables/relay_domains").stdout


def test_a_lost_key_folder_stops_the_run_before_the_key_in_use_is_replaced_by_one_of_the_same_name(
    own_relay: tuple[LabHost, Operator], tmp_path: Path
) -> None:
    """So does a checkout that never saw the key, and two that made the first key at once."""
    _, operator = own_relay
    assert operator.upload(export("bob")).code == 3
    shutil.move(operator.inventory / "keys", tmp_path / "keys")
    for words in ("provision acme --dry-run", "provision acme"):
        assert "mx1: would remove key:k1; nothing is done" in operator.done(words, code=2).err
        assert operator.public_keys() == []
    assert operator.upload(export("bob")).code == 3

    operator.done("provision acme --removing key:k1")
    assert operator.public_keys() == ["k2"]  # k1 has been seen in use: its name is not given again
    assert (operator.kits / "acme" / "exchupdate-k2.ppk").exists()
    assert operator.upload(export("bob")).code == 3


def test_a_domain_is_closed_to_mailboxes_elsewhere_and_an_address_let_go_only_when_that_is_said(
    own_relay: tuple[LabHost, Operator], tmp_path: Path
) -> None:
    """An older checkout, which knows neither yet, must not have mail refused."""
    host, operator = own_relay
    domains = DOMAINS
    operator.customer("acme", domains=domains, partial=domains[1:2], include=[f"helpdesk@{domains[0]}"])
    operator.done("provision acme")
    (tmp_path / "export.txt").write_bytes(export("carl", f"eve@{domains[1]}"))
    operator.done(f"sync acme --export-file {tmp_path / 'export.txt'}", code=3)
    operator.accept("acme", "--first 2")
    asked = [f"elsewhere@{domains[1]}", f"helpdesk@{domains[0]}"]
    operator.customer("acme", domains=domains)
    lost = f"partial:{domains[1]}, include:helpdesk@{domains[0]}"
    assert f"mx1: would remove {lost}; nothing is done" in operator.done("provision acme", code=2).err
    assert set(answers(host, *asked).values()) == {"250"}
    operator.done(f"provision acme --removing partial:{domains[1]} --removing include:helpdesk@{domains[0]}")
    assert set(answers(host, *asked).values()) == {"550"}
