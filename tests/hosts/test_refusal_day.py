"""A day at a relay with a clock of ours: which alarms come, after how long, and which do not."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, Operator, export, people
from tests.support.maillog import refusal
from tests.support.refusal_day import SLOT, Day, Mailboxes, knock, send, spam

pytestmark = [pytest.mark.host, pytest.mark.long]

HOURS = 24
SPAM = 100_000  # refused recipients
SOON = 600  # seconds from a refusal to its alarm
NETS = ("192.0.2.7", "198.51.100.7", "203.0.113.7")
ACME = [f"{name}@acme.example" for name in people(60)]
BOLT = [f"{name}@bolt.example" for name in people(60)]


@pytest.fixture
def servers() -> Iterator[tuple[Mailboxes, Mailboxes]]:
    """Acme's server, which has people who are on no list, and bolt's, which takes everybody."""
    exchange = Mailboxes("127.0.0.1", [*ACME[:50], "walter@acme.co.example", "new@acme.example", "vera@acme.example"])
    gateway = Mailboxes("127.0.0.1", (), takes_everybody=True)
    yield exchange, gateway
    exchange.close()
    gateway.close()


@pytest.fixture
def relay(servers: tuple[Mailboxes, Mailboxes], tmp_path: Path) -> Iterator[tuple[LabHost, Operator]]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        host.run(
            "postconf",
            "-e",
            f"smtpd_authorized_xclient_hosts={host.address}",
            "smtpd_error_sleep_time=0",
            "recipient_delimiter=",
        )
        host.run("postfix", "reload")
        operator = AtOnce(tmp_path)
        operator.relay("mx1", host)
        operator.customer(
            "acme", domains=["acme.example", "acme.co.example"], next_hop=servers[0].route, exclude=None, canaries=None
        )
        operator.customer("bolt", next_hop=servers[1].route, exclude=None, canaries=None)
        for customer in ("acme", "bolt"):
            operator.done(f"provision {customer}")
            operator.upload(export(*people(60), domain=f"{customer}.example"), customer)
            operator.accept(customer, "--first 60")
        operator.upload(export(*people(50)))  # acme's ten leavers
        operator.accept("acme", "--removing 10")
        yield host, operator


def _entry(operator: Operator, customer: str) -> str:
    log = json.loads(operator.done(f"history {customer} --json").out)["mx1"]["log"]
    return str(log[0]["entry"])


class Story:
    """What happens in the day, by the hour, and what must be told of it."""

    def __init__(self, host: LabHost, operator: Operator, day: Day) -> None:
        self.host, self.operator, self.day = host, operator, day
        self.wanted: dict[str, tuple[float, str]] = {}  # what an alarm says: when the refusal came, and its command

    def expect(self, text: str, command: str) -> None:
        self.wanted[text] = self.day.now, command

    def refuse(self, name: str, client: str, code: str = "550") -> None:
        """Let a client name somebody whom the relay refuses, and wait until that is in the log."""
        answer = knock(self.host, name, client)
        assert answer.startswith(code), answer
        self.host.log(until=f"to=<{name}> ")

    def bad_export(self) -> None:
        """An upload of acme's lacks three people whom its server has."""
        assert self.operator.upload(export(*people(47))).code == 0
        for name, net in zip(ACME[47:50], NETS, strict=True):
            self.refuse(name, net)
        self.expect(ACME[47], f"`inv rollback acme --entry {_entry(self.operator, 'acme')}`")

    def rollback(self) -> None:
        """An operator runs the command of that alarm."""
        (command,) = {
            found[1] for told in self.day.told if (found := re.search(r"`inv (rollback acme --entry \S+)`", told.line))
        }
        self.operator.done(command)
        assert knock(self.host, ACME[47], NETS[0]).startswith("250")

    def open_domain_closes(self) -> None:
        """A first list of the domain that was open lacks somebody who had mail there, which a person is shown."""
        send(self.host, "walter@acme.co.example", NETS[0])
        self.host.log(until="to=<walter@acme.co.example>, relay=127.0.0.1")
        self.day.tick()
        text = export(*people(50)) + export("boss", domain="acme.co.example").split(b"\r\n", 1)[1]
        self.operator.upload(text)
        self.operator.accept("acme", "--first 1 --although-mail 1")
        self.refuse("walter@acme.co.example", NETS[1])

    def list_is_held(self) -> None:
        """A list that grows too much is held, and a real newcomer on it is refused."""
        many = export(*people(50), *(f"n{number}" for number in range(400)), "new")
        text = many + export("boss", domain="acme.co.example").split(b"\r\n", 1)[1]
        assert self.operator.upload(text).code == 3
        self.refuse("new@acme.example", NETS[0])
        self.expect("new@acme.example", "`inv review acme`")

    def two_leave(self) -> None:
        """Two people leave bolt, whose server takes everybody."""
        assert self.operator.upload(export(*people(58), domain="bolt.example"), "bolt").code == 0
        for name in BOLT[58:]:
            self.refuse(name, NETS[0])

    def bad_export_of_bolt(self) -> None:
        """An upload of bolt's lacks four people."""
        assert self.operator.upload(export(*people(54), domain="bolt.example"), "bolt").code == 0
        for name, net in zip(BOLT[54:58], (*NETS, NETS[0]), strict=True):
            self.refuse(name, net)
        self.expect(BOLT[54], f"`inv rollback bolt --entry {_entry(self.operator, 'bolt')}`")

    def leavers_are_written_to(self) -> None:
        """People whom an operator let go still get mail, and a listed one with a tag."""
        for name in (*ACME[50:55], "user0001+news@acme.example"):
            self.refuse(name, NETS[1])

    def relay_domains_are_lost(self) -> None:
        """Something puts an old main.cf back for a quarter of an hour."""
        before = self.host.run("postconf", "-h", "relay_domains").stdout.strip()
        self.host.run("postconf", "-e", "relay_domains=")
        self.host.run("postfix", "reload")
        self.refuse(ACME[3], NETS[2], code="454")
        self.expect(ACME[3], "`inv provision acme`")
        self.day.tick()
        self.day.tick()
        self.host.run("postconf", "-e", f"relay_domains={before}")
        self.host.run("postfix", "reload")


def test_a_day_tells_every_wrong_refusal_in_time_and_no_other(
    relay: tuple[LabHost, Operator], servers: tuple[Mailboxes, Mailboxes]
) -> None:
    host, operator = relay
    day, dice = Day(host), random.Random(20261129)
    story = Story(host, operator, day)
    at: dict[int, Callable[[], None]] = {
        2: story.bad_export,
        4: story.rollback,
        6: story.open_domain_closes,
        8: story.list_is_held,
        10: story.two_leave,
        12: story.bad_export_of_bolt,
        15: story.leavers_are_written_to,
        18: story.relay_domains_are_lost,
    }
    slots = HOURS * 3600 // SLOT
    written, refused_on_days = 0, [f"xvera{number}" for number in range(20)]
    for back in (2, 1):  # names that strangers try day after day
        day.write((line for line in spam(dice, "acme.example", 500)), day.now - back * 86_400)
        _often(day, refused_on_days, back)
    _often(day, refused_on_days, 0)
    for slot in range(slots):
        hour, rest = divmod(slot * SLOT, 3600)
        count = min(SPAM - written, SPAM // slots + 1)
        day.write(spam(dice, dice.choice(("acme.example", "bolt.example")), count))
        written += count
        if rest == 0 and hour in at:
            at[hour]()
        day.tick()
    _report(story, written, len(servers[0].asked))
    daily = [told.line for told in day.told if "shows them" in told.line]
    assert any("user0050@acme.example" in line for line in daily), "a leaver"
    assert any("user0001+news@acme.example" in line for line in daily), "a tag"
    for name, (when, command) in story.wanted.items():
        (told,) = [one for one in day.told if name in one.line and command in one.line]
        assert told.when - when <= SOON, told
    invented = [told.line for told in day.told if re.search(r"\bx[a-z.]+\d*@", told.line)]
    assert all("`inv refusals acme` shows them" in line or "`inv refusals bolt`" in line for line in invented), invented
    quiet = (*BOLT[58:], "walter@acme.co.example")  # few of a server that takes everybody; named in an accepted review
    assert not any(name in told.line for told in day.told for name in quiet)


def _often(day: Day, names: list[str], back: int) -> None:
    """Let strangers of three networks try the same invented names on a day."""
    lines = (refusal(f"{name}@acme.example").replace("192.0.2.10", net) for name in names for net in NETS)
    day.write(lines, day.now - back * 86_400)


def _report(story: Story, written: int, asked: int) -> None:
    delays = {}
    for name, (when, command) in story.wanted.items():
        delays[name] = [told.when - when for told in story.day.told if name in told.line and command in told.line]
    print(f"\n{written} refused recipients of strangers; told after seconds: {delays}; server asked {asked} times")  # noqa: T201
    for told in story.day.told:
        print(f"{(told.when - story.day.now) / 3600 + HOURS:5.1f} h  {told.line}")  # noqa: T201
