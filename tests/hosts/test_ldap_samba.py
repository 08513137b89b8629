"""A real domain controller, Samba's: from its people, through a kit that was carried, to what a relay's SMTP says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import roots
from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers
from tests.support.directories import FOLDER
from tests.support.domain_controllers import ACCOUNT, BASE, PASSWORD, SERVER, DomainController, user

pytestmark = [pytest.mark.host, pytest.mark.long]

PEOPLE = 2500
ODD = (
    user("All Staff", "proxyAddresses: SMTP:staff@acme.example", "msExchRequireAuthToSendTo: TRUE", kind="group")
    + user("Info", "proxyAddresses: SMTP:info@acme.example", "msExchRecipientTypeDetails: 4", "userAccountControl: 514")
    + user("HealthMailbox0123456789", "proxyAddresses: SMTP:HealthMailbox0123456789@acme.example")
    + user(
        "Carl", "proxyAddresses: SMTP:carl@acme.example", "proxyAddresses: SIP:carl.sip@acme.example", kind="contact"
    )
    + user("Nobody", "mail: nobody@acme.example")
)
NEW = f"--newpassword={PASSWORD}"
SHUT_OUT = {
    f"user setpassword postern {NEW} --must-change-at-next-login": "its password must be changed first",
    "user disable postern": "the account is disabled",
    "user setexpiry postern --days=-1": "the account has expired",
}


class Customer:
    """The customer whose directory this is, and what its admin does with a kit."""

    def __init__(self, operator: Operator, relay: LabHost, directory: DomainController) -> None:
        self.operator, self.host = operator, directory.host
        operator.relay("mx1", relay)
        self.asks(f"{SERVER}:3269", ACCOUNT)

    def asks(self, server: str, bind_dn: str) -> None:
        """Have the inventory say so, and carry the kit."""
        ldap = {"servers": [server], "base": BASE, "bind_dn": bind_dn}
        windows = dict.fromkeys(("server", "install", "directory", "basepoint"))
        exchange = {**windows, "source": "ldap", "addresses": ["127.0.0.0/8"], "ldap": ldap}
        self.operator.customer("acme", canaries=["user7@acme.example"], exchange=exchange)
        self.operator.done("provision acme")
        self.host.run("mkdir", "-p", FOLDER)
        for path in (self.operator.kits / "acme").iterdir():
            if path.is_file():
                self.put(path.name, path.read_bytes())

    def put(self, name: str, content: bytes) -> None:
        """Put a file into the folder, for its owner alone."""
        path = self.host.root / FOLDER.lstrip("/") / name
        path.write_bytes(content)
        path.chmod(0o600)

    def export(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return self.host.run("sh", f"{FOLDER}/runexport.sh", *words, check=False)


def is_told(customer: Customer, password: str, *said: str) -> None:
    """Have the customer's admin forget what was refused, write a password and run the script, which says this."""
    customer.host.run("rm", "-f", f"{FOLDER}/runexport.49")
    customer.put("bind.password", password.encode())
    ran = customer.export()
    assert ran.returncode == 4, ran.stdout
    for text in said:
        assert text in ran.stdout, ran.stdout


def refused_keytab(customer: Customer) -> None:
    """Have the account get another password than its keytab is of: the script asks for one ticket and no more."""
    customer.host.run("samba-tool", "user", "setpassword", "postern", "--newpassword=An0ther-one")
    ran = customer.export()
    assert (ran.returncode, "bind.keytab is of another password" in ran.stdout) == (4, True), ran.stdout
    assert "bind.keytab was refused before and is still the same" in customer.export().stdout
    customer.host.run("samba-tool", "user", "disable", "postern")
    customer.host.run("rm", f"{FOLDER}/runexport.49")
    assert "the account is locked, disabled or expired" in customer.export().stdout
    customer.host.run("samba-tool", "user", "enable", "postern")
    customer.host.run("samba-tool", "user", "setpassword", "postern", NEW)
    customer.host.run("rm", f"{FOLDER}/runexport.49")


def test_the_people_of_a_domain_controller_reach_the_smtp_answers_of_a_relay(
    lab_host: Callable[..., LabHost], tmp_path: Path
) -> None:
    relay = lab_host("bookworm")
    relay.start_postfix()
    people = (user(f"user{number}", f"proxyAddresses: SMTP:user{number}@acme.example") for number in range(PEOPLE))
    directory = DomainController(lab_host("trixie", bare=True, extra=roots.DOMAIN_CONTROLLER), "".join(people) + ODD)
    customer = Customer(AtOnce(tmp_path), relay, directory)
    customer.host.run("cp", "/etc/ldap/lab/ca.pem", f"{FOLDER}/ca.pem")

    customer.put("bind.password", b"old")
    ran = customer.export()
    assert "(49): no such account, or another password" in ran.stdout, ran.stdout
    assert ran.returncode == 4

    customer.put("bind.password", PASSWORD.encode())
    ran = customer.export()
    assert f"{PEOPLE + 4} entries" in ran.stdout, ran.stdout
    assert ran.returncode == 3
    customer.operator.accept("acme", f"--first {PEOPLE + 2}")
    assert answers(relay, "user7@acme.example", "info@acme.example", "carl@acme.example") == {
        "user7@acme.example": "250",
        "info@acme.example": "250",
        "carl@acme.example": "250",
    }
    assert set(answers(relay, "staff@acme.example", "nobody@acme.example", "carl.sip@acme.example").values()) == {"550"}

    # the domain's own port has references, in which nobody lives; and a keytab in place of a password
    customer.asks(SERVER, "postern@ACME.EXAMPLE")
    customer.host.run("samba-tool", "domain", "exportkeytab", f"{FOLDER}/bind.keytab", "--principal=postern")
    customer.host.run("rm", f"{FOLDER}/bind.password")
    ran = customer.export()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{PEOPLE + 2} recipients, unchanged" in ran.stdout
    assert "another server" not in ran.stdout

    # an account that no longer may, each time by what its admin would have done
    refused_keytab(customer)
    customer.host.run("rm", f"{FOLDER}/bind.keytab")
    customer.asks(SERVER, ACCOUNT)
    for command, sentence in SHUT_OUT.items():
        customer.host.run("samba-tool", *command.split())
        is_told(customer, PASSWORD, f"(49): {sentence}")
        for undo in ("user enable postern", "user setexpiry postern --noexpiry", f"user setpassword postern {NEW}"):
            customer.host.run("samba-tool", *undo.split())
    customer.host.run("samba-tool", "domain", "passwordsettings", "set", "--account-lockout-threshold=3")
    for number in range(3):
        is_told(customer, f"wrong{number}", "(49): no such account, or another password")
    is_told(customer, PASSWORD, "(49): the account is locked")
    customer.host.run("samba-tool", "user", "unlock", "postern")
    customer.host.run("rm", f"{FOLDER}/runexport.49")
    assert customer.export().returncode == 0
