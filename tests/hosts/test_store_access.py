"""What provision puts on a relay for the store: files that others cannot read, and a password that nobody prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce
from tests.inventory.test_provider import STORE

pytestmark = [pytest.mark.host, pytest.mark.story]

SECRET = "correct horse battery"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, AtOnce]]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        operator.customer()
        (operator.inventory / "store-ca.pem").write_text(AUTHORITY)
        (operator.inventory / "provider.toml").write_text(STORE)
        yield host, operator


def test_without_a_password_the_relay_is_left_as_it_is(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, operator = relay
    monkeypatch.delenv("POSTERN_STORE_WRITER", raising=False)
    assert "set POSTERN_STORE_WRITER in the environment" in operator.done("provision acme", code=2).err
    assert not (host.root / "etc/postern").exists()


def test_the_files_are_root_s_and_the_account_s_and_the_password_is_printed_nowhere(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, operator = relay
    monkeypatch.setenv("POSTERN_STORE_WRITER", SECRET)
    printed = operator.done("provision acme --full", code=2).text
    assert SECRET not in printed
    assert "acme: the store gives its changed settings no number: mx1: the store cannot be reached" in printed
    assert not (host.root / "etc/postern/customers/acme").exists()
    listed = host.run(
        "stat", "-c", "%n %a %U:%G", *_paths("store.json", "service.conf", "ca.pem", ".credential")
    ).stdout
    assert [line.rpartition("/")[2] for line in listed.splitlines()] == [
        "store.json 640 root:postern",
        "service.conf 640 root:postern",
        "ca.pem 640 root:postern",
        ".credential 600 root:root",
    ]
    service = (host.root / "etc/postern/store/service.conf").read_text().splitlines()
    assert {"host=db1.example,db2.example", "port=5432,5433", "dbname=postern", "user=postern_writer"} <= {*service}
    assert service[-1] == f"password={SECRET}"
    assert host.run("python3", "-c", "import psycopg2").returncode == 0


def test_a_second_run_needs_no_password(relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch) -> None:
    _, operator = relay
    monkeypatch.delenv("POSTERN_STORE_WRITER", raising=False)
    assert "POSTERN_STORE_WRITER" not in operator.done("provision acme", code=2).text


def test_another_password_replaces_the_one_that_is_there(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, operator = relay
    monkeypatch.setenv("POSTERN_STORE_WRITER", "another")
    operator.done("provision acme", code=2)
    assert "password=another\n" in (host.root / "etc/postern/store/service.conf").read_text()


def test_a_certificate_with_its_key_takes_the_place_of_the_password(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host, operator = relay
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    (tmp_path / "writer.pem").write_text(AUTHORITY + key)
    monkeypatch.setenv("POSTERN_STORE_WRITER_CERTIFICATE", str(tmp_path / "writer.pem"))
    assert "c2VjcmV0" not in operator.done("provision acme --full", code=2).text
    listed = host.run("stat", "-c", "%a %U:%G", *_paths("client.crt", "client.key")).stdout.splitlines()
    assert listed == ["640 root:postern", "640 root:postern"]
    folder = host.root / "etc/postern/store"
    assert ((folder / "client.crt").read_text(), (folder / "client.key").read_text()) == (AUTHORITY, key)
    service = (folder / "service.conf").read_text()
    assert "sslkey=/etc/postern/store/client.key\n" in service
    assert "password" not in service
    monkeypatch.delenv("POSTERN_STORE_WRITER_CERTIFICATE")
    monkeypatch.setenv("POSTERN_STORE_WRITER", "another")
    operator.done("provision acme", code=2)
    assert not (folder / "client.key").exists()
    assert "password=another\n" in (folder / "service.conf").read_text()


def test_a_key_file_that_libpq_could_not_use_is_refused(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, operator = relay
    (tmp_path / "writer.pem").write_text(AUTHORITY)
    monkeypatch.setenv("POSTERN_STORE_WRITER_CERTIFICATE", str(tmp_path / "writer.pem"))
    said = operator.done("provision acme", code=2).err
    assert "must hold a certificate and its key, not encrypted, both in PEM" in said


def test_a_relay_that_changes_its_role_needs_the_other_role_s_password(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, operator = relay
    monkeypatch.delenv("POSTERN_STORE_WRITER", raising=False)
    relays = operator.inventory / "relays.toml"
    before = relays.read_text()
    relays.write_text("")
    operator.relay("mx1", host, trusted=False, role="follower")
    operator.table("relays.toml#mx9", {"address": "127.77.99.99", "uploads": "mx9.example"})
    operator.customer(relays=["mx1", "mx9"])
    said = operator.run("provision acme --removing key:k1").err
    relays.write_text(before)
    operator.customer()
    assert "set POSTERN_STORE_READER in the environment" in said


def _paths(*names: str) -> list[str]:
    return [f"/etc/postern/store/{name}" for name in names]


HEAD = {"point": "a1" * 16, "list": "b2" * 32, "total": 20, "held": "", "frozen": "", "settings": 1}


def test_the_store_is_shown_beside_what_each_relay_has_and_where_they_differ(relay: tuple[LabHost, AtOnce]) -> None:
    host, operator = relay
    here = [{**HEAD, "point": "c3" * 16, "total": 21}]
    answer = {"code": 0, "reached": True, "why": "", "customers": {"acme": {"store": HEAD, "here": here}}}
    with _answering(host, answer):
        shown = operator.done("store", code=1).out
    assert [line.split("\t")[:5] for line in shown.splitlines()[1:]] == [
        ["acme", "(store)", "a1a1a1a1a1a1", "b2b2b2b2b2b2", "20"],
        ["", "mx1", "c3c3c3c3c3c3", "b2b2b2b2b2b2", "21"],
    ]


def test_a_store_that_is_not_reached_is_one_sentence(relay: tuple[LabHost, AtOnce]) -> None:
    host, operator = relay
    with _answering(host, {"code": 0, "reached": False, "why": "connection refused", "customers": {}}):
        assert "mx1: the store is not reached: connection refused" in operator.done("store", code=1).err


def test_who_would_be_forgotten_is_named_and_their_number_wanted(relay: tuple[LabHost, AtOnce]) -> None:
    host, operator = relay
    with _answering(host, {"code": 2, "why": "1 would go: --removing 1", "going": ["ann@acme.example"]}):
        ran = operator.done("store acme --forget mx1", code=2)
    assert "- ann@acme.example" in ran.out


@contextmanager
def _answering(host: LabHost, answer: dict[str, object]) -> Iterator[None]:
    """While the relay's `postern` answers this."""
    path = host.root / "usr/local/sbin/postern"
    kept = path.read_bytes()
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    yield
    path.write_bytes(kept)
