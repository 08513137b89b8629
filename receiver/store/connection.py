"""One connection to the store, on which nothing waits for ever, and its transactions."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from common.paths import Places
from receiver.formatting import escape
from receiver.outcome import Busy, Failed
from receiver.store.resolve import Endpoint, resolve_hosts
from receiver.store.settings import SERVICE, StoreSettings, read_service
from receiver.store.watchdog import SECONDS, Watchdog
from receiver.system import atomic_files

FORMAT = 1  # of the tables
_PACKAGES = ("/usr/lib/python3/dist-packages", "/usr/lib64/python3.9/site-packages")  # hidden by the launchers' -IS
_BOUNDS = "connect_timeout=4 tcp_user_timeout=10000 keepalives_idle=5 keepalives_interval=3 keepalives_count=3"
_BEGIN = "; ".join(
    (
        "BEGIN ISOLATION LEVEL {}",
        "SET LOCAL statement_timeout='10s'",
        "SET LOCAL lock_timeout='5s'",
        "SET LOCAL idle_in_transaction_session_timeout='15s'",
    )
)
_LOCKED = "55P03"  # lock_not_available

Step = Callable[[str], None]


class Unreached(Busy):
    """The store did not take part: it is down, not ours, empty, of a newer format, or refuses."""


class Locked(Unreached):
    """Another upload relay holds the customer's row."""


class Unclear(Busy):
    """A COMMIT of which nobody knows whether it happened."""


def load_driver() -> Any:
    """Return psycopg2, of the distribution. Raises Unreached where it is not installed."""
    added = [each for each in _PACKAGES if each not in sys.path]
    sys.path.extend(added)
    try:
        return importlib.import_module("psycopg2")
    except ImportError as error:
        raise Unreached(f"python3-psycopg2 is not installed ({error}); provision this relay again") from error
    finally:
        for each in added:
            sys.path.remove(each)


def open_with_url(url: str) -> Any:
    """Connect with an owner's url, for migrating. Raises Unreached."""
    driver = load_driver()
    _clean_environment()
    try:
        return driver.connect(f"{url}{'&' if '?' in url else '?'}connect_timeout=4")
    except driver.Error as error:
        raise Unreached(_describe(error)) from error


class Connection:
    """A connection as the role that provision gave this relay."""

    def __init__(self, places: Places, settings: StoreSettings, step: Step, seconds: float = SECONDS) -> None:
        """Connect. Raises Unreached, BadSettings. `step` is called between any two steps."""
        self.driver, self.settings, self.step = load_driver(), settings, step
        _clean_environment()
        os.environ["PGSERVICEFILE"] = os.path.join(places.store, "service.conf")
        service = read_service(places)
        run = atomic_files.open_directory(places.run)
        try:
            ends = resolve_hosts(service["host"], service.get("port", ""), run)
            self._connection = self.driver.connect(_dsn(ends, settings.has_pooler))
        except self.driver.Error as error:
            raise Unreached(f"the store cannot be reached: {_describe(error)}") from error
        except Failed as error:
            raise Unreached(f"the store cannot be reached: {error}") from error
        finally:
            os.close(run)
        self._connection.autocommit = True
        self._watchdog = Watchdog(self._connection.fileno(), seconds)
        step("connected")

    def __enter__(self) -> Connection:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._watchdog.stop()
        with suppress(self.driver.Error):
            self._connection.close()

    @property
    def is_open(self) -> bool:
        """Return whether it has not been cut off."""
        return not self._connection.closed

    def ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. Raises the driver's errors."""
        self._watchdog.note_progress()
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            self._watchdog.note_progress()
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def begin_reading(self) -> Iterator[None]:
        """Be in a transaction that sees one moment and writes nothing. Raises Unreached."""
        with self._failures():
            self._begin("REPEATABLE READ READ ONLY")
            try:
                yield
            finally:
                self._roll_back()

    @contextmanager
    def begin_writing(self) -> Iterator[None]:
        """Be in a transaction that is committed at the end. Raises Unreached, Locked, and Unclear for the COMMIT."""
        with self._failures():
            self._begin("READ COMMITTED")
            try:
                yield
                self.step("before-commit")
            except BaseException:
                self._roll_back()
                raise
        self._commit()
        self.step("after-commit")

    def _begin(self, level: str) -> None:
        self.ask(_BEGIN.format(level))
        is_standby = self.ask("SELECT pg_is_in_recovery()")[0][0]
        rows = self.ask("SELECT id, format FROM postern.store")
        if is_standby:
            raise Unreached("the store's host is a standby")
        if len(rows) != 1:
            raise Unreached("the store is empty: it has no id; `inv store --init` writes it")
        if rows[0][0] != self.settings.id:
            raise Unreached(f"it is another store: its id is {escape(str(rows[0][0]), 64)}")
        if rows[0][1] > FORMAT:
            raise Unreached("the store is of a newer release's format; provision this relay with that release")

    def _commit(self) -> None:
        del self._connection.notices[:]
        self._watchdog.note_progress()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("COMMIT")
                said = " ".join(self._connection.notices) or ("" if cursor.statusmessage == "COMMIT" else "rolled back")
        except self.driver.Error as error:
            raise Unclear(f"it is unclear whether the store took it: {_describe(error)}") from error
        if said:
            raise Unclear(f"it is unclear whether the store took it: {escape(said.strip())}")

    def _roll_back(self) -> None:
        with suppress(self.driver.Error):
            self.ask("ROLLBACK")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except self.driver.Error as error:
            if error.pgcode == _LOCKED:
                raise Locked("another relay is writing this customer's list") from error
            raise Unreached(f"the store does not answer as it should: {_describe(error)}") from error


def _dsn(ends: Sequence[Endpoint], has_pooler: bool) -> str:
    hosts, addresses, ports = (",".join(each) for each in zip(*ends))
    primary = "" if has_pooler else " target_session_attrs=primary"
    return f"service={SERVICE} host={hosts} hostaddr={addresses} port={ports} {_BOUNDS}{primary}"


def _clean_environment() -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _describe(error: Exception) -> str:
    return escape(" ".join(str(error).split()) or type(error).__name__, 300)
