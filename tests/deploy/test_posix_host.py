"""What a POSIX host is given: the files of a kit, and what they say."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from inventory.exchange import Exchange
from inventory.model import Customer
from receiver.upload.recipient_types import OWNER
from roles import customer_host as customer_role
from tests.roles.test_customer_host import customer, relay

LDAP = {"servers": ("ldaps://dc1.demo.example:3269",), "base": "DC=demo,DC=example", "bind_dn": "cn=it's,dc=demo"}


def posix(*keys: str, **ldap: Any) -> Customer:
    end = {"source": "ldap", "addresses": ("198.51.100.7",), "ldap": {**LDAP, **ldap}}
    return customer(*keys).model_copy(update={"exchange": Exchange.model_validate(end)})


def online(**certificate: str) -> Customer:
    tenant = {"organization": "acme.onmicrosoft.com", "app_id": "11111111-2222-4333-8444-555555555555"}
    end = {"source": "exchange-online", "addresses": ("198.51.100.7",), "online": {**tenant, **certificate}}
    return customer().model_copy(update={"exchange": Exchange.model_validate(end)})


def files(one: Customer) -> dict[str, str]:
    relays = [relay("mx1", uploads="upload.provider.example:2222")]
    return {item.name: str((item.wanted or {})["content"]) for item in customer_role.items(one, relays)}


def test_a_kit_holds_scripts_units_and_host_keys_and_no_secret() -> None:
    kit = files(posix("k1", "k2"))
    assert set(kit) == {
        *("runexport.sh", "schedule.sh", "known_hosts", "README.txt"),
        *("postern-demo.service", "postern-demo.timer", "postern-demo.cron"),
    }
    assert kit["known_hosts"].startswith("[upload.provider.example]:2222 ssh-ed25519 ")
    assert "for key in exchupdate-k2 exchupdate-k1; do" in kit["runexport.sh"]
    assert not [name for name, text in kit.items() if "\r\n" in text or "BEGIN OPENSSH" in text]


def test_a_kit_for_exchange_online_holds_the_same_script_as_windows_with_line_ends_of_unix() -> None:
    kit, windows = files(online(certificate="exchange.pem", key="exchange.key")), files(online(thumbprint="AB" * 20))
    assert {"runexport.sh", "runexport.ps1", "schedule.sh", "known_hosts", "README.txt"} < set(kit)
    assert {"runexport.bat", "runexport.ps1"} < set(windows)
    assert not [name for name, text in kit.items() if "\r\n" in text]
    ours, theirs = kit["runexport.ps1"].splitlines(), windows["runexport.ps1"].splitlines()
    assert [line for line in ours if line not in theirs] == [
        '$thumbprint = ""',
        '$certificateFile = "exchange.pem"',
        '$keyFile = "exchange.key"',
    ]
    assert "ldapsearch" not in "".join(kit.values())


def test_what_the_inventory_says_reaches_the_script_as_words_of_the_shell() -> None:
    script = files(posix(filter="(cn=$(reboot)`reboot`)", base="dc=a b,dc='x'"))["runexport.sh"]
    values = re.findall(r"^(?:base|bind|filter)=.*$", script, re.MULTILINE)
    told = subprocess.run(
        ["sh", "-c", "\n".join([*values, 'printf "%s\\n" "$base" "$bind" "$filter"'])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines() == ["dc=a b,dc='x'", "cn=it's,dc=demo", "(cn=$(reboot)`reboot`)"]


def test_the_script_asks_for_all_that_tells_a_kind() -> None:
    script = files(posix(attributes=("mail", "alias")))["runexport.sh"]
    asked = re.search(r'"\$filter" \\\n\s+mail alias ([A-Za-z\s\\]+) 2>', script)
    assert asked
    assert asked[1].replace("\\", "").split() == [*OWNER]
    assert "filter='(|(mail=*)(alias=*))'" in script


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
@pytest.mark.parametrize("one", [posix(), online(certificate="a.pem", key="a.key")], ids=["ldap", "exchange-online"])
def test_the_scripts_are_posix_sh(shell: str, one: Customer) -> None:
    kit = files(one)
    for name in ("runexport.sh", "schedule.sh"):
        subprocess.run([*shell.split(), "-n"], input=kit[name], text=True, check=True, capture_output=True)


KNOWN_TO_OPENSSH_6_5 = {
    *("BatchMode", "CheckHostIP", "ConnectTimeout", "GlobalKnownHostsFile", "IdentitiesOnly", "ServerAliveInterval"),
    *("StrictHostKeyChecking", "UserKnownHostsFile"),
}
"""Options of the release that first read our keys; an ssh ends with 255 at an option that it does not know."""


def test_no_ssh_that_reads_our_keys_is_given_an_option_that_it_does_not_know() -> None:
    one = posix()
    proof = "\n".join(customer_role.key_test_command(one, relay("mx1"), "k1"))
    sends = files(one)["runexport.sh"].partition("ssh -F")[2]
    assert "UserKnownHostsFile" in sends
    for text in (sends, proof):
        assert set(re.findall(r"-o[ \n]([A-Z]\w+)=", text)) <= KNOWN_TO_OPENSSH_6_5


def test_timer_and_cron_start_at_the_same_times() -> None:
    kit = files(posix())
    cron = {
        f"{int(hour):02}:{int(minute):02}"
        for minute, hour in re.findall(r"^(\d+) (\d+) ", kit["postern-demo.cron"], re.MULTILINE)
    }
    assert cron == set(re.findall(r"\*-\*-\* (\d\d:\d\d):00", kit["postern-demo.timer"]))
    assert len(cron) > 5
