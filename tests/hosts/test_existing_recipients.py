"""Whom a relay takes by lists that somebody else keeps, read on relays as they are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.items import Item
from deploy.relay_host import RelayHost
from fleet.existing_lists import unite
from lab.host import LabHost
from lab.operators import OUTSIDE
from tests.support.found_relays import NAMES, FoundRelay, become, fingerprint

pytestmark = pytest.mark.host

FORMS = {"acme.example": "acme.example"}


@pytest.fixture(scope="module")
def relay() -> Iterator[LabHost]:
    with LabHost("bookworm") as host:
        yield host


@pytest.fixture
def ssh(relay: LabHost, operator_home: object) -> Iterator[RelayHost]:
    host = RelayHost("mx1", relay.address, host_keys=relay.host_keys, lock="/etc/postern")
    with host:
        yield host


def read(ssh: RelayHost) -> dict[str, Any]:
    (found,) = ssh.read([Item("existing", "/etc/postfix", {"forms": FORMS, "seconds": 60, "texts": []})])
    return dict(found or {})


@pytest.mark.parametrize("name", NAMES)
def test_a_found_relay_is_read_as_it_answers_and_stays_as_it_is(relay: LabHost, ssh: RelayHost, name: str) -> None:
    case = FoundRelay.read(name)
    become(relay, name)
    before = fingerprint(relay)
    replies = {address: relay.ask(address, from_address=OUTSIDE)[:3] for address in case.want["before"]}
    assert replies == {address: str(code) for address, code in case.want["before"].items()}
    found = read(ssh)
    if not case.want["refuses"]:
        assert case.lists <= {*found["taken"]} <= case.lists | {*case.want.get("either", ())}
    assert fingerprint(relay) == before


MILLION = "seq 1000000 | sed 's/.*/user&@bolt.example OK/' >many; echo 'joe@acme.example OK' >>many; postmap hash:many"
ONE = "echo 'joe@acme.example OK' >one; postmap hash:one; "
BROKEN = {
    "gone": (f"{ONE} rm one.db", "hash:/etc/postfix/one", "put off", "one"),
    "empty": (f"{ONE} : >one.db", "hash:/etc/postfix/one", "put off", "one"),
    "of another type than is built": (ONE, "lmdb:/etc/postfix/one", "put off", "one"),
    "of keys twice": ("printf 'A@a x\\na@a x\\n' >one", "texthash:/etc/postfix/one", "put off", "one"),
    "not to be listed": ("echo '/^joe@acme/ OK' >one", "regexp:/etc/postfix/one", "closed", ""),
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, marks=[] if one in ("gone", "not to be listed") else pytest.mark.long) for one in BROKEN],
)
def test_a_table_without_a_whole_answer_is_named_and_no_list_is_read_of_it(
    relay: LabHost, ssh: RelayHost, fault: str
) -> None:
    prepare, table, state, named = BROKEN[fault]
    become(relay, "3-source-newer-than-the-table")
    relay.run("sh", "-ec", f"cd /etc/postfix; {prepare}")
    relay.run("postconf", "-e", f"relay_recipient_maps = {table}")
    relay.reload_postfix()
    found = read(ssh)
    standing = found["domains"]["acme.example"]
    assert (standing["state"], found["taken"]) == (state, [])
    assert named in " ".join(standing["tables"])
    assert unite({"mx1": found}).reasons


@pytest.mark.long
def test_a_table_of_a_million_keys_is_read_for_one_customer(relay: LabHost, ssh: RelayHost) -> None:
    become(relay, "3-source-newer-than-the-table")
    relay.run("sh", "-ec", f"cd /etc/postfix; {MILLION}")
    relay.run("postconf", "-e", "relay_recipient_maps = hash:/etc/postfix/many")
    relay.reload_postfix()
    found = read(ssh)
    assert found["taken"] == ["joe@acme.example"]
    assert found["tables"][0]["elsewhere"] == {"bolt.example": 1_000_000}


def test_a_list_that_stands_in_master_cf_alone_is_seen(relay: LabHost, ssh: RelayHost) -> None:
    become(relay, "3-source-newer-than-the-table")
    relay.run("postconf", "-e", "relay_recipient_maps =")
    relay.run("postconf", "-P", "smtp/inet/relay_recipient_maps=hash:$config_directory/relay_recipients")
    relay.reload_postfix()
    found = read(ssh)
    assert found["taken"] == ["joe@acme.example", "leaver@acme.example"]
