"""The store's tables and its two roles. Migrations only add, may be repeated, and give up soon where they must wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from receiver.outcome import Refused
from receiver.store.connection import FORMAT, Session
from receiver.store.rows import LISTS

_TABLES = {
    "store": "id text NOT NULL, format int NOT NULL, only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)",
    "heads": "customer text PRIMARY KEY, head text NOT NULL, digest text NOT NULL, "
    "updated timestamptz NOT NULL DEFAULT clock_timestamp()",
    **dict.fromkeys(
        LISTS,
        "customer text, hash text, part int, body bytea NOT NULL, digest text NOT NULL, "
        "PRIMARY KEY (customer, hash, part)",
    ),
    "log": "customer text, point text, n bigserial, hash text NOT NULL, entry text NOT NULL, "
    "PRIMARY KEY (customer, point)",
    "gone": "customer text, address text, happened bigint NOT NULL, entry text NOT NULL, by_person boolean NOT NULL, "
    "PRIMARY KEY (customer, address)",
    "relays": "name text PRIMARY KEY, role text NOT NULL, release text NOT NULL, seen timestamptz NOT NULL",
}
_SHORT = "CHECK (length(name) <= 100 AND length(role) <= 100 AND length(release) <= 100)"  # a follower may write it
_IDLE = "15min"  # after which a connection of a role is ended that asks nothing; a pooler's own end sooner
_WRITER = {
    "store": "SELECT, INSERT",
    "heads": "SELECT, INSERT, UPDATE",
    **dict.fromkeys(LISTS, "SELECT, INSERT, UPDATE, DELETE"),
    "log": "SELECT, INSERT",
    "gone": "SELECT, INSERT, UPDATE, DELETE",
    "relays": "SELECT, INSERT, UPDATE",
}
_READER = {**dict.fromkeys(_TABLES, "SELECT"), "relays": "SELECT, INSERT, UPDATE"}


class Role(NamedTuple):
    """A role that relays connect as."""

    name: str
    password: str  # empty: it logs in by a certificate
    limit: int  # connections at once: stuck writers must not lock followers out

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Role:
        """Read it from JSON. Raises Refused."""
        role = cls(fields.get("name", ""), fields.get("password", ""), fields.get("limit", 50))
        if not (role.name and isinstance(role.name, str) and isinstance(role.password, str)):
            raise Refused("a role needs a name, and a password unless it logs in by a certificate")
        if not (isinstance(role.limit, int) and role.limit > 0):
            raise Refused("the limit of a role is a number of connections")
        return role


def migrate(session: Session, store: str, writer: Role, reader: Role) -> list[str]:
    """Make what is missing, as the owner; return it in words. Raises Unreached, Unclear; Refused for another store."""
    with session.transaction():
        made = [*_make_tables(session), *_write_id(session, store)]
        _bound_heartbeats(session)
        _revoke_temporary(session)
        for role, rights in ((writer, _WRITER), (reader, _READER)):
            made += _make_role(session, role, rights)
    return made


def _make_tables(session: Session) -> list[str]:
    found = session.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = 'postern'")
    known = {row[0] for row in found}
    session.ask("CREATE SCHEMA IF NOT EXISTS postern")
    for name, columns in _TABLES.items():
        session.ask(f"CREATE TABLE IF NOT EXISTS postern.{name} ({columns})")
    hidden = "SELECT relname FROM pg_class WHERE relnamespace = 'postern'::regnamespace AND relrowsecurity"
    for (name,) in session.ask(hidden):  # with it a role may see an empty table, and no error
        session.ask(f"ALTER TABLE postern.{name} DISABLE ROW LEVEL SECURITY")
    return [f"table {name}" for name in _TABLES if name not in known]


def _bound_heartbeats(session: Session) -> None:
    """Bound what a heartbeat may hold; rows of before stay as they are."""
    if not session.ask(
        "SELECT 1 FROM pg_constraint WHERE conrelid = 'postern.relays'::regclass AND conname = 'relays_are_short'"
    ):
        session.ask(f"ALTER TABLE postern.relays ADD CONSTRAINT relays_are_short {_SHORT} NOT VALID")


def _revoke_temporary(session: Session) -> None:
    """Revoke the right to temporary tables from every role but the owner.

    They fill the disk, and PUBLIC has it by default.
    """
    from psycopg2 import sql

    owned = "SELECT datname FROM pg_database WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')"
    for (name,) in session.ask(owned):
        session.ask(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def _write_id(session: Session, store: str) -> list[str]:
    rows = session.ask("SELECT id, format FROM postern.store")
    if not rows:
        session.ask("INSERT INTO postern.store (id, format) VALUES (%s, %s)", (store, FORMAT))
        return [f"id {store}"]
    if rows[0][0] != store:
        raise Refused(f"this database holds another store: its id is {rows[0][0]}")
    if rows[0][1] > FORMAT:
        raise Refused("this store is of a newer release's format")
    return []


def _make_role(session: Session, role: Role, rights: Mapping[str, str]) -> list[str]:
    """Make a role or correct it; the password goes to the server as a SCRAM verifier, so that no log shows it."""
    from psycopg2 import extensions, sql

    is_new = not session.ask("SELECT 1 FROM pg_roles WHERE rolname = %s", (role.name,))
    name = sql.Identifier(role.name)
    if is_new:
        session.ask(sql.SQL("CREATE ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE").format(name))
    secret = None
    if role.password:
        secret = extensions.encrypt_password(role.password, role.name, session.raw, "scram-sha-256")
    alter = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT {}")
    session.ask(alter.format(name, sql.Literal(secret), sql.Literal(role.limit)))
    if session.raw.server_version >= 140_000:  # before that there is no such setting
        session.ask(sql.SQL("ALTER ROLE {} SET idle_session_timeout = {}").format(name, sql.Literal(_IDLE)))
    session.ask(sql.SQL("GRANT USAGE ON SCHEMA postern TO {}").format(name))
    for table, words in rights.items():
        session.ask(sql.SQL(f"GRANT {words} ON postern.{table} TO {{}}").format(name))
    if "INSERT" in rights["log"]:
        session.ask(sql.SQL("GRANT USAGE ON SEQUENCE postern.log_n_seq TO {}").format(name))
    return [f"role {role.name}"] if is_new else []
