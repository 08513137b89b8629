"""The database that the tests of the store share: one for a module, emptied for each test that asks for that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.migrate()
        yield server
    finally:
        server.remove()


@pytest.fixture
def empty(server: Postgres) -> Postgres:
    server.sql("TRUNCATE postern.heads, postern.lists, postern.log, postern.gone, postern.relays")
    return server
