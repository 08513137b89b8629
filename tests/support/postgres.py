"""A real PostgreSQL of this machine's Debian packages, in a temporary folder: stopped and restored at will."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.paths import Places
from lab.waiting import wait_until
from receiver.store.connection import Unreached, connect_as_owner, load_driver
from receiver.store.schema import Role, migrate
from tests.support.small_relay import SmallRelay

PACKAGES = ("postgresql", "python3-psycopg2")
OWNER, WRITER, READER = "owner", Role("writer", "w-secret", 50), Role("reader", "r-secret", 50)
STORE = "a-store-of-the-tests"
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
ssl = on
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
password_encryption = scram-sha-256
max_connections = 60
shared_buffers = 16MB
fsync = off
log_line_prefix = '%m %u '
"""

_ACCESS = "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl replication all 127.0.0.1/32 scram-sha-256\n"


@functools.cache
def missing() -> str | None:
    """The sentence that says why there can be no PostgreSQL here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a PostgreSQL of one's own needs root on Linux: initdb runs as account postgres"
    if not _programs().is_dir() or _driver_is_missing():
        return f"a PostgreSQL of one's own needs apt-get install {' '.join(PACKAGES)}"
    return None


def _driver_is_missing() -> bool:
    try:
        load_driver()
    except Unreached:
        return True
    return False


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path("/nowhere")


class Postgres:
    """One server in a folder of its own."""

    def __init__(self) -> None:
        """Make it, outside of pytest's own folder, which every run of pytest closes to other accounts."""
        self.port = free_port()
        self.folder = folder = Path(tempfile.mkdtemp(prefix="postern-postgres-"))
        shutil.chown(folder, "postgres", "postgres")
        self.data = folder / "data"
        write_certificates(folder)
        (folder / "password").write_text("o-secret\n")
        for path in folder.iterdir():
            shutil.chown(path, "postgres", "postgres")
        self.call(
            "initdb", "-D", str(self.data), "-U", OWNER, "-A", "scram-sha-256", f"--pwfile={folder}/password", "-N"
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(port=self.port, folder=folder))
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        self.start()

    @property
    def url(self) -> str:
        ca = f"sslmode=verify-full&sslrootcert={self.folder}/ca.pem"
        return f"postgresql://{OWNER}:o-secret@localhost:{self.port}/postgres?hostaddr=127.0.0.1&{ca}"

    def migrate(self, store: str = STORE, seconds: float = 20.0, writer: Role = WRITER) -> list[str]:
        """Make the store's tables, as `postern store migrate` does."""
        with connect_as_owner(self.url, Places(var=str(self.folder)), seconds) as session:
            return migrate(session, store, writer, READER)

    @contextmanager
    def clock(self, later: int) -> Iterator[None]:
        """While the database's clock is so many seconds ahead for the relays."""
        self.sql(
            "CREATE SCHEMA shifted; GRANT USAGE ON SCHEMA shifted TO PUBLIC; CREATE FUNCTION shifted.clock_timestamp() "
            "RETURNS timestamptz VOLATILE LANGUAGE sql AS "
            f"$$ SELECT pg_catalog.clock_timestamp() + interval '{later} seconds' $$"
        )
        for role in (WRITER, READER):
            self.sql(f"ALTER ROLE {role.name} SET search_path = shifted, pg_catalog")
        try:
            yield
        finally:
            for role in (WRITER, READER):
                self.sql(f"ALTER ROLE {role.name} RESET search_path")
            self.sql("DROP SCHEMA shifted CASCADE")

    @contextmanager
    def holding(self, statement: str) -> Iterator[None]:
        """While a transaction in which the owner has run a statement is open."""
        connection = load_driver().connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            yield
        finally:
            connection.close()

    def settle(self, role: str) -> None:
        """Wait until no connection of a role is left."""
        wait_until(lambda: not self.sql("SELECT 1 FROM pg_stat_activity WHERE usename = %s", (role,)))

    @contextmanager
    def stopped_backends(self, whose: str) -> Iterator[None]:
        """While the processes that serve a role answer nothing, though their connections stay."""
        pids = [pid for (pid,) in self.sql(f"SELECT pid FROM pg_stat_activity WHERE {whose}")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def start(self) -> None:
        log = str(self.folder / "log")
        self.call("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "120", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.call("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def sql(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as the owner."""
        connection = load_driver().connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def script(self, *statements: str) -> None:
        """Run statements as the owner, each outside of any transaction."""
        connection = load_driver().connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def remove(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.folder)

    def damage_pages(self, table: str) -> None:
        """Overwrite all pages of a table on the disk, as failing hardware does; its index stays as it is."""
        ((path,),) = self.sql("SELECT pg_relation_filepath(%s)", (f"postern.{table}",))
        self.stop("fast")
        file = self.data / path
        file.write_bytes(b"\xa5" * file.stat().st_size)
        self.start()

    def back_up(self) -> dict[str, list[tuple[Any, ...]]]:
        """What lies in every table, as a dump has it."""
        return {name: self.sql(f"SELECT * FROM postern.{name}") for name in TABLES}

    def restore(self, backup: dict[str, list[tuple[Any, ...]]], tables: Sequence[str] = ()) -> None:
        """Put tables back to what they were, all of them where none is named."""
        for name in tables or TABLES:
            self.sql(f"DELETE FROM postern.{name}")
            for row in backup[name]:
                self.sql(f"INSERT INTO postern.{name} VALUES ({', '.join(['%s'] * len(row))})", row)

    def service(self, role: Role) -> str:
        lines = [f"host=localhost\nport={self.port}\ndbname=postgres\nuser={role.name}\npassword={role.password}"]
        return "\n".join(["[postern]", *lines, "sslmode=verify-full", f"sslrootcert={self.folder}/ca.pem", ""])

    def call(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as its account."""
        argv = ["runuser", "-u", "postgres", "--", str(_programs() / program), *arguments]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
        assert done.returncode == 0, done.stdout.decode()


TABLES = ("store", "heads", "lists", "lists_anew", "log", "gone", "relays")


def join(relay: SmallRelay, server: Postgres, *, uploads: bool = True, is_dead: bool = False) -> None:
    """Make a small relay one that uses the store of this server; `is_dead`: nothing answers where it looks."""
    store = Path(relay.places.store)
    store.mkdir(exist_ok=True)
    role = "upload" if uploads else "follower"
    config = {"postern": 1, "id": STORE, "name": relay.etc.parent.name, "role": role}
    (store / "store.json").write_text(json.dumps(config))
    service = server.service(WRITER if uploads else READER)
    (store / "service.conf").write_text(service.replace(f"port={server.port}", "port=1") if is_dead else service)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_certificates(folder: Path) -> None:
    """Write an authority and a certificate of localhost."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of the tests")])
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    common = x509.CertificateBuilder().issuer_name(name).not_valid_before(now - datetime.timedelta(days=1))
    common = common.not_valid_after(now + datetime.timedelta(days=2)).serial_number(x509.random_serial_number())
    root = common.subject_name(name).public_key(authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    leaf = common.subject_name(own).public_key(key.public_key()).add_extension(names, critical=False)
    login = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, WRITER.name)])
    client_key = ec.generate_private_key(ec.SECP256R1())
    client = common.subject_name(login).public_key(client_key.public_key()).sign(authority, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(pem))
    (folder / "server.crt").write_bytes(leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.key").write_bytes(key.private_bytes(pem, *plain))
    (folder / "server.key").chmod(0o600)
    (folder / "client.pem").write_bytes(client.public_bytes(pem) + client_key.private_bytes(pem, *plain))
