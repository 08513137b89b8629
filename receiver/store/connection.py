"""One connection to the store, on which every wait is bounded, and its transactions."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from common.paths import Places
from receiver.formatting import escape
from receiver.outcome import Busy, Failed
from receiver.store.resolve import Endpoint, resolve_hosts
from receiver.store.settings import SERVICE, StoreSettings, read_service
from receiver.store.watchdog import SECONDS, Watchdog

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
_DAMAGED = ("XX000", "XX001", "XX002", "58030", "58P01")  # a page, an index or a file cannot be read

Step = Callable[[str], None]
_Self = TypeVar("_Self", bound="Session")


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


class Session:
    """An open connection, which is ended when nothing moves on it, and its transactions."""

    def __init__(self, driver: Any, dsn: str, seconds: float) -> None:
        """Connect. Raises Unreached. `seconds`: without progress, after which it is ended."""
        self.driver = driver
        try:
            self.raw = driver.connect(dsn)
        except driver.Error as error:
            raise Unreached(f"the store cannot be reached: {_describe(error)}") from error
        self.raw.autocommit = True
        self._watchdog = Watchdog(self.raw.fileno(), seconds)

    def __enter__(self: _Self) -> _Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._watchdog.stop()
        with suppress(self.driver.Error):
            self.raw.close()

    @property
    def is_open(self) -> bool:
        """Return whether it has not been cut off."""
        return not self.raw.closed

    def ask(self, statement: Any, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. Raises the driver's errors."""
        with self._watchdog.time_answer(), self.raw.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction that is committed at the end. Raises Unreached, Locked, and Unclear for the COMMIT."""
        with self.translate_errors():
            self.begin("READ COMMITTED")
            try:
                yield
            except BaseException:
                self.roll_back()
                raise
        self._commit()

    def begin(self, level: str) -> None:
        """Begin a transaction in which nothing waits for ever. Raises the driver's errors."""
        self.ask(_BEGIN.format(level))

    def roll_back(self) -> None:
        """End the transaction without a change, also where the connection is lost."""
        with suppress(self.driver.Error):
            self.ask("ROLLBACK")

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn the driver's errors into Unreached and Locked."""
        try:
            yield
        except self.driver.Error as error:
            if error.pgcode == _LOCKED:
                raise Locked("another relay is writing there") from error
            if error.pgcode in _DAMAGED:
                raise Unreached(f"the database cannot read what is on its disk: {_describe(error)}") from error
            raise Unreached(f"the store does not answer as it should: {self._explain(error)}") from error

    def _commit(self) -> None:
        del self.raw.notices[:]
        try:
            with self._watchdog.time_answer(), self.raw.cursor() as cursor:
                cursor.execute("COMMIT")
                said = " ".join(self.raw.notices) or ("" if cursor.statusmessage == "COMMIT" else "rolled back")
        except self.driver.Error as error:
            raise Unclear(f"it is unclear whether the store took it: {self._explain(error)}") from error
        if said:
            raise Unclear(f"it is unclear whether the store took it: {escape(said.strip())}")

    def _explain(self, error: Exception) -> str:
        silent = self._watchdog.silent_for
        return f"nothing came for {silent:g} s, and the connection was ended" if silent else _describe(error)


def connect_as_owner(url: str, places: Places, seconds: float = SECONDS) -> Session:
    """Connect with an owner's url, for migrating. Raises Unreached."""
    driver = load_driver()
    _clean_environment()
    try:
        fields = importlib.import_module("psycopg2.extensions").parse_dsn(url)
        if "hostaddr" not in fields:
            ends = resolve_hosts(fields.get("host", ""), fields.get("port", ""), places)
            fields.update(zip(("host", "hostaddr", "port"), (",".join(each) for each in zip(*ends))))
        if "," in fields.get("host", ""):
            fields.setdefault("target_session_attrs", "primary")
        fields.update(each.split("=") for each in _BOUNDS.split())
        return Session(driver, " ".join(f"{name}={_quote(value)}" for name, value in fields.items()), seconds)
    except (driver.Error, Failed) as error:
        raise Unreached(f"the store cannot be reached: {_describe(error)}") from error


class Connection(Session):
    """A connection to the store as the role that provision gave this relay."""

    def __init__(self, places: Places, settings: StoreSettings, step: Step, seconds: float = SECONDS) -> None:
        """Connect. Raises Unreached, BadSettings. `step` is called between any two steps."""
        self.settings, self.step = settings, step
        self.damaged: set[str] = set()  # tables of which something could not be read or written
        driver, service = load_driver(), read_service(places)
        try:
            ends = resolve_hosts(service["host"], service.get("port", ""), places)
        except Failed as error:
            raise Unreached(f"the store cannot be reached: {error}") from error
        _clean_environment()
        os.environ["PGSERVICEFILE"] = os.path.join(places.store, "service.conf")
        super().__init__(driver, _dsn(ends, settings.has_pooler), seconds)
        step("connected")

    def ask_anyway(self, table: str, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]] | None:
        """Run one statement on a table, its {}; return None, and note the table, where the disk has damaged it.

        The transaction goes on then. Raises the driver's other errors.
        """
        try:
            return self.ask("SAVEPOINT anyway; " + statement.format(f"postern.{table}"), values)
        except self.driver.Error as error:
            if error.pgcode not in _DAMAGED:
                raise
        self.ask("ROLLBACK TO SAVEPOINT anyway")
        self.damaged.add(table)
        return None

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Run a transaction that sees one moment and writes nothing. Raises Unreached."""
        with self.translate_errors():
            self.begin("REPEATABLE READ READ ONLY")
            try:
                self._check_store()
                yield
            finally:
                self.roll_back()

    @contextmanager
    def write_transaction(self) -> Iterator[None]:
        """Run a transaction that is committed at the end. Raises Unreached, Locked, and Unclear for the COMMIT."""
        with self.transaction():
            self._check_store()
            yield
            self.step("before-commit")
        self.step("after-commit")

    def _check_store(self) -> None:
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


def _dsn(ends: Sequence[Endpoint], has_pooler: bool) -> str:
    hosts, addresses, ports = (",".join(each) for each in zip(*ends))
    primary = "" if has_pooler else " target_session_attrs=primary"
    return f"service={SERVICE} host={hosts} hostaddr={addresses} port={ports} {_BOUNDS}{primary}"


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _clean_environment() -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _describe(error: Exception) -> str:
    return escape(" ".join(str(error).split()) or type(error).__name__, 300)
