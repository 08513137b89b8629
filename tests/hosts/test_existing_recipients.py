"""Whom a relay takes by lists that somebody else keeps, read on relays as they are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.items import Item
from deploy.relay_host import RelayHost
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
