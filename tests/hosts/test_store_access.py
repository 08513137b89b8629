"""What provision puts on a relay for the store: files that others cannot read, and a password that nobody prints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.host import LabHost
from lab.operators import AtOnce
from tests.inventory.test_provider import STORE

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("store_access")]  # each test goes on from the one before

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
    assert SECRET not in operator.done("provision acme --full").text
    listed = host.run("stat", "-c", "%n %a %U:%G", *_paths("store.json", "service.conf", "ca.pem", ".password")).stdout
    assert [line.rpartition("/")[2] for line in listed.splitlines()] == [
        "store.json 640 root:postern",
        "service.conf 640 root:postern",
        "ca.pem 640 root:postern",
        ".password 600 root:root",
    ]
    service = (host.root / "etc/postern/store/service.conf").read_text().splitlines()
    assert {"host=db1.example,db2.example", "port=5432,5433", "dbname=postern", "user=postern_writer"} <= {*service}
    assert service[-1] == f"password={SECRET}"
    assert host.run("python3", "-c", "import psycopg2").returncode == 0


def test_a_second_run_needs_no_password_and_changes_nothing(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, operator = relay
    monkeypatch.delenv("POSTERN_STORE_WRITER", raising=False)
    assert "nothing to change" in operator.done("provision acme").out


def test_another_password_replaces_the_one_that_is_there(
    relay: tuple[LabHost, AtOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, operator = relay
    monkeypatch.setenv("POSTERN_STORE_WRITER", "another")
    operator.done("provision acme")
    assert "password=another\n" in (host.root / "etc/postern/store/service.conf").read_text()


def _paths(*names: str) -> list[str]:
    return [f"/etc/postern/store/{name}" for name in names]
