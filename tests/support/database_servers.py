"""What stands beside or in front of the store's PostgreSQL: a standby, pgbouncer, a disk that is full."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.waiting import wait_until
from tests.support.postgres import OWNER, READER, WRITER, Postgres, free_port
from tests.support.small_relay import SmallRelay

PGBOUNCER = "/usr/sbin/pgbouncer"
_POOLER = """
[databases]
postgres = host=127.0.0.1 port={server} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
logfile = {folder}/pgbouncer.log
pool_mode = transaction
default_pool_size = 1
auth_type = scram-sha-256
auth_file = {folder}/users.txt
server_login_retry = 1
client_tls_sslmode = require
client_tls_cert_file = {folder}/server.crt
client_tls_key_file = {folder}/server.key
server_tls_sslmode = require
"""


@contextmanager
def standby(primary: Postgres) -> Iterator[Postgres]:
    """A hot standby that streams from the primary; it has the same certificate."""
    made = Postgres.__new__(Postgres)
    made.port, made.folder, made.data = free_port(), primary.folder, primary.folder / "standby"
    ca = f"sslmode=verify-full sslrootcert={primary.folder}/ca.pem"
    source = f"host=localhost hostaddr=127.0.0.1 port={primary.port} user={OWNER} password=o-secret {ca}"
    primary.call("pg_basebackup", "-D", str(made.data), "-d", source, "-R", "-X", "stream", "-c", "fast")
    with (made.data / "postgresql.conf").open("a") as file:
        file.write(f"port = {made.port}\n")
    made.start()
    try:
        yield made
    finally:
        with suppress(AssertionError):
            made.stop()
        shutil.rmtree(made.data)


def join_hosts(relay: SmallRelay, *servers: Postgres) -> None:
    """Let a relay look for the store on these hosts, in this order."""
    service = Path(relay.places.store) / "service.conf"
    lines = [line for line in service.read_text().splitlines() if not line.startswith(("host=", "port="))]
    lines[1:1] = [
        f"host={','.join('localhost' for _ in servers)}",
        f"port={','.join(str(one.port) for one in servers)}",
    ]
    service.write_text("\n".join([*lines, ""]))


@contextmanager
def pgbouncer(server: Postgres) -> Iterator[int]:
    """A pgbouncer that pools transactions, with one connection a role; its port."""
    port, folder = free_port(), server.folder
    (folder / "pooler.ini").write_text(_POOLER.format(server=server.port, port=port, folder=folder))
    roles = [(OWNER, "o-secret"), *((role.name, role.password) for role in (WRITER, READER))]
    (folder / "users.txt").write_text("".join(f'"{name}" "{password}"\n' for name, password in roles))
    for name in ("pooler.ini", "users.txt"):
        shutil.chown(folder / name, "postgres", "postgres")
    argv = ["runuser", "-u", "postgres", "--", PGBOUNCER, "-q", str(folder / "pooler.ini")]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(port) or process.poll() is not None)
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """While no process of the server runs, though its sockets are there."""
    main = int((server.data / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    pids = [main, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def small_disk(server: Postgres, table: str) -> Iterator[Path]:
    """While a table lies on a disk of a megabyte; where it is mounted. Raises CalledProcessError."""
    folder = server.folder / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, capture_output=True)
    space = folder / "space"
    space.mkdir()
    shutil.chown(space, "postgres", "postgres")
    server.script(f"CREATE TABLESPACE small LOCATION '{space}'", f"ALTER TABLE postern.{table} SET TABLESPACE small")
    try:
        yield folder
    finally:
        server.script(f"ALTER TABLE postern.{table} SET TABLESPACE pg_default", "DROP TABLESPACE small")
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def fill_up(folder: Path) -> Path:
    """Leave no byte free there; the file that does it."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler
