"""The database that the tests of the store share: one for a module, emptied for each test that asks for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, relay, run_follow, upload


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use the database as slow: it takes seconds to start, and `./inv test --fast` installs none."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()) and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


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
    server.sql("TRUNCATE postern.heads, postern.lists, postern.lists_anew, postern.log, postern.gone, postern.relays")
    return server


@pytest.fixture
def one(tmp_path: Path, empty: Postgres) -> SmallRelay:
    """An upload relay whose list of a hundred is in the store."""
    made = relay(tmp_path / "one", empty)
    accept_first(made, people(100))
    assert upload(made, people(100)).did == "unchanged"
    return made


@pytest.fixture
def follower(tmp_path: Path, empty: Postgres, one: SmallRelay) -> SmallRelay:
    """A follower that has the same list."""
    made = relay(tmp_path / "follower", empty, uploads=False)
    assert not run_follow(made).why
    assert made.in_force() == set(people(100))
    return made
