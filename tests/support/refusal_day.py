"""A day of mail at a relay whose clock is ours: what strangers and real senders write, and what the timer tells of it.

A real Postfix answers; its lines are dated anew and put beside lines of the same grammar that nobody has to wait for.
"""

from __future__ import annotations

import json
import random
import re
import socket
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from lab.host import LabHost
from lab.smtp import Conversation, Refused
from tests.support.listener import Listener
from tests.support.maillog import refusal

SLOT = 300  # seconds from one run of the timer to the next
LOG = "/var/log/day.log"
_HEAD = re.compile(r"^\S+ +\S+ +\S+ \S+ (?=postfix/)|^\S+ \S+ (?=postfix/)")
_TICK = f"""
import json, os, sys
sys.path.insert(0, "/usr/local/lib/postern")
from common.paths import Places
from common.settings import load_relay
from receiver.monitoring import log_files
from receiver.system import account
from receiver.tables_client import Tables
from receiver.timer import run_timer
now, places = int(sys.argv[1]), Places()
logs = log_files.open_logs(load_relay(places).config_directory, now, "", [{LOG!r}])
logs = logs._replace(logs=tuple(log for log in logs.logs if log.path == {LOG!r}), journal=None)
user = account.find_account()
os.setgroups([user.gid]); os.setresgid(user.gid, user.gid, user.gid); os.setresuid(user.uid, user.uid, user.uid)
print(json.dumps(run_timer(places, Tables(places), now, logs).record["told"]))
"""


class Told(NamedTuple):
    """A line that the timer told."""

    when: float  # the relay's time
    line: str


class Day:
    """One relay's time, log and timer."""

    def __init__(self, host: LabHost) -> None:
        self.now = time.time()
        self.told: list[Told] = []
        self._host, self._seen = host, len(host.log())
        (host.root / "root" / "tick.py").write_text(_TICK)
        (host.root / LOG[1:]).touch()

    def write(self, lines: Iterable[str], when: float = 0) -> None:
        """Write messages of smtpd, dated now or then."""
        self._append((f"postfix/smtpd[7]: {line}" for line in lines), when or self.now)

    def tick(self) -> list[str]:
        """Let a slot go by, take in what Postfix has logged, and run the timer; what it tells."""
        said = self._host.log()[self._seen :]
        whole = said[: said.rfind("\n") + 1]
        self._seen += len(whole)
        self._append((_HEAD.sub("", line) for line in whole.splitlines() if _HEAD.match(line)), self.now)
        self.now += SLOT
        found: list[str] = json.loads(self._host.run("python3", "/root/tick.py", str(int(self.now))).stdout)
        self.told += [Told(self.now, line) for line in found]
        return found

    def _append(self, lines: Iterable[str], when: float) -> None:
        head = time.strftime("%Y-%m-%dT%H:%M:%S.000001+00:00 mx1 ", time.gmtime(when))
        with (self._host.root / LOG[1:]).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{head}{line}\n" for line in lines)


def knock(host: LabHost, recipient: str, client: str, sender: str = "s@sender.example") -> str:
    """Name a recipient to the relay as a client of some address does; the answer."""
    with _as_client(host, client) as session:
        return session.ask(recipient, sender)


def send(host: LabHost, recipient: str, client: str) -> None:
    """Deliver a message. Raises Refused."""
    with _as_client(host, client) as session:
        session.send(recipient, "Subject: hello\n\nhello", sender="s@sender.example")


@contextmanager
def _as_client(host: LabHost, client: str) -> Iterator[Conversation]:
    with Conversation(host.address, from_address=host.address) as session:
        if not session.say(f"XCLIENT NAME=[UNAVAILABLE] ADDR={client}").startswith("220"):
            raise Refused("XCLIENT")
        session.say("EHLO sender.example")
        yield session


class Mailboxes:
    """A customer's server: it takes some addresses, or everybody, and refuses the others."""

    def __init__(self, address: str, taken: Collection[str], takes_everybody: bool = False) -> None:
        self.taken, self.takes_everybody = set(taken), takes_everybody
        self.asked: list[str] = []
        self._listener = Listener(self._talk, address)
        self.route = f"relay:[{address}]:{self._listener.port}"

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 exchange\r\n")
            in_text = False
            for raw in lines:
                line = raw.decode(errors="replace").rstrip("\r\n")
                in_text = in_text and line != "."
                if not in_text:
                    connection.sendall(self._reply(line).encode() + b"\r\n")
                    in_text = line.upper() == "DATA"

    def _reply(self, line: str) -> str:
        if line.upper() == "DATA":
            return "354 go on"
        name = re.match(r"(?i)RCPT TO:<(.*?)>", line)
        if name:
            self.asked.append(name[1].lower())
        is_taken = not name or self.takes_everybody or name[1].lower() in self.taken
        return "250 2.1.5 ok" if is_taken else "550 5.1.1 nobody of that name"


def spam(dice: random.Random, domain: str, count: int) -> Iterator[str]:
    """Yield refusals of invented names: dictionaries of one client, botnets of many, bounces and call-outs."""
    while count > 0:
        kind, size = dice.choice(("dictionary", "botnet", "bounces")), min(count, dice.randint(5, 60))
        network = f"{dice.randint(11, 99)}.{dice.randint(0, 255)}.{dice.randint(0, 255)}"
        name = invented(dice)
        for _ in range(size):
            client = f"{network}.{dice.randint(1, 254)}"
            if kind == "botnet":  # one name, many clients
                client = ".".join(str(dice.randint(11, 200)) for _ in range(4))
            else:
                name = invented(dice)
            sender = "" if kind == "bounces" else f"{invented(dice)}@{dice.choice(('a', 'b', 'c'))}.example"
            line = refusal(f"{name}@{domain}", sender=sender)
            yield line.replace("[192.0.2.10]", f"[{client}]")
        count -= size


def invented(dice: random.Random) -> str:
    """Return a name that nobody has: all that strangers invent begin with x."""
    return "x" + "".join(dice.choice("abcdefghiklmnoprstuvz.") for _ in range(dice.randint(4, 12))).strip(".")
