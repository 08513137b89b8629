"""A database that requires certificates accepts a relay with the files that provision writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.store.schema import Role
from remote import store_files
from tests.support import postgres
from tests.support.postgres import WRITER, Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server that takes nothing but a certificate from the writer."""
    made = Postgres()
    with (made.data / "postgresql.conf").open("a") as file:
        file.write(f"ssl_ca_file = '{made.folder}/ca.pem'\n")
    rules = "hostssl all writer 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    (made.data / "pg_hba.conf").write_text(rules)
    made.stop()
    made.start()
    made.migrate(writer=Role(WRITER.name, "", WRITER.limit))
    yield made
    made.remove()


def test_a_relay_logs_in_with_the_certificate_and_the_key_of_mode_0640(server: Postgres, tmp_path: Path) -> None:
    one = relay(tmp_path / "one", server)
    assert "connection requires a valid client certificate" in run_follow(one).why
    use_certificate(one, (server.folder / "client.pem").read_text())
    accept_first(one, people(10))
    assert run_follow(one).why == ""
    assert upload(one, people(11)).did == "published"


def use_certificate(of: SmallRelay, sent: str) -> None:
    """Write what kind `store` writes of a certificate that was sent."""
    folder = of.places.store
    made = store_files._credential(folder, sent)
    for name, content in made.files.items():
        path = Path(folder) / name
        path.write_text(content)
        path.chmod(0o640)
        assert path.stat().st_uid == os.geteuid()
    service = Path(folder) / "service.conf"
    lines = [line for line in service.read_text().splitlines(keepends=True) if not line.startswith("password=")]
    service.write_text("".join(lines) + made.lines)
