"""The postfix role on real relays: Debian hosts whose Postfix is asked over SMTP before, after and in between."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import inventory
from common import main_cf_params
from deploy.items import Item
from deploy.plan import Change, HostError, Plan, ProofFailed
from deploy.relay_host import RelayHost
from deploy.remote_session import MAIN, sent_modules
from fleet import spool_data
from inventory import Customer, Key, Relay
from lab.host import LabHost
from roles import relay as relay_role
from roles.relay import Facts
from tests.support.releases import releases
from tests.support.tiers import every_nth

pytestmark = pytest.mark.host

REPO = Path(__file__).parent.parent.parent
OUTSIDE = "127.77.254.1"  # in nobody's mynetworks
HOP = "relay:[203.0.113.25]:25"
RELEASES = releases(("bullseye", "hash"), ("bookworm", "hash"), ("trixie", "lmdb"), ("forky", "cdb"))
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXkJ2JmLMO4oNR5eKrHYd0K5yD7J1qA8Vc0cJ7bQW3o"


def customer(id_: str = "acme", **changes: Any) -> Customer:
    demo = inventory.find(inventory.load(Path(inventory.__file__).parent), "demo")
    own = {"id": id_, "domains": (f"{id_}.example",), "next_hop": HOP, "keys": (Key("k1", PUBLIC),)}
    return demo.model_copy(
        update={**own, **dict.fromkeys(("partial", "exclude", "include", "canaries"), ()), **changes}
    )


class Machine:
    """A lab host, and the relay that it is to the role."""

    def __init__(self, lab: LabHost, ssh: RelayHost, **keys: Any) -> None:
        self.lab, self.ssh = lab, ssh
        self.relay = Relay.model_validate({"name": "mx1", "address": lab.address, **keys})

    def facts(self) -> Facts:
        return Facts.of(self.ssh.read(relay_role.facts_items(self.relay))[0])

    def plan(self, *customers: Customer) -> Plan:
        return Plan.of(self.ssh, relay_role.items(self.relay, customers, self.facts()))

    def provision(self, *customers: Customer) -> Plan:
        plan = self.plan(*customers)
        plan.apply()
        return plan

    def without(self, customer_id: str) -> Plan:
        plan = Plan.of(self.ssh, relay_role.items_without(self.relay, customer_id, self.facts()))
        plan.apply()
        return plan

    def make(self, item: Item) -> None:
        """Make one item as it is, whatever is there now."""
        self.ssh.make([Change(item, self.ssh.read([item])[0])])

    def refusals(self, *customers: Customer) -> list[str]:
        facts = self.facts()
        preflight = self.ssh.read(relay_role.preflight_items(self.relay, customers, facts))
        return relay_role.blockers(self.relay, customers, facts, preflight)

    def set(self, *parameters: str) -> None:
        """Edit main.cf as an admin does."""
        self.lab.run("postconf", "-e", *parameters)
        self.lab.reload_postfix()

    def write(self, path: str, text: str) -> None:
        self.lab.run("tee", path, stdin=text.encode())

    def table(self, name: str, text: str) -> str:
        """A table of the admin's own, built; as main.cf names it."""
        self.write(f"/etc/postfix/{name}", text)
        self.lab.run("postmap", f"hash:/etc/postfix/{name}")
        return f"hash:/etc/postfix/{name}"

    def settings(self) -> str:
        return self.lab.run("postconf", "-n").stdout

    def answers(self, addresses: Sequence[str]) -> dict[tuple[str, str], str]:
        """What it answers about each of these, asked by itself and from outside."""
        return {
            (who, address): self.lab.ask(address, from_address=source)[:9]
            for who, source in (("itself", None), ("outside", OUTSIDE))
            for address in addresses
        }

    def upload(self, id_: str, *recipients: str) -> None:
        """Put a list in force as if it had been uploaded and accepted: the domains it is in close."""
        spool = f"/var/lib/postern/customers/{id_}"
        domains = {recipient.partition("@")[2]: 4_000_000_000 for recipient in recipients}
        now = int(self.lab.run("date", "+%s").stdout)
        accepted = json.dumps({"postern": 1, "domains": dict.fromkeys(domains, now)})
        files = {"recipients": "".join(f"{one}\n" for one in sorted(recipients)), "accepted.json": accepted + "\n"}
        for name, text in files.items():
            self.lab.run("tee", f"{spool}/{name}", stdin=text.encode(), user="postern")
        self.lab.run("/usr/local/sbin/rebuild-relay-recips")


Start = Callable[..., Machine]


@pytest.fixture
def machine(lab_host: Callable[..., LabHost], operator_home: Path) -> Iterator[Start]:
    """Starts a relay each time it is called; keys are relays.toml's. `stopped`: Postfix is there and does not run."""
    opened: list[RelayHost] = []

    def start(
        release: str = "bookworm", *, stopped: bool = False, bare: bool = False, sshd: Sequence[str] = (), **keys: Any
    ) -> Machine:
        lab = lab_host(release, bare=bare, sshd=sshd)
        if not stopped and not bare:
            lab.start_postfix()
        ssh = RelayHost(
            "mx1",
            lab.address,
            host_keys=lab.host_keys,
            lock="/etc/postern",
            install_python=bare,
        )
        opened.append(ssh)
        return Machine(lab, ssh, **keys)

    yield start
    for ssh in opened:
        ssh.close()


# ---- a relay that relays for others already: nobody notices

OTHERS = ("good@old.example", "nobody@old.example", "x@open.example", "x@below.parent.example", "x@parent.example")
NOT_OURS = (*OTHERS, "x@sub.acme.example", "x@elsewhere.example", "root@localhost")


def relays_others(machine: Machine, *, with_map: bool) -> None:
    """Three domains: one with a list of its own, one by a table, one with what is below it."""
    listed = machine.table(
        "listed", "good@old.example OK\n@open.example OK\n@parent.example OK\n@below.parent.example OK\n"
    )
    machine.set(
        f"relay_domains = old.example {machine.table('relayed', 'open.example OK')}, parent.example",
        f"relay_recipient_maps = {listed if with_map else ''}",
        f"transport_maps = {machine.table('routes', 'old.example relay:[203.0.113.99]:25')}",
    )


@pytest.mark.parametrize("with_map", [True, False], ids=["with a recipient map", "without one"])
@pytest.mark.parametrize(("release", "table_type"), RELEASES)
def test_domains_that_are_not_ours_answer_after_us_exactly_as_before_us(
    machine: Start, release: str, table_type: str, with_map: bool
) -> None:
    mx = machine(release, table_type=table_type)
    relays_others(mx, with_map=with_map)
    before = mx.answers(NOT_OURS)
    assert before["outside", "nobody@old.example"] == ("550 5.1.1" if with_map else "250 2.1.5")

    mx.provision(customer())
    assert mx.answers(NOT_OURS) == before
    assert mx.lab.ask("anybody@acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"

    mx.upload("acme", "bob@acme.example")
    assert mx.answers(NOT_OURS) == before
    assert mx.lab.ask("bob@acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"
    assert mx.lab.ask("anybody@acme.example", from_address=OUTSIDE).startswith("550 5.1.1")


def test_a_relay_is_provisioned_by_one_connection_and_one_command_and_then_there_is_nothing_to_change(
    machine: Start,
) -> None:
    mx = machine()
    assert mx.refusals(customer()) == []
    mx.provision(customer())
    assert mx.plan(customer()).text() == ""
    assert (mx.ssh.connections, mx.ssh.commands) == (1, 1)


def test_main_cf_is_put_in_place_so_old_that_no_program_of_postfix_waits(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    written, put = map(int, mx.lab.run("stat", "-c", "%Y %Z", "/etc/postfix/main.cf").stdout.split())
    assert put - written >= 2


POSTSCREEN = [
    "smtp/inet=smtp inet n - y - 1 postscreen",
    "smtpd/pass=smtpd pass - - y - - smtpd",
    "dnsblog/unix=dnsblog unix - - y - 0 dnsblog",
    "tlsproxy/unix=tlsproxy unix - - y - 0 tlsproxy",
]


NO_CLIENT = "postconf -e mynetworks=127.77.253.253/32 'smtpd_recipient_restrictions = reject_unauth_destination'"
IPV6 = "postconf -e inet_protocols=ipv6 inet_interfaces=::1 'mynetworks=[::1]/128'"
BEHIND_POSTSCREEN = " ".join(["postconf -Me", *(f"'{service}'" for service in POSTSCREEN)])


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("postconf -e smtpd_tls_security_level=encrypt", id="STARTTLS is a must", marks=pytest.mark.long),
        pytest.param(NO_CLIENT, id="the relay is no client of its own"),
        pytest.param(IPV6, id="IPv6 alone", marks=pytest.mark.long),
        pytest.param(BEHIND_POSTSCREEN, id="postscreen stands before smtpd"),
    ],
)
def test_a_relay_is_asked_as_it_listens(machine: Start, setting: str) -> None:
    mx = machine()
    mx.lab.run("sh", "-c", f"{setting}; postfix stop; postfix start")
    assert mx.refusals(customer()) == []
    mx.provision(customer())
    (said,) = mx.ssh.read([relay_role.smtp_verify_item(mx.relay, [customer()])])
    assert [answer for _, _, answer in (said or {})["asked"]["acme.example"]] == ["250 2.1.5 Ok"] * 2


def test_an_unset_relay_domains_keeps_its_default_and_main_cf_stays_readable(machine: Start) -> None:
    """Split at its blanks and written back, the default made every later postconf fail."""
    mx = machine()
    default = mx.lab.run("postconf", "-dh", "relay_domains").stdout.strip()
    mx.provision(customer())
    assert main_cf_params.members(mx.lab.run("postconf", "-h", "relay_domains").stdout)[0] == default
    assert mx.lab.run("postconf", "-n").stderr == ""


def test_a_second_customer_changes_no_main_cf_and_is_routed_when_provisioning_ends(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    before = mx.settings()
    plan = mx.provision(customer("acme"), customer("bolt", next_hop="relay:[203.0.113.26]:25"))
    assert "main.cf" not in {change.item.kind for change in plan.changes}
    assert mx.settings() == before
    assert mx.lab.ask("x@bolt.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


def test_mail_below_a_domain_of_ours_is_nobodys_to_relay(machine: Start) -> None:
    """Postfix takes a relay domain for all that is below it; whoever is named below ours must not be relayed for."""
    mx = machine()
    mx.provision(customer(domains=("acme.example", "branch.acme.example")))
    assert mx.lab.ask("x@branch.acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"
    assert "Relay access denied" in mx.lab.ask("x@sub.acme.example", from_address=OUTSIDE)


@pytest.mark.parametrize("with_map", [True, pytest.param(False, marks=pytest.mark.long)])
def test_when_the_last_customer_goes_main_cf_is_as_it_was_before_the_first(machine: Start, with_map: bool) -> None:
    mx = machine()
    relays_others(mx, with_map=with_map)
    settings, answers = mx.settings(), mx.answers(NOT_OURS)
    mx.provision(customer())
    mx.without("acme")
    assert mx.settings() == settings
    assert mx.answers(NOT_OURS) == answers
    assert mx.lab.run("sh", "-c", "ls /etc/postern/main.cf.*", check=False).stdout == ""
    assert mx.plan().text() == ""


MAIN_CF = b"""\
# mine
relay_domains=old.example
# in between
   , open.example,

\tparent.example
# no UTF-8: \xff
relay_recipient_maps =
relay_recipient_maps = hash:/etc/postfix/listed
smtpd_banner = without a line end"""


def own_main_cf(mx: Machine) -> bytes:
    """One written by hand: a list over several lines, one twice, no blanks, no UTF-8, no end of the last line."""
    mx.table("listed", "good@old.example OK\n")
    path = mx.lab.root / "etc/postfix/main.cf"
    path.write_bytes(path.read_bytes() + MAIN_CF)
    mx.lab.reload_postfix()
    return path.read_bytes()


def test_when_the_last_customer_goes_main_cf_is_byte_for_byte_what_it_was(machine: Start) -> None:
    mx = machine()
    path, before = mx.lab.root / "etc/postfix/main.cf", own_main_cf(mx)
    mx.provision(customer(), customer("bolt"))
    assert path.read_bytes() != before
    assert mx.lab.run("postconf", "-h", "smtpd_banner").stdout == "without a line end\n"
    mx.without("acme")
    mx.without("bolt")
    assert path.read_bytes() == before
    assert mx.lab.run("sh", "-c", "ls /etc/postern/main.cf.*", check=False).stdout == ""


def test_after_somebody_else_s_edit_only_our_members_go_from_main_cf(machine: Start) -> None:
    mx = machine()
    path, before = mx.lab.root / "etc/postfix/main.cf", own_main_cf(mx)
    mx.provision(customer())
    mx.set("always_bcc = root")
    mx.without("acme")
    now = path.read_bytes()
    assert now != before
    assert b"postern" not in now
    assert b"always_bcc = root\n" in now
    assert b"# no UTF-8: \xff\n" in now
    assert mx.lab.run("sh", "-c", "ls /etc/postern/main.cf.*", check=False).stdout == ""


def test_what_an_admin_added_meanwhile_stays(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    own = mx.lab.run("postconf", "-h", "relay_domains").stdout.strip()
    mx.set(f"relay_domains = {own}, new.example")
    assert mx.plan(customer()).text() == ""
    assert mx.lab.ask("x@new.example", from_address=OUTSIDE) == "250 2.1.5 Ok"
    mx.without("acme")
    assert mx.lab.ask("x@new.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


def test_soft_answers_unknown_recipients_450_until_each_customer_says_what_they_get(machine: Start) -> None:
    mx = machine(reject="soft")
    relays_others(mx, with_map=True)
    facts = mx.facts()
    assert facts.foreign == ("old.example", "open.example", "parent.example")
    mx.provision(customer())
    mx.upload("acme", "bob@acme.example")
    assert mx.lab.ask("x@acme.example", from_address=OUTSIDE).startswith("450 4.1.1")
    assert mx.lab.ask("nobody@old.example", from_address=OUTSIDE).startswith("450 4.1.1")

    deferring = customer(unlisted="defer")
    mx.provision(deferring)
    assert mx.lab.ask("nobody@old.example", from_address=OUTSIDE).startswith("550 5.1.1")
    assert mx.lab.ask("x@acme.example", from_address=OUTSIDE).startswith("450 4.1.1")
    assert "unknown_relay_recipient_reject_code" not in mx.settings()
    assert mx.plan(deferring).text() == ""


def test_drift_of_main_cf_is_seen_and_mended(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    wanted = mx.settings()
    mx.set("relay_recipient_maps =", "transport_maps = hash:/etc/postern/tables/transport")
    assert [change.item.kind for change in mx.plan(customer()).changes] == ["main.cf"]
    mx.provision(customer())
    assert mx.settings() == wanted


# ---- the proof


def main_cf(machine: Machine, *customers: Customer) -> Item:
    items = relay_role.items(machine.relay, customers, machine.facts())
    return next(item for item in items if item.kind == "main.cf")


def before_us(machine: Machine) -> None:
    """As before us, but for the tables and trees, which are there."""
    machine.lab.run("sh", "-c", "rm -f /etc/postern/main.cf.*; cp /etc/postfix/main.cf.own /etc/postfix/main.cf")
    machine.lab.reload_postfix()


@pytest.fixture
def proving(machine: Start) -> Machine:
    """A relay that relays for others, with our tables, before main.cf is edited."""
    mx = machine()
    relays_others(mx, with_map=False)
    mx.lab.run("cp", "/etc/postfix/main.cf", "/etc/postfix/main.cf.own")
    mx.provision(customer())
    before_us(mx)
    return mx


NOT_RELAYED = "postconf -e 'relay_domains = !acme.example, old.example'"


LOCAL = "postconf -e 'mydestination = localhost, acme.example'"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (NOT_RELAYED, "domain class: other"),
        pytest.param(LOCAL, "domain class: local", marks=pytest.mark.long),
        ("postconf -Pe 'smtp/inet/relay_recipient_maps ='", "must be refused"),
    ],
    ids=["our domain is not relayed", "our domain is local", "smtpd has another list"],
)
def test_an_edit_that_does_not_bring_the_right_answers_is_put_back(proving: Machine, harm: str, words: str) -> None:
    proving.upload("acme", "bob@acme.example")
    proving.lab.run("sh", "-c", harm)
    settings = proving.settings()
    with pytest.raises(ProofFailed, match=words):
        proving.make(main_cf(proving, customer()))
    assert proving.settings() == settings
    assert proving.lab.run("sh", "-c", "ls /etc/postern/main.cf.*", check=False).stdout == ""
    assert proving.lab.ask("x@old.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


def test_an_edit_that_others_notice_is_put_back(proving: Machine) -> None:
    item = main_cf(proving, customer())
    wanted = {**(item.wanted or {}), main_cf_params.DOMAINS: main_cf_params.our_member(main_cf_params.DOMAINS, "hash")}
    settings = proving.settings()
    with pytest.raises(ProofFailed, match=r"old\.example is not ours"):
        proving.make(Item(item.kind, item.name, wanted))
    assert proving.settings() == settings
    assert proving.lab.ask("x@old.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("echo '/nobody@nowhere/ OK' > /etc/postern/tables/others", "old.example refused"),
        ("rm /etc/postern/tables/others", "cannot read regexp:/etc/postern/tables/others"),
        ("rm /etc/postern/tables/exchange_recipients.db", "exchange_recipients"),
        pytest.param("rm /etc/postern/tables/relay_domains.db", "relay_domains", marks=pytest.mark.long),
    ],
)
def test_tables_that_would_refuse_anybody_are_found_out_before_main_cf_names_them(
    proving: Machine, harm: str, words: str
) -> None:
    proving.lab.run("sh", "-c", harm)
    with pytest.raises(HostError, match=words) as raised:
        proving.make(main_cf(proving, customer()))
    assert not isinstance(raised.value, ProofFailed)
    assert "postern" not in proving.settings()


def test_a_relay_that_does_not_answer_is_not_edited(proving: Machine) -> None:
    item = main_cf(proving, customer())
    proving.lab.run("postfix", "stop")
    settings = proving.settings()
    with pytest.raises(HostError, match="cannot be asked"):
        proving.make(item)
    assert proving.settings() == settings
    assert proving.lab.run("sh", "-c", "ls /etc/postern/main.cf.*", check=False).stdout == ""


KILLED = """
import json, os, signal, sys
sys.path.insert(0, "/opt/postern-test")
from remote.postfix import instance, main_cf_edit

left = int(sys.argv[1])

def step(function, counts=lambda *_: True):
    def counted(*words, **more):
        global left
        if counts(*words):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return function(*words, **more)
    return counted

os.rename, os.unlink = step(os.rename), step(os.unlink)
instance.run_command = step(instance.run_command, lambda *words: {"-e", "-X", "reload"} & set(words))
try:
    main_cf_edit._make("/etc/postfix", json.loads(sys.argv[2]))
except main_cf_edit.ProofFailed:
    sys.exit(5)
"""


def send_modules(machine: Machine) -> None:
    """Lay what is sent where a program of the test's can import it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in (MAIN, *sent_modules()):
            tar.add(path, Path("postern-test") / path.relative_to(REPO))
    machine.lab.run("tar", "-x", "-C", "/opt", stdin=packed.getvalue())


@pytest.mark.parametrize(
    "proved",
    [
        pytest.param(True, id="an edit that is proved"),
        pytest.param(False, id="an edit that is put back", marks=pytest.mark.long),
    ],
)
def test_killed_between_any_two_steps_an_edit_is_finished_by_the_next_run(proving: Machine, proved: bool) -> None:
    """And meanwhile nobody else's mail is refused."""
    send_modules(proving)
    if not proved:
        proving.lab.run("sh", "-c", NOT_RELAYED)
        proving.lab.run("cp", "/etc/postfix/main.cf", "/etc/postfix/main.cf.own")
    own, item, code = proving.settings(), main_cf(proving, customer()), -9
    steps = 0
    while code == -9:
        done = proving.lab.run("python3", "-c", KILLED, str(steps), json.dumps(item.wanted), check=False)
        code = done.returncode
        assert proving.lab.ask("x@old.example", from_address=OUTSIDE) == "250 2.1.5 Ok", steps
        if proved:
            proving.make(item)
            assert proving.ssh.read([item]) == [item.wanted], steps
            assert set(proving.facts().record) == {
                main_cf_params.DOMAINS,
                main_cf_params.ROUTES,
                main_cf_params.RECIPIENTS,
            }, steps
        elif code == -9:
            with pytest.raises(ProofFailed):
                proving.make(item)
            assert (proving.settings(), proving.facts().record) == (own, {}), steps
        before_us(proving)
        steps += 1
    assert (code, steps) == ((0, 10) if proved else (5, 15))


def test_what_is_written_by_hand_after_a_killed_edit_is_not_undone(proving: Machine) -> None:
    send_modules(proving)
    item = main_cf(proving, customer())
    assert proving.lab.run("python3", "-c", KILLED, "4", json.dumps(item.wanted), check=False).returncode == -9
    now = proving.lab.run("postconf", "-h", "relay_domains").stdout.strip()
    proving.set(f"relay_domains = !acme.example, {now}, new.example")
    with pytest.raises(ProofFailed):
        proving.make(main_cf(proving, customer()))
    assert proving.lab.ask("x@new.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


# ---- what stands in the way, found on real machines


SSHD = "> /etc/ssh/sshd_config.d/x.conf"
SUBMISSION = "10587 inet n - y - - smtpd -o smtpd_reject_unlisted_sender=yes"
ALIASES = "> /etc/postfix/v; postmap hash:/etc/postfix/v; postconf -e virtual_alias_maps=proxy:hash:/etc/postfix/v"
HARMS = {
    "is in mydestination": "postconf -e 'mydestination = localhost, acme.example'",
    "is in virtual_alias_domains": "postconf -e 'virtual_alias_domains = acme.example'",
    "is in virtual_alias_domains .unset, that is the keys": f"echo 'acme.example x' {ALIASES}",
    "proxy:hash:/etc/postfix/v .* entry @acme.example": f"echo '@acme.example x@localhost' {ALIASES}",
    "is in virtual_mailbox_domains": "postconf -e 'virtual_mailbox_domains = static:all'",
    "main.cf: smtpd_reject_unlisted_recipient = no": "postconf -e 'smtpd_reject_unlisted_recipient = no'",
    "smtp/inet: smtpd_reject_unlisted": "postconf -Pe 'smtp/inet/smtpd_reject_unlisted_recipient = no'",
    "smtp/inet: relay_recipient_maps": "postconf -Pe 'smtp/inet/relay_recipient_maps ='",
    "rewrite/unix: transport_maps": "postconf -Pe 'rewrite/unix/transport_maps ='",
    "no_unknown_recipient_checks": "postconf -Pe 'smtp/inet/receive_override_options = no_unknown_recipient_checks'",
    "smtpd_reject_unlisted_sender = yes: .* about senders too": "postconf -e 'smtpd_reject_unlisted_sender = yes'",
    "smtpd_sender_restrictions = .* about senders too": "postconf -e smtpd_sender_restrictions=reject_unlisted_sender",
    "10587/inet: smtpd_reject_unlisted_sender = yes": f"postconf -Me '10587/inet={SUBMISSION}'",
    "mail for every name below": "postconf -e 'parent_domain_matches_subdomains = relay_domains, transport_maps'",
    "relay_domains has !acme.example before our table": "postconf -e 'relay_domains = !acme.example, old.example'",
    "= .mine expands to nothing": "postconf -e 'relay_recipient_maps = $mine' 'mine ='",
    "answers a connection with 554 .*denied": "postconf -e smtpd_client_restrictions=reject smtpd_delay_reject=no",
    "several instances .*/etc/postfix-out": "postmulti -e init; postmulti -I postfix-out -e create",
    "add the line @includedir": "sed -i 's/^@includedir/#&/' /etc/sudoers",
    "ForceCommand /bin/false": f"printf 'Match User postern\\n ForceCommand /bin/false\\n' {SSHD}",
    "Methods password": f"printf 'Match Address 198.51.100.0/24\\n AuthenticationMethods password\\n' {SSHD}",
    "AllowGroups root: add postern": f"echo 'AllowGroups root' {SSHD}",
    "AuthorizedKeysFile /etc/ssh/keys/%u": f"echo 'AuthorizedKeysFile /etc/ssh/keys/%u' {SSHD}",
    "cannot be asked .*sshd -T ended 255": f"echo Nonsense {SSHD}",
}


@pytest.mark.parametrize("words", every_nth(HARMS, 4))
def test_what_stands_in_the_way_is_found(machine: Start, words: str) -> None:
    mx = machine()
    mx.lab.run("sh", "-c", f"{HARMS[words]}; postfix reload")
    (found,) = mx.refusals(customer())
    assert re.search(words, found), found


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie", "forky"))
def test_a_relay_as_a_distribution_sets_it_up_is_fine(machine: Start, release: str) -> None:
    mx = machine(release)
    assert mx.refusals(customer()) == []
    mx.set("mynetworks = 127.0.0.0/8", "relay_domains = acme.example")
    assert mx.refusals(customer()) == []


def test_a_type_whose_tables_lie_in_the_same_files_cannot_take_the_place_of_another(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    mx.relay = mx.relay.model_copy(update={"table_type": "btree"})
    (found,) = mx.refusals(customer())
    assert "our tables there are of type hash; tables of type btree would have the same file names" in found
    mx.relay = mx.relay.model_copy(update={"table_type": "lmdb"})
    assert mx.refusals(customer()) == []


def test_a_type_that_postfix_lists_and_cannot_load_is_found_out_with_a_scratch_table(machine: Start) -> None:
    mx = machine(table_type="lmdb")
    mx.lab.run("sh", "-c", "rm /usr/lib/postfix/postfix-lmdb.so*")
    assert "lmdb" in mx.lab.run("postconf", "-m").stdout
    (found,) = mx.refusals(customer())
    assert "tables of the wanted type cannot be built" in found
    assert mx.lab.run("sh", "-c", "ls -d /var/tmp/postern*", check=False).stdout == ""


@pytest.mark.parametrize(
    "twice", [pytest.param("mynetworks = 127.0.0.0/8", marks=pytest.mark.long), "relay_domains = other.example"]
)
def test_a_main_cf_that_sets_something_twice_is_no_obstacle_and_is_left_as_it_was(machine: Start, twice: str) -> None:
    mx = machine()
    with (mx.lab.root / "etc/postfix/main.cf").open("a") as main_cf:
        main_cf.write(f"{twice}\n{twice}\n")
    before = (mx.lab.root / "etc/postfix/main.cf").read_text()
    assert mx.refusals(customer()) == []
    mx.provision(customer())
    assert mx.lab.ask("x@acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"
    assert mx.plan(customer()).text() == ""
    mx.without("acme")
    assert (mx.lab.root / "etc/postfix/main.cf").read_text() == before


def test_a_postfix_that_was_there_and_is_stopped_stays_stopped(machine: Start) -> None:
    mx = machine(stopped=True)
    assert any("Postfix is stopped" in one for one in mx.refusals(customer()))
    assert "service" not in {item.kind for item in relay_role.items(mx.relay, (customer(),), mx.facts())}


def test_a_bare_machine_is_judged_by_what_needs_no_postfix_then_gets_it_started(machine: Start) -> None:
    mx = machine(bare=True)
    assert not mx.facts().has_postfix
    assert mx.refusals(customer()) == []
    assert mx.plan(customer()).text().startswith("install package postfix\n")
    Plan.of(mx.ssh, relay_role.packages(mx.relay, mx.facts())).apply()
    assert mx.lab.run("postfix", "status", check=False).returncode == 0
    mx.set(f"inet_interfaces = {mx.lab.address}", "inet_protocols = ipv4", f"mynetworks = {mx.lab.address}/32")
    mx.lab.run("postfix", "stop")
    mx.lab.start_postfix()
    assert mx.refusals(customer()) == []
    mx.provision(customer())
    assert mx.lab.ask("x@acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


# ---- domains without a next hop of ours


def test_a_new_customer_without_a_route_is_refused_until_its_file_says_mx(machine: Start) -> None:
    mx = machine()
    (found,) = mx.refusals(customer(next_hop=None))
    assert "acme.example (acme) has no way on" in found
    assert mx.refusals(customer(next_hop="mx")) == []
    mx.set("relayhost = [203.0.113.1]")
    mx.provision(customer(next_hop="mx"))
    (routes,) = mx.ssh.read([Item("routes", "/etc/postfix", {"acme.example": ""})])
    assert routes == {"acme.example": "relay:acme.example"}


@pytest.mark.parametrize(
    "parameter", ["relayhost = [203.0.113.1]", "transport_maps = inline:{acme.example=relay:[203.0.113.1]}"]
)
def test_a_way_the_relay_has_itself_is_a_way(machine: Start, parameter: str) -> None:
    mx = machine()
    mx.set(parameter)
    assert mx.refusals(customer(next_hop=None)) == []


def test_a_route_that_postfix_does_not_take_is_told(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    with pytest.raises(HostError, match=r"elsewhere: acme\.example to relay:\[203\.0\.113\.25\]:25 and not to relay:x"):
        mx.make(Item("routes", "/etc/postfix", {"acme.example": "relay:x"}))


# ---- what is asked of a relay


def test_verify_asks_about_listed_addresses_and_one_that_is_not(machine: Start) -> None:
    mx = machine()
    mx.provision(customer("acme"), customer("bolt"))
    mx.upload("acme", *(f"user{number}@acme.example" for number in range(30)))
    (said,) = mx.ssh.read([relay_role.smtp_verify_item(mx.relay, [customer("acme"), customer("bolt")])])
    assert said is not None
    found = said["asked"]
    assert [wanted for _, wanted, _ in found["acme.example"]] == ["250"] * 5 + ["550"]
    assert [wanted for _, wanted, _ in found["bolt.example"]] == ["250", "250"]
    assert all(answer.startswith(wanted) for asked in found.values() for _, wanted, answer in asked)
    assert [said["listed"][domain][0] for domain in found] == [31, 1]


def test_verify_tells_when_a_relay_takes_whom_it_should_refuse(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    mx.upload("acme", "bob@acme.example")
    mx.set("relay_recipient_maps =")
    (said,) = mx.ssh.read([relay_role.smtp_verify_item(mx.relay, [customer()])])
    assert [(wanted, answer[:3]) for _, wanted, answer in (said or {})["asked"]["acme.example"]][-1] == ("550", "250")


def test_spools_say_how_lists_stand(machine: Start) -> None:
    mx = machine()
    mx.provision(customer())
    spool = "/var/lib/postern/customers/acme"
    mx.lab.run("tee", f"{spool}/keys.json", stdin=b'{"k1": {"first": 1, "last": 2}}', user="postern")
    mx.lab.run("mkdir", f"{spool}/held", user="postern")
    mx.lab.run("tee", f"{spool}/held/why.json", stdin=b'{"postern": 1, "reasons": ["x"]}', user="postern")
    (said,) = mx.ssh.read([relay_role.list_status_item([customer("acme"), customer("bolt")])])
    assert said == {
        "acme": {
            "last_run": None,
            "accepted": None,
            "held": {"postern": 1, "reasons": ["x"]},
            "pinned": None,
            "keys": {"k1": {"first": 1, "last": 2}},
            "begun": None,
            "unproven": None,
            "asking": None,
            "refusal_alarms": None,
            "opened": None,
            "list": None,
        },
        "bolt": None,
    }
    assert spool_data.keys_seen(said) == {"acme": frozenset({"k1"}), "bolt": frozenset()}


def test_spools_tell_of_a_list_by_its_hash_where_that_is_asked_for(machine: Start) -> None:
    mx = machine(stopped=True)
    folder, text = "/var/lib/postern/customers/acme", b"a@acme.example\nb@acme.example\n"
    mx.lab.run("mkdir", "-p", folder)
    mx.lab.run("tee", f"{folder}/recipients", stdin=text)
    ((brief,), (whole,)) = (
        mx.ssh.read([relay_role.list_status_item([customer()], lists=asked)]) for asked in (False, True)
    )
    told = {"bytes": len(text), "changed": int((mx.lab.root / folder[1:] / "recipients").stat().st_mtime)}
    assert (brief or {})["acme"]["list"] == told
    assert (whole or {})["acme"]["list"] == {**told, "total": 2, "digest": hashlib.sha256(text).hexdigest()}
    mx.lab.run("truncate", "--size=4G", f"{folder}/recipients")
    (said,) = mx.ssh.read([relay_role.list_status_item([customer()], lists=True)])
    assert (said or {})["acme"]["list"] == "recipients has more than 32100000 bytes"


ATTACKS = [
    "ln -s /etc/shadow keys.json",
    "mkfifo keys.json",
    "mkdir keys.json",
    "head -c 2000000 /dev/zero > keys.json",
    "printf '[%.0s' $(seq 100000) > keys.json",
    "{ printf '{\"k1\": '; head -c 900000 /dev/zero | tr '\\0' 1; printf '}'; } > keys.json",
    "printf '{\"k1\": NaN}' > keys.json",
    "printf '\\377\\376' > keys.json",
    "ln -s /etc/shadow recipients",
    "mkfifo recipients",
    "ln -s /etc held",
    "mkfifo held",
    "cd ..; rmdir acme; ln -s /etc acme",
]


HARMED = {"recipients": "list", "held": "held"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_on_root_who_reads_a_spool(machine: Start, attack: str) -> None:
    """Somebody took over account postern: root follows no link, waits for nobody and reads no more than a bound."""
    mx = machine(stopped=True)
    mx.lab.run("sh", "-c", f"mkdir -p /var/lib/postern/customers/acme; cd /var/lib/postern/customers/acme; {attack}")
    (said,) = mx.ssh.read([relay_role.list_status_item([customer()])])
    assert "root:" not in json.dumps(said)
    spool = (said or {})["acme"]
    harmed = spool if isinstance(spool, str) else spool[HARMED.get(attack.split()[-1], "keys")]
    assert "k1" in harmed if "k1" in attack else "cannot be read" in harmed


# ---- files others read


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie", "forky"))
def test_sudo_cron_and_make_take_what_is_written_for_them(machine: Start, release: str) -> None:
    mx = machine(release)
    mx.provision(customer())
    assert "/etc/sudoers.d/postern: parsed OK" in mx.lab.run("visudo", "-c").stdout
    assert mx.lab.run("sudo", "-n", "/usr/local/sbin/rebuild-relay-recips", user="postern").stdout == ""
    refused = mx.lab.run("sudo", "-n", "/usr/local/sbin/rebuild-relay-recips", "--check", user="postern", check=False)
    assert refused.returncode != 0
    assert mx.lab.run("make", "-C", "/etc/postern/tables").returncode == 0
    assert mx.lab.run("parse-exchange-users", "--help", check=False).returncode in (0, 2)


# ---- what an upload and the timer need of root


def test_a_relay_whose_configuration_is_closed_to_others_has_its_lists_looked_up_by_root(machine: Start) -> None:
    mx = machine()
    mx.lab.run("chmod", "0700", "/etc/postfix")
    mx.provision(customer())
    mx.upload("acme", "bob@acme.example")
    look = "from common.paths import Places; from receiver.tables_client import Tables; "
    look += "print(Tables(Places()).find_missing(['bob@acme.example', 'x@acme.example']))"
    start = "import sys; sys.path.insert(0, '/usr/local/lib/postern'); "
    assert mx.lab.run("python3", "-c", start + look, user="postern").stdout == "['x@acme.example']\n"


@pytest.mark.parametrize(
    "defaults",
    ["Defaults noexec", "Defaults:postern noexec", "Defaults!/usr/local/sbin/rebuild-relay-recips noexec"],
)
def test_a_sudo_that_lets_no_program_start_another_lets_the_build(machine: Start, defaults: str) -> None:
    mx = machine()
    mx.write("/etc/sudoers.d/zz-hardening", f"{defaults}\n")
    mx.provision(customer())
    mx.upload("acme", "bob@acme.example")
    mx.lab.run("sh", "-c", "echo new@acme.example >> /var/lib/postern/customers/acme/recipients", user="postern")
    mx.lab.run("sudo", "-n", "/usr/local/sbin/rebuild-relay-recips", user="postern")
    assert mx.lab.ask("new@acme.example", from_address=OUTSIDE) == "250 2.1.5 Ok"


def test_a_sudo_that_does_not_let_the_account_build_is_found_out_before_main_cf_is_edited(machine: Start) -> None:
    mx = machine()
    mx.write("/etc/sudoers.d/zz-hardening", "postern ALL=(ALL) PASSWD: ALL\n")
    with pytest.raises(HostError, match=r"cannot have root build the tables.*password is required"):
        mx.provision(customer())
    assert "postern" not in mx.settings()


def test_attack_a_crontab_that_the_account_made_for_itself_is_told(machine: Start) -> None:
    mx = machine()
    mx.write("/var/spool/cron/crontabs/postern", "* * * * * /tmp/again\n")
    (found,) = mx.refusals(customer())
    assert "account postern has a crontab (/var/spool/cron/crontabs/postern), which is not from us" in found
    assert "remove it (crontab -r -u postern)" in found


PUT_BACK = {
    "all of it": ("cp /etc/postfix/main.cf.own /etc/postfix/main.cf", ["relay_domains", "transport", "relay_recip"]),
    "one list": ("postconf -e 'transport_maps ='", ["transport_maps: names no table"]),
    "what lets others pass": (
        "postconf -e relay_recipient_maps=hash:/etc/postern/tables/exchange_recipients",
        ["lacks"],
    ),
    "a service": (
        "postconf -Pe 'smtp/inet/relay_recipient_maps ='",
        ["relay_recipient_maps: master.cf, smtp/inet has"],
    ),
}


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=[] if one in ("all of it", "a service") else pytest.mark.long) for one in PUT_BACK]
)
def test_the_timer_tells_when_postfix_no_longer_asks_our_tables(machine: Start, case: str) -> None:
    mx = machine()
    mx.lab.run("cp", "/etc/postfix/main.cf", "/etc/postfix/main.cf.own")
    mx.provision(customer())
    mx.lab.run("chmod", "0700", "/etc/postfix")
    assert timer(mx) == []
    harm, words = PUT_BACK[case]
    mx.lab.run("sh", "-c", harm)
    (line,) = timer(mx)
    assert "POSTFIX DOES NOT ASK OUR TABLES" in line
    assert all(word in line for word in words)
    mx.lab.run("postconf", "-PX", "smtp/inet/relay_recipient_maps")
    mx.provision(customer())
    assert timer(mx) == []


def timer(machine: Machine) -> list[str]:
    """What a run of the timer finds."""
    said = machine.lab.run("/usr/local/sbin/postern", "tick", "--json", user="postern").stdout
    return [str(line) for line in json.loads(said)["alarms"]]
