"""What is said of the customers' ends of one run."""

from __future__ import annotations

from pathlib import Path

import pytest

import inventory
from console.grouping import Sentence
from console.options import ProvisionOptions
from customer_host import customer_host, provision_end
from customer_host.provision_end import EndResult, KeyUsage
from inventory.model import Customer

HOST_KEY = f"ssh-ed25519 {'A' * 68}"
UNSEEN = KeyUsage(frozenset(), frozenset(), ())


def customers(*names: str) -> list[Customer]:
    demo = inventory.find(inventory.load(Path(inventory.__file__).parent), "demo")
    return [demo.model_copy(update={"id": name}) for name in names]


def provision(*names: str, dry_run: bool = False) -> list[EndResult]:
    everything = inventory.load(Path(inventory.__file__).parent)
    pinned = {one.name: one.model_copy(update={"host_keys": (HOST_KEY,)}) for one in everything.relays.values()}
    everything = everything._replace(relays=pinned)
    options, known = ProvisionOptions(dry_run=dry_run), dict.fromkeys(names, UNSEEN)
    return provision_end.provision_ends(everything, customers(*names), known, options, customer_host.connect)


def test_whoever_stops_it_reads_which_kits_have_been_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run finds nothing to change in them, so nobody else says that they must be carried and committed."""

    def write(_: object, customer: Customer, *__: object) -> EndResult:
        if customer.id == "cork":
            raise KeyboardInterrupt
        return EndResult(0, (Sentence(customer.id, "carry it"),), is_changed=True)

    monkeypatch.setattr(provision_end, "_provision_end", write)
    with pytest.raises(KeyboardInterrupt):
        provision("acme", "bolt", "cork", "dent")
    assert capsys.readouterr().out == "acme, bolt: carry it\n"


def test_a_customer_without_a_key_has_no_kit_that_could_be_unchanged() -> None:
    assert [one.is_there for one in provision("acme")] == [False]
    assert [one.is_there for one in provision("acme", dry_run=True)] == [True]
