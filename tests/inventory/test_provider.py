"""provider.toml and followers: a database that is verified, no password in git, no follower without a store."""

from __future__ import annotations

from pathlib import Path

import pytest

import inventory
from inventory import Inventory, InventoryError
from roles import customer_host as customer_role
from roles import relay as relay_role
from tests.inventory.test_inventory import ACME, HOST_KEY, RELAYS

FOLLOWER = '[mx3]\naddress = "10.0.0.3"\nrole = "follower"\n'
URL = "postgresql://db1.example,db2.example:5433/postern?sslmode=verify-full&sslrootcert=store-ca.pem"
STORE = f'[store]\nurl = "{URL}"\nid = "store-of-the-provider"\n'


def load(
    where: Path, provider: str | None = STORE, relays: str = RELAYS + FOLLOWER, on: str = '"mx1", "mx3"'
) -> Inventory:
    (where / "customers").mkdir()
    (where / "relays.toml").write_text(RELAYS + FOLLOWER)
    (where / "customers/acme.toml").write_text(ACME.replace('"mx1"', on))
    (where / "store-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    if provider is not None:
        (where / "provider.toml").write_text(provider)
    return inventory.load(where)


def test_a_follower_is_one_of_a_customer_s_relays_and_takes_no_uploads(tmp_path: Path) -> None:
    found = load(tmp_path)
    acme = found.customers["acme"]
    assert (acme.relays, acme.upload_relays) == (("mx1", "mx3"), ("mx1",))
    assert found.store
    assert (found.store.writer, found.store.authority_file) == ("postern_writer", "store-ca.pem")


def test_no_key_opens_a_follower_and_no_kit_names_it(tmp_path: Path) -> None:
    found = load(tmp_path)
    key = inventory.Key("k1", HOST_KEY)
    acme = found.customers["acme"].model_copy(update={"keys": (key,)})
    lines = {
        name: next(
            item.wanted["files"]["authorized_keys"]
            for item in relay_role.items(found.relays[name], [acme], None)
            if item.kind == "tree" and item.about == "acme" and item.wanted
        )
        for name in acme.relays
    }
    assert "postern-receive acme k1" in lines["mx1"]
    assert lines["mx3"] == ""
    relays = [found.relays[name].model_copy(update={"host_keys": (HOST_KEY,)}) for name in acme.upload_relays]
    kit = "".join(str(item.wanted) for item in customer_role.items(acme, relays))
    assert "mx1.provider.example" in kit
    assert "10.0.0.3" not in kit


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        (None, "relays.toml: mx3.role: 'follower' takes its lists from a store: provider.toml lacks [store]"),
        ("", "provider.toml lacks [store]"),
        (STORE.replace("db1", "postern:secret@db1"), "must name no user and no password: this file is in git"),
        (STORE.replace("verify-full", "require"), "must have sslmode=verify-full"),
        (STORE.replace("sslmode=verify-full&", ""), "must have sslmode=verify-full"),
        (STORE.replace("store-ca.pem", "system"), "must have sslrootcert=FILE"),
        (STORE.replace("&sslrootcert=store-ca.pem", ""), "must have sslrootcert=FILE"),
        (STORE.replace("store-ca.pem", "lost.pem"), "store.url: sslrootcert=lost.pem: No such file or directory"),
        (STORE.replace("store-ca.pem", "relays.toml"), "sslrootcert=relays.toml: holds no certificate in PEM"),
        (STORE.replace("db1", "2001:db8::5"), "has '2001:db8::5.example', which is no HOST or HOST:PORT"),
        (STORE.replace("postgresql://", "postgresql://%2Fvar%2Frun%2Fpostgresql,"), "a socket's directory cannot be"),
        (STORE.replace("postgresql://", "mysql://"), "must be postgresql://HOST"),
        (STORE.replace("verify-full&", "verify-full&password=secret&"), "has 'password', which is not for it to say"),
        (STORE.replace("store-of-the-provider", "short"), "provider.toml: store.id"),
        (STORE + 'password = "secret"\n', "provider.toml: store.password: no such key"),
    ],
)
def test_a_store_that_is_not_verified_or_holds_a_secret_is_refused(
    tmp_path: Path, provider: str | None, fault: str
) -> None:
    with pytest.raises(InventoryError) as raised:
        load(tmp_path, provider)
    assert fault in str(raised.value)
    assert "secret" not in str(raised.value)


def test_hosts_of_a_store_are_read_as_libpq_reads_them(tmp_path: Path) -> None:
    url = URL.replace("postgresql://", "postgresql://[2001:db8::5]:5433,[2001:db8::6],db2:5434,")
    relay = load(tmp_path, STORE.replace(URL, url)).relays["mx1"]
    assert relay.store is not None
    assert (
        "host=2001:db8::5,2001:db8::6,db2,db1.example,db2.example\nport=5433,5432,5434,5432,5433\n"
        in relay.store.service
    )


def test_a_customer_on_followers_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="names followers alone"):
        load(tmp_path, on='"mx3"')
