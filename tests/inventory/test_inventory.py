from __future__ import annotations

import re
import shutil
import time
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import inventory
from commands.init import Draft
from inventory import InventoryError, reference
from inventory.exchange import Exchange, Schedule, Ssh, Take
from inventory.model import Customer, Guard, Relay
from inventory.sources import Ldap, Online
from inventory.table import Table
from receiver.upload.recipient_types import KINDS
from templates import render

SHIPPED = Path(inventory.__file__).parent
RELAYS = '[mx1]\naddress = "mx1.provider.example"\n[mx2]\naddress = "mx2.provider.example"\n'
ACME = """\
name = "Acme Ltd"
domains = ["acme.example", "acme.co.example"]
relays = ["mx1"]
[exchange]
server = "NTSERVER"
basepoint = "/o=Acme"
addresses = ["198.51.100.7"]
"""
CANARY = 'canaries = ["ceo@acme.example"]\n'
LDAP = """\
name = "Acme Ltd"
domains = ["acme.example"]
relays = ["mx1"]
[exchange]
source = "ldap"
addresses = ["198.51.100.7"]
[exchange.ldap]
servers = ["ldaps://dc1.acme.example"]
base = "dc=acme,dc=example"
bind_dn = "cn=r"
"""
ONLINE = """\
name = "Acme Ltd"
domains = ["acme.example"]
relays = ["mx1"]
[exchange]
source = "exchange-online"
addresses = ["198.51.100.7"]
[exchange.online]
organization = "acme.onmicrosoft.com"
app_id = "11111111-2222-4333-8444-555555555555"
"""
THUMBPRINT = 'thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567"\n'
PEM = 'certificate = "exchange.pem"\nkey = "/etc/ssl/exchange.key"\n'
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an inventory: relays.toml, and customers by id."""

    def written(relays: str = RELAYS, **customers: str) -> Path:
        (tmp_path / "customers").mkdir(exist_ok=True)
        (tmp_path / "relays.toml").write_text(relays, "utf-8")
        for customer, text in customers.items():
            (tmp_path / "customers" / f"{customer}.toml").write_text(text, "utf-8")
        return tmp_path

    return written


def faults(where: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        inventory.load(where)
    return caught.value.faults


def changed(old: str, new: str) -> str:
    assert old in ACME
    return ACME.replace(old, new)


# ---- what is read


def test_the_shipped_inventory_holds_the_demo_and_is_without_fault() -> None:
    shipped = inventory.load(SHIPPED)
    assert list(shipped.customers) == ["demo"]


def test_a_short_file_means_all_the_defaults(write: Write) -> None:
    acme = inventory.load(write(acme=ACME)).customers["acme"]
    assert (acme.id, acme.name, acme.relays) == ("acme", "Acme Ltd", ("mx1",))
    assert (acme.open_after_days, acme.key_max_age_days, acme.partial, acme.next_hop) == (30, 365, (), None)
    assert acme.guard == Guard()
    assert acme.exchange.schedule == Schedule()
    assert (acme.exchange.source, acme.exchange.client, acme.exchange.reach) == ("exchange-5.5", "plink", "kit")


EVERY_KEY = """\
name = "Acme Ltd"
domains = ["ACME.example", "müller.example"]
partial = ["xn--mller-kva.example"]
relays = ["mx1"]
next_hop = "relay:[203.0.113.25]:25"
exclude = ["Administrator"]
include = ["Helpdesk@acme.example"]
canaries = ["ceo@müller.example"]
plus_addresses = true
unlisted = "defer"
open_after_days = 10
key_max_age_days = 90
[exchange]
source = "exchange-5.5"
server = "NTSERVER"
install = 'D:\\exchsrvr'
directory = 'D:\\userexport'
basepoint = "/o=Acme"
reach = "kit"
client = "plink"
key_type = "rsa"
addresses = ["any"]
[exchange.schedule]
days = ["MON", "SAT"]
from = "08:00"
to = "12:00"
every_minutes = 30
timezone = "Europe/Berlin"
[guard]
shrink_percent = 5
shrink_floor = 0
growth_factor = 1.5
max_recipients = 10
max_megabytes = 1
"""
EVERY_KEY_OF_A_RELAY = """\
[mx1]
address = "mx1"
user = "ops"
port = 2222
sudo = true
role = "upload"
uploads = "mx1.provider.example:24"
config_directory = "/etc/postfix-out"
table_type = "lmdb"
reject = "soft"
alarm = ["/usr/bin/mail", "-s", "postern", "ops@provider.example"]
metrics = "/srv/metrics"
"""


def test_every_key_of_the_files_is_read(write: Write) -> None:
    read = inventory.load(write(EVERY_KEY_OF_A_RELAY, acme=EVERY_KEY))
    acme = read.customers["acme"]
    assert acme.domains == ("acme.example", "xn--mller-kva.example")
    assert acme.unicode == {"xn--mller-kva.example": "müller.example"}
    assert acme.partial == ("xn--mller-kva.example",)
    assert (acme.exclude, acme.include) == (("administrator",), ("helpdesk@acme.example",))
    assert acme.canaries == ("ceo@xn--mller-kva.example",)
    assert acme.exchange.schedule.days == ("MON", "SAT")
    assert acme.guard == Guard(shrink_percent=5, shrink_floor=0, growth_factor=1.5, max_recipients=10, max_megabytes=1)
    assert read.relays["mx1"].uploads_to == ("mx1.provider.example", 24)
    for model, table in ((Customer, tomllib.loads(EVERY_KEY)), (Relay, tomllib.loads(EVERY_KEY_OF_A_RELAY)["mx1"])):
        assert set(model.model_fields) - model.given - {"name"} == set(table) - {"name"}  # no key left out above
    keys = {field.alias or name for name, field in Schedule.model_fields.items()}
    assert keys == set(tomllib.loads(EVERY_KEY)["exchange"]["schedule"])


# ---- what is taken of a directory

ACTIVE_DIRECTORY = ACME.replace('basepoint = "/o=Acme"', 'source = "csvde"')


def test_the_keys_of_take_are_the_kinds_the_receiver_tells_apart() -> None:
    assert {name.replace("_", " ") for name in Take.model_fields} == set(KINDS)


def test_what_exchange_makes_for_itself_and_what_gets_no_mail_from_outside_is_left_out_unless_it_is_asked_for() -> None:
    own = ("system objects", "arbitration mailboxes", "discovery mailboxes", "health mailboxes", "mailbox plans")
    assert Take().left_out == ("internal only", *own, "public folder mailboxes")
    assert Take(internal_only=True, hidden=False).left_out == (*own, "public folder mailboxes", "hidden")


def test_an_export_that_tells_no_kinds_leaves_none_out(write: Write) -> None:
    assert inventory.load(write(acme=ACME)).customers["acme"].exchange.left_out == ()
    active = inventory.load(write(acme=ACTIVE_DIRECTORY + "[exchange.take]\nsystem_objects = true\n")).customers["acme"]
    assert active.exchange.left_out == Take(system_objects=True).left_out


@pytest.mark.parametrize("line", ["", 'basepoint = "DC=acme,DC=example"\n'])
def test_csvde_starts_at_the_root_of_a_domain_or_at_its_server_s_own(write: Write, line: str) -> None:
    acme = inventory.load(write(acme=ACTIVE_DIRECTORY + line)).customers["acme"]
    assert acme.exchange.basepoint == ("DC=acme,DC=example" if line else None)


@pytest.mark.parametrize(
    ("lines", "to"),
    [
        ("", ("mx1.provider.example", 22)),
        ("port = 2222", ("mx1.provider.example", 2222)),
        ('port = 2222\nuploads = "in.provider.example"', ("in.provider.example", 22)),
        ('uploads = "[2001:db8::1]:24"', ("2001:db8::1", 24)),
    ],
)
def test_uploads_go_to_where_the_relay_says_or_to_its_address(write: Write, lines: str, to: tuple[str, int]) -> None:
    where = write(f'[mx1]\naddress = "mx1.provider.example"\n{lines}\n', acme=ACME)
    assert inventory.load(where).relays["mx1"].uploads_to == to


def test_a_file_from_windows_is_read_like_any_other(write: Write) -> None:
    where = write()
    (where / "customers" / "acme.toml").write_bytes(b"\xef\xbb\xbf" + ACME.replace("\n", "\r\n").encode())
    assert inventory.load(where).customers["acme"].name == "Acme Ltd"


def test_retired_customers_and_hidden_files_are_none(write: Write) -> None:
    where = write(acme=ACME)
    (where / "customers" / "retired").mkdir()
    (where / "customers" / "retired" / "bolt.toml").write_text("not even TOML")
    (where / "customers" / ".acme.toml.swp").write_bytes(b"\0")
    assert list(inventory.load(where).customers) == ["acme"]


def test_the_inventory_is_where_the_environment_says_or_the_shipped_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTERN_INVENTORY", "/srv/postern")
    assert inventory.inventory_path() == Path("/srv/postern")
    monkeypatch.delenv("POSTERN_INVENTORY")
    assert inventory.inventory_path() == SHIPPED


def test_a_directory_that_is_not_there_is_named_with_the_variable_that_names_it(tmp_path: Path) -> None:
    assert faults(tmp_path / "x") == [
        f"{tmp_path}/x: no such directory; POSTERN_INVENTORY names the one that holds relays.toml"
    ]


def test_nothing_of_the_inventory_can_be_changed_once_it_is_read(write: Write) -> None:
    acme = inventory.load(write(acme=ACME)).customers["acme"]
    with pytest.raises(ValueError, match="frozen"):
        acme.name = "Bolt"  # type: ignore[misc]


def test_a_thousand_customers_are_read_before_anybody_looks_up(write: Write) -> None:
    text = ACME + '[exchange.schedule]\ntimezone = "Europe/Berlin"\n'

    def cost(count: int) -> float:
        shutil.rmtree(write() / "customers")
        where = write(**{f"c{n}": text.replace("acme.", f"acme{n}.") for n in range(count)})
        began = time.process_time()
        assert len(inventory.load(where).customers) == count
        return time.process_time() - began

    cost(1)  # what only the first read costs
    linear = (cost(1000) < 8 * cost(250) for _ in range(10))  # again, since what runs beside this slows some down
    assert any(linear), "four times as many cost about four times as much, not sixteen times"


# ---- what is wrong, and how it is said


def test_every_fault_of_every_file_is_told_at_once(write: Write) -> None:
    where = write(
        RELAYS + 'adress = "mx2"\n',
        acme=changed("/o=Acme", "o=Acme").replace('"mx1"', '"mx3"') + "directory = 'D:/x'\n",
        bolt="domains = [\n",
        cog=ACME + "[guard]\nmax_recipients = 0\n",
    )
    told = faults(where)
    assert [fault.split(": ")[:2] for fault in told] == [
        ["customers/bolt.toml", "is not TOML"],
        ["relays.toml", "mx2.adress"],
        ["customers/acme.toml", "exchange.directory"],
        ["customers/acme.toml", "exchange.basepoint"],
        ["customers/cog.toml", "guard.max_recipients"],
        ["customers/acme.toml", "relays"],
        ["customers/cog.toml", "domains"],
        ["customers/cog.toml", "domains"],
    ]


def test_the_text_of_the_error_is_a_line_for_each_fault(write: Write) -> None:
    with pytest.raises(InventoryError) as caught:
        inventory.load(write(acme="", bolt=""))
    assert str(caught.value).splitlines() == caught.value.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ACME + "drectory = 'D:\\x'\n", "exchange.drectory: no such key; did you mean 'directory'?"),
        ("canary = []\n" + ACME, "canary: no such key; did you mean 'canaries'?"),
        (ACME + "[exchange.schedule]\nfrm = 1\n", "exchange.schedule.frm: no such key; did you mean 'from'?"),
        ('id = "bolt"\n' + ACME, "id: no such key: the file cannot set it"),
        ("keys = []\n" + ACME, "keys: no such key: the file cannot set it"),
        ('"a\\u001b[31m" = 1\n' + ACME, r"'a\x1b[31m': no such key"),
        (changed('name = "Acme Ltd"\n', ""), "name: must be given. What people call the customer; may change, the id"),
        (changed('["acme.example", "acme.co.example"]', '"acme.example"'), "domains: 'acme.example' must be a list"),
        (changed('["acme.example", "acme.co.example"]', "[]"), "domains: () must not be empty"),
        (changed('"acme.co.example"', "3"), "domains: 3 must be text between quotes"),
        (changed('"Acme Ltd"', "true"), "name: True must be text between quotes"),
        ('open_after_days = "30"\n' + ACME, "open_after_days: '30' must be a whole number, without quotes"),
        ("open_after_days = true\n" + ACME, "open_after_days: True must be a whole number, without quotes"),
        ("open_after_days = 0\n" + ACME, "open_after_days: 0 must be greater than or equal to 1"),
        (ACME + "[guard]\ngrowth_factor = nan\n", "guard.growth_factor: nan must be a finite number"),
        (ACME + "[guard]\nshrink_percent = 101\n", "guard.shrink_percent: 101 must be less than or equal to 100"),
        ("guard = 5\n" + ACME, "guard: 5 must be a table"),
        (ACME + 'client = "putty"\n', "exchange.client: 'putty' must be one of plink"),
        (ACME + 'key_type = "rsa2"\n', "exchange.key_type: 'rsa2' must be one of ed25519, rsa; did you mean 'rsa'?"),
        (changed('["198.51.100.7"]', "[]"), "exchange.addresses: () must not be empty"),
        (changed('addresses = ["198.51.100.7"]', ""), 'exchange.addresses: must be given. Where uploads come from'),
        (changed('"198.51.100.7"', '"any", "10.0.0.1"'), "exchange.addresses: must be 'any' alone"),
        (changed('basepoint = "/o=Acme"\n', ""), "exchange.basepoint: must be given for exchange-5.5: /o="),
        (ACME + 'source = "csvde"\n', "exchange.basepoint: '/o=Acme' must be the root of a domain as DC=acme"),
        (ACME + 'source = "powershell"\n', "exchange.basepoint: '/o=Acme' must be left out for powershell"),
        (ACME + 'source = "csvd"\n', "must be one of exchange-5.5, csvde, powershell, ldap, exchange-online; did you"),
        (ACME + "[exchange.take]\nhiden = true\n", "exchange.take.hiden: no such key; did you mean 'hidden'?"),
        (ACME + "[exchange.take]\nhidden = false\n", "exchange.take: must be left out for exchange-5.5: its"),
        (ACTIVE_DIRECTORY + '[exchange.take]\nhidden = "no"\n', "exchange.take.hidden: 'no' must be true or false"),
        (ACME + '[exchange.schedule]\nto = "06:00"\n', "exchange.schedule.to: '06:00' must be later than from (07:00)"),
        (ACME + '[exchange.schedule]\nfrom = "20:00"\n', "exchange.schedule.to: '19:00' must be later than from"),
        (ACME + "[exchange.schedule]\nfrom = 07:00:00\n", "must be text between quotes"),
        (ACME + '[exchange.schedule]\ndays = "MO-FR"\n', "exchange.schedule.days: 'MO-FR' 'MO' is no day"),
        (changed('"acme.co.example"', '"ACME.example"'), "domains: names 'acme.example' twice"),
        ('partial = ["acme.com"]\n' + ACME, "partial: 'acme.com' is not one of domains; did you mean"),
        ('include = ["x@bolt.example"]\n' + ACME, "include: 'x@bolt.example' is in none of domains"),
        ('canaries = ["x@sub.acme.example"]\n' + ACME, "canaries: 'x@sub.acme.example' is in none of domains"),
        (LDAP, "exchange: source ldap needs canaries, one for each domain"),
        (CANARY + LDAP.replace("ldaps://", "ldap://"), "'ldap://dc1.acme.example' must be ldaps://, TLS from the"),
        (CANARY + LDAP.replace(".example\"]", ".example/x\"]"), "must read ldaps://HOST or ldaps://HOST:PORT"),
        (CANARY + LDAP.replace('bind_dn = "cn=r"', ""), "exchange.ldap.bind_dn: must be given. Who asks"),
        (CANARY + LDAP.replace("cn=r", "reader"), "exchange.ldap.bind_dn: 'reader' must be a DN"),
        (CANARY + LDAP + 'pin = "AAAA"\n', "exchange.ldap.pin: 'AAAA' must be sha256: and the 44 letters"),
        (CANARY + LDAP + 'atributes = ["mail"]\n', "exchange.ldap.atributes: no such key; did you mean 'attributes'?"),
        (CANARY + LDAP + 'attributes = ["mail;primary"]\n', "'mail;primary' must be the name of an attribute"),
        (CANARY + LDAP + 'filter = "mail=*"\n', "exchange.ldap.filter: 'mail=*' must be a filter whose brackets close"),
        (CANARY + LDAP.partition("[exchange.ldap]")[0], "exchange.ldap: must be given for ldap: servers, base"),
        (CANARY + LDAP.replace('"ldap"', '"powershell"\nserver = "EX1"'), "ldap: must be left out: it belongs to"),
        (CANARY + LDAP.replace("[exchange.ldap]", "directory = 'C:\\x'\n[exchange.ldap]"), "must be an absolute path"),
        (CANARY + LDAP.replace("[exchange.ldap]", 'client = "plink"\n[exchange.ldap]'), "must be openssh, or left out"),
        (CANARY + LDAP.replace("[exchange.ldap]", 'basepoint = "DC=x"\n[exchange.ldap]'), "must be left out for ldap"),
        (ONLINE + THUMBPRINT, "exchange: source exchange-online needs canaries, one for each domain"),
        (CANARY + ONLINE, "exchange.online.key: must be given with certificate (Linux), or thumbprint alone"),
        (CANARY + ONLINE + PEM + THUMBPRINT, "exchange.online.key: '/etc/ssl/exchange.key' must be given with certifi"),
        (CANARY + ONLINE + PEM.partition("\n")[0] + "\n", "exchange.online.key: must be given with certificate"),
        (CANARY + ONLINE + THUMBPRINT.replace("0123", "01:23"), "must be the certificate's thumbprint: 40 hexadec"),
        (CANARY + ONLINE.replace(".onmicrosoft.com", ".example") + PEM, "must be the tenant's first domain"),
        (CANARY + ONLINE.replace("11111111-", "") + PEM, "must be the Application (client) ID"),
        (CANARY + ONLINE + PEM + 'environment = "Mars"\n', "exchange.online.environment: 'Mars' must be one of O365De"),
        (CANARY + ONLINE.partition("[exchange.online]")[0], "exchange.online: must be given for exchange-online"),
        (CANARY + ONLINE.replace('"exchange-online"', '"powershell"\nserver = "EX1"') + PEM, "left out: it belongs"),
        (CANARY + ONLINE.replace("[exchange.o", 'basepoint = "DC=x"\n[exchange.o') + PEM, "left out for exchange-on"),
        (CANARY + ONLINE.replace("[exchange.o", 'client = "plink"\n[exchange.o') + PEM, "must be openssh, or left out"),
        (CANARY + ONLINE.replace("[exchange.o", 'directory = "/opt"\n[exchange.o') + THUMBPRINT, "directory: '/opt'"),
        ('exclude = ["ceo"]\ncanaries = ["CEO@acme.example"]\n' + ACME, "'ceo@acme.example' is excluded by 'ceo'"),
        ('exclude = ["*@acme.co.example"]\ninclude = ["a@acme.co.example"]\n' + ACME, "excluded by '*@acme.co.exa"),
        (changed('["mx1"]', '["mx1", "mx1"]'), "relays: names 'mx1' twice"),
        (changed('["mx1"]', '["mx11"]'), "relays: 'mx11' is not in relays.toml; did you mean"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_file_its_key_and_what_would_help(write: Write, text: str, fault: str) -> None:
    told = faults(write(acme=text))
    assert any(line.startswith("customers/acme.toml: ") and fault in line for line in told), told


def reordered(text: str) -> str:
    """Put keys that stand before the first line of ACME after it: order must not matter to any check."""
    head, _, rest = text.partition("name = ")
    return "name = " + rest.replace("relays = ", head + "relays = ", 1)


@pytest.mark.parametrize("key", ["partial = ['x.example']", "include = ['a@x.example']", "canaries = ['a@x.example']"])
def test_a_fault_across_keys_is_told_whatever_their_order_in_the_file(write: Write, key: str) -> None:
    assert len(faults(write(acme=f"{key}\n{ACME}"))) == 1
    assert len(faults(write(acme=reordered(f"{key}\n{ACME}")))) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "mx1' is not in relays.toml"),
        ("[MX1]\naddress = 'a.example'\n", "relays.toml: MX1.name: 'MX1' must be a letter a-z"),
        ("address = 'a.example'\n", "relays.toml: address: stands outside a table"),
        ("[mx1]\n", "relays.toml: mx1.address: must be given. Where `inv` connects"),
        ("[mx1]\naddress = 'mx1'\n", "relays.toml: mx1.uploads: must be given: customers' servers do not know 'mx1'"),
        ("[mx1]\naddress = 'a.example'\nalarm = ['mail']\n", "mx1.alarm: must begin with a program's full path"),
        ("[mx1]\naddress = 'a.example'\nalarm = '/bin/mail'\n", "relays.toml: mx1.alarm: '/bin/mail' must be a list"),
        ("[mx1]\naddress = 'a.example'\nport = 0\n", "relays.toml: mx1.port: 0 must be greater than or equal to 1"),
        ("[mx1]\naddress = 'a.example'\nsudo = 'yes'\n", "relays.toml: mx1.sudo: 'yes' must be true or false"),
        ("[mx1]\naddress = 'a.example'\nreject = 'sof'\n", "must be one of hard, soft; did you mean 'soft'?"),
        ("[mx1]\naddress = 'a.example'\nhost_keys = ['ssh-rsa AAAA']\n", "relays.toml: mx1.host_keys: no such key"),
        ("[mx1]\naddress = 'a.example'\nname = 'mx2'\n", "relays.toml: mx1.name: no such key"),
    ],
)  # fmt: skip
def test_a_fault_of_the_relays_is_told_with_its_relay(write: Write, text: str, fault: str) -> None:
    told = faults(write(text, acme=ACME))
    assert any(fault in line for line in told), told


def test_a_domain_claimed_twice_names_both_files(write: Write) -> None:
    bolt = changed('"acme.example", "acme.co.example"', '"bolt.example", "Acme.Example"')
    told = faults(write(acme=ACME, bolt=bolt))
    assert told == ["customers/bolt.toml: domains: 'acme.example' is claimed by customers/acme.toml too"]


def test_a_domain_claimed_twice_in_two_forms_is_one_domain(write: Write) -> None:
    acme = changed('"acme.co.example"', '"müller.example"')
    bolt = changed('"acme.example", "acme.co.example"', '"XN--MLLER-KVA.example"')
    assert len(faults(write(acme=acme, bolt=bolt))) == 1


@pytest.mark.parametrize("theirs", ["", "directory = 'c:\\UserExport'\n"])
def test_a_folder_of_one_machine_is_one_customer_s(write: Write, theirs: str) -> None:
    there = '[exchange.ssh]\naddress = "ntserver.example"\nuser = "bob"\n'
    reached = changed("[exchange]", '[exchange]\nreach = "ssh"\nclient = "openssh"') + there
    beta = reached.replace("acme.", "beta.").replace("[exchange]\n", f"[exchange]\n{theirs}")
    (told,) = faults(write(acme=reached, beta=beta))
    assert told.startswith("customers/beta.toml: exchange.directory: ")
    assert told.endswith("is of customers/acme.toml too: each customer needs a folder of its own")
    own = reached.replace("acme.", "beta.").replace("[exchange]\n", "[exchange]\ndirectory = 'D:\\beta'\n")
    assert len(inventory.load(write(acme=reached, beta=own)).customers) == 2


# ---- for one customer

BETA = ACME.replace("acme.", "beta.")
ELSEWHERE = {
    "a key that is none": ACME + "colour = 1\n",
    "no TOML": "name = ",
    "a relay nobody has": ACME.replace('["mx1"]', '["mx7"]'),
}


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_customer_is_read_though_another_s_file_has_faults(write: Write, text: str) -> None:
    read = inventory.load(write(acme=text, beta=BETA), ["beta"])
    assert read.customers["beta"].relays == ("mx1",)
    assert [fault.partition(":")[0] for fault in read.faults] == ["customers/acme.toml"]
    assert faults(write(acme=text, beta=BETA)) == [*read.faults]


def test_whose_file_cannot_be_used_is_named_and_not_taken_for_gone(write: Write) -> None:
    read = inventory.load(write(acme="name = ", beta=BETA), ["beta"])
    assert ([*read.unread], [*read.customers]) == (["acme"], ["beta"])


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_all_customers_whose_files_are_right_are_read_without_the_others(write: Write, text: str) -> None:
    read = inventory.load_sound(write(acme=text, beta=BETA))
    assert ([*read.customers], [*read.unread], read.code) == (["beta"], ["acme"], 2)
    assert faults(write()) == [*read.faults]


def test_of_two_customers_who_claim_a_domain_neither_is_among_those_whose_files_are_right(write: Write) -> None:
    twice = BETA.replace('"beta.example"', '"acme.example", "beta.example"')
    read = inventory.load_sound(write(acme=ACME, beta=twice, gamma=ACME.replace("acme.", "gamma.")))
    assert ([*read.customers], sorted(read.unread)) == (["gamma"], ["acme", "beta"])


@pytest.mark.parametrize("relays", [RELAYS + "[mx9]\n", "[mx1"], ids=["a relay's fault", "no TOML"])
def test_a_fault_of_a_relay_is_nobody_s_whom_one_could_leave_out(write: Write, relays: str) -> None:
    with pytest.raises(InventoryError):
        inventory.load_sound(write(relays, acme=ACME))


def test_where_no_customer_s_file_is_right_the_faults_are_raised(write: Write) -> None:
    with pytest.raises(InventoryError, match="colour"):
        inventory.load_sound(write(acme=ACME + "colour = 1\n"))
    assert inventory.load_sound(write(acme=ACME)).code == 0


BACKUPS = ("acme.toml~", "acme.toml.bak", "acme.toml.orig", "acme.toml.swp", "#acme.toml#")


def test_what_an_editor_leaves_beside_a_customer_s_file_is_no_customer(write: Write) -> None:
    where = write(acme=ACME)
    for name in (*BACKUPS, ".#acme.toml", ".acme.toml.swp"):
        (where / "customers" / name).write_text("half a fi")
    assert [*inventory.load(where).customers] == ["acme"]
    assert inventory.list_backups(where) == sorted(BACKUPS)


def test_a_fault_that_touches_the_customer_is_raised(write: Write) -> None:
    twice = BETA.replace('"beta.example"', '"acme.example", "beta.example"') + "colour = 1\n"
    (claimed,) = faults_for(write(acme=twice, beta=ACME, gamma=ACME.replace("acme.", "gamma.") + "x = 1\n"), "beta")
    assert "claimed by customers/acme.toml too" in claimed
    other = RELAYS + '[mx3]\naddress = "mx3.provider.example"\ncolour = 1\n'
    assert faults_for(write(other, acme=ACME, beta=BETA), "acme") == []
    assert len(faults_for(write(other, beta=BETA.replace('["mx1"]', '["mx3"]')), "beta")) == 1
    assert len(faults_for(write("[mx1", beta=BETA), "beta")) == 1


def test_a_key_of_two_customers_stops_both_and_no_third(write: Write) -> None:
    gamma = ACME.replace("acme.", "gamma.")
    where = write(acme=ACME + "colour = 1\n", beta=BETA, gamma=gamma)
    for customer in ("acme", "beta"):
        (where / "keys" / customer).mkdir(parents=True)
        (where / "keys" / customer / "k1.pub").write_text(f"{HOST_KEY} {customer} k1 2026-01-01\n")
    assert "is the key of keys/acme/k1.pub too" in faults_for(where, "beta")[0]
    assert faults_for(where, "gamma") == []


def faults_for(where: Path, customer: str) -> list[str]:
    """Return what stops a command for this customer."""
    try:
        inventory.load(where, [customer])
    except InventoryError as error:
        return error.faults
    return []


def test_a_domain_is_seen_to_be_claimed_twice_even_where_its_file_has_other_faults(write: Write) -> None:
    assert len(faults(write(acme=ACME, bolt=ACME + "x = 1\n"))) == 3


def test_a_syntax_error_is_told_with_its_line(write: Write) -> None:
    assert "customers/acme.toml: is not TOML: " in faults(write(acme="a = 1\nb = = 2\n"))[0]
    assert "line 2" in faults(write(acme="a = 1\nb = = 2\n"))[0]


def test_a_windows_path_in_double_quotes_is_told_how_to_be_written(write: Write) -> None:
    told = faults(write(acme=ACME + 'directory = "D:\\exports"\n'))
    assert "write Windows paths between single quotes" in told[0]


@pytest.mark.parametrize("text", ["name = 'M\xfcller'\n".encode("latin-1"), ACME.encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_a_fault_with_its_line_and_no_traceback(write: Write, text: bytes) -> None:
    where = write()
    (where / "customers" / "acme.toml").write_bytes(text)
    assert faults(where) == ["customers/acme.toml: line 1: is not UTF-8; save it as UTF-8 text"]


def test_an_unreadable_relays_file_is_one_fault_and_not_one_for_each_customer(write: Write) -> None:
    where = write("[mx1\n", acme=ACME, bolt=changed('"acme.example", "acme.co.example"', '"bolt.example"'))
    assert len(faults(where)) == 1
    (where / "relays.toml").unlink()
    (fault,) = faults(where)
    assert fault.startswith(f"{where}/relays.toml: is not there")


@pytest.mark.parametrize("stray", ["acme.txt", "ACME.TOML", "notes"])
def test_a_stray_file_among_the_customers_is_named(write: Write, stray: str) -> None:
    where = write(acme=ACME)
    (where / "customers" / stray).write_text("x")
    assert [fault.split(":")[0] for fault in faults(where)] == [f"customers/{stray}"]


def test_a_directory_and_a_broken_link_with_a_customer_s_name_are_faults(write: Write) -> None:
    where = write(acme=ACME)
    (where / "customers" / "bolt.toml").mkdir()
    (where / "customers" / "cog.toml").symlink_to("nowhere")
    told = faults(where)
    assert [fault.split(":")[0] for fault in told] == ["customers/bolt.toml", "customers/cog.toml"]


@pytest.mark.parametrize("stem", ["Acme", "acme.example", "acme ltd", "-acme", "a" * 32])
def test_a_file_whose_name_cannot_be_an_id_is_refused(write: Write, stem: str) -> None:
    where = write()
    (where / "customers" / f"{stem}.toml").write_text(ACME)
    assert faults(where) == [
        f"customers/{stem}.toml: id: {stem!r} must be a letter a-z, then up to 30 of a-z, 0-9 and -"
    ]


def test_a_fault_s_value_is_shown_short_and_without_control_characters(write: Write) -> None:
    told = faults(write(acme=changed('"Acme Ltd"', f'"a\\u001b{"x" * 5000}"')))
    assert len(told[0]) < 300
    assert "\x1b" not in told[0]


# ---- finding


def test_a_customer_that_is_not_there_gets_the_near_one_s_name(write: Write) -> None:
    read = inventory.load(write(acme=ACME))
    assert inventory.find(read, "acme").id == "acme"
    with pytest.raises(InventoryError, match=r"^no customer .acmee. in customers/ of the inventory; did you mean"):
        inventory.find(read, "acmee")


def test_a_relay_that_is_not_there_gets_the_near_one_s_name(write: Write) -> None:
    read = inventory.load(write(acme=ACME))
    assert inventory.find_relay(read, "mx2").name == "mx2"
    with pytest.raises(InventoryError, match=r"^no relay .mx3. in relays\.toml of the inventory; did you mean .mx."):
        inventory.find_relay(read, "mx3")


# ---- the schedule


def test_the_first_export_is_moved_within_its_hour_by_the_id_and_the_last_is_not_after_the_end() -> None:
    for customer in ("acme", "bolt", "cog"):
        starts = Schedule().starts(customer)
        assert 7 * 60 <= starts[0] < 8 * 60
        assert starts[-1] <= 19 * 60
        assert {later - earlier for earlier, later in pairwise(starts)} == {60}
        assert Schedule().starts(customer) == starts


def test_a_window_of_a_minute_still_has_an_export_in_it() -> None:
    narrow = Schedule.model_validate({"from": "07:00", "to": "07:01"})
    assert all(420 <= start <= 421 for start in narrow.starts("acme"))
    assert narrow.starts("acme")


# ---- the page and the file to fill in


def test_the_page_on_the_inventory_is_the_one_the_model_writes() -> None:
    page = (SHIPPED.parent / "docs" / "inventory.md").read_text("utf-8")
    assert page == reference.page(), "run: python -m inventory.reference > docs/inventory.md"


def test_every_key_has_a_sentence() -> None:
    for model in (Customer, Exchange, Schedule, Guard, Relay):
        for name, field in model.model_fields.items():
            assert name in model.given or (field.description or "").endswith("."), f"{model.__name__}.{name}"


def keys_of(model: type[Table]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items() if name not in model.given}


def test_a_server_reached_over_ssh_is_said_where_and_as_whom_and_no_other_is(write: Write) -> None:
    def said(reach: str, table: str) -> list[str]:
        return faults(write(acme=ACME.replace("[exchange]", f'[exchange]\nreach = "{reach}"') + table))

    assert said("ssh", "") == ['customers/acme.toml: exchange.ssh: must say address and user, as reach is "ssh"']
    assert said("ssh", '[exchange.ssh]\naddress = "10.0.0.5"\n') == said("ssh", "")
    there = """[exchange.ssh]\naddress = "10.0.0.5"\nuser = 'ACME\\bob'\n"""
    assert said("kit", there) == ['customers/acme.toml: exchange.ssh: must be left out: it belongs to reach = "ssh"']
    where = write(acme=ACME.replace("[exchange]", '[exchange]\nreach = "ssh"') + there)
    (where / "known_hosts").write_text(f"10.0.0.5 {HOST_KEY}\n")
    assert inventory.load(where).customers["acme"].host_keys == (HOST_KEY,)


def test_securecrt_wants_an_id_that_fits_an_account_and_somebody_at_the_server(write: Write) -> None:
    text = ACME.replace("[exchange]", '[exchange]\nclient = "securecrt"')
    fits, too_long = "a" * 24, "a" * 25
    assert inventory.load(write(**{fits: text})).customers[fits].upload_account == f"postern-{fits}"
    (write() / "customers" / f"{fits}.toml").unlink()
    (fault,) = faults(write(**{too_long: text}))
    assert "needs an account postern-ID on the relays, of 32 letters at most" in fault
    (write() / "customers" / f"{too_long}.toml").unlink()
    reached = text.replace("[exchange]", '[exchange]\nreach = "ssh"')
    there = '[exchange.ssh]\naddress = "10.0.0.5"\nuser = "bob"\n'
    (fault,) = faults(write(acme=reached + there))
    assert "wants somebody at the server" in fault


@pytest.mark.parametrize(
    ("lines", "default"),
    [
        ("", True),
        ('filter = "(proxyAddresses=*)"\n', True),
        ('attributes = ["mail", "alias"]\nfilter = "( | (ALIAS=*)(mail=*) )"\n', True),
        ('attributes = ["mail", "alias"]\nfilter = "(mail=*)"\n', False),
        ('attributes = ["mail"]\nfilter = "(&(mail=*)(status=enabled))"\n', False),
        ('attributes = ["mail"]\nfilter = "(mail=a*)"\n', False),
    ],
)
def test_a_filter_written_by_hand_is_the_default_where_it_finds_the_same(
    write: Write, lines: str, default: bool
) -> None:
    customer = inventory.load(write(acme=CANARY + LDAP + lines)).customers["acme"]
    assert customer.exchange.ldap
    assert customer.exchange.ldap.finds_addresses_alone is default
    assert (customer.exchange.client, customer.exchange.directory) == ("openssh", "/opt/userexport")


def to_fill_in(*relays: str) -> str:
    """Return what `inv init acme` writes."""
    return render("inventory/customer.toml.j2", **{**Draft("acme", relays=relays)._asdict(), "customer": "acme"})


def test_the_file_to_fill_in_names_every_key() -> None:
    text = to_fill_in("mx1")
    named = set(re.findall(r"^(?:# )?([a-z_]+) = ", text, re.MULTILINE))
    known = keys_of(Customer) | keys_of(Exchange) | keys_of(Schedule) | keys_of(Take) | keys_of(Guard)
    assert named == known - {"exchange", "guard", "schedule", "ssh", "take", "ldap", "online"}
    tables = {*keys_of(Ssh) - {"port"}, *keys_of(Ldap), *keys_of(Online) - {"environment"}}
    assert set(re.findall(r"^#     ([a-z_]+) = ", text, re.MULTILINE)) == tables


def test_the_file_to_fill_in_is_complete_once_it_is_filled_in(write: Write) -> None:
    text = to_fill_in("mx1", "mx2")
    for blank, filled in {
        "<what people call them, as Acme Ltd>": "Acme Ltd",
        "<their mail domain, as acme.example>": "acme.example",
        "<the Exchange server's name, as NTSERVER>": "NTSERVER",
        "<the organisation as Exchange spells it, as /o=Acme>": "/o=Acme",
        "<address>": "198.51.100.7",
        "<the server's time zone, as Europe/Berlin>": "Europe/Berlin",
    }.items():
        assert blank in text
        text = text.replace(blank, filled)
    everything = re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)
    assert inventory.load(write(acme=text)).customers["acme"].relays == ("mx1", "mx2")
    assert inventory.load(write(acme=everything)).customers["acme"].guard == Guard()


def test_the_file_to_fill_in_is_refused_while_it_is_not_filled_in(write: Write) -> None:
    told = faults(write(acme=to_fill_in("mx1")))
    assert {fault.split(": ")[1] for fault in told} == {
        "name",
        "domains",
        "exchange.server",
        "exchange.basepoint",
        "exchange.addresses",
        "exchange.schedule.timezone",
    }
