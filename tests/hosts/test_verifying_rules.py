"""Who on a relay has recipients verified besides us: where `unlisted = "ask"` would change somebody else's answers."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.remote_session import MAIN, sent_modules
from lab.host import LabHost
from tests.support.tiers import every_nth

pytestmark = pytest.mark.host

REPO = Path(__file__).parent.parent.parent
FIND = """
import json, sys
sys.path.insert(0, "/opt/postern-test")
from common.verifying_rules import find_verifying
from remote.postfix.instance import Postfix
print(json.dumps([*find_verifying(lambda program, *words: Postfix("/etc/postfix").run(program, *words).out)]))
"""
OURS = (
    "check_recipient_access pipemap:{regexp:/etc/postern/tables/asked, unionmap:{regexp:/etc/postern/tables/"
    "unlisted_domains, hash:/etc/postern/tables/exchange_recipients}, regexp:/etc/postern/tables/unlisted_answers}"
)
WORD = "reject_unverified_recipient"
T = "smtpd_recipient_restrictions=check_recipient_access"
SENDER = "smtpd_sender_restrictions=check_sender_access hash:/etc/postfix/rules"
CLIENT = "smtp/inet/smtpd_client_restrictions"
REGEXP = f"postconf -e '{T} regexp:/etc/postfix/rules'"
ASK = f"postconf -e '{T} hash:/etc/postfix/rules'"
BUILT = f"echo 'old.example {WORD}' >rules; postmap hash:rules; "
FOUND = {
    "as it is written": f"postconf -e 'smtpd_recipient_restrictions={WORD}'",
    "in other letters": "postconf -e 'smtpd_recipient_restrictions=permit_mynetworks, Reject_Unverified_Recipient'",
    "in another list": f"postconf -e 'smtpd_sender_restrictions={WORD}'",
    "by a name of its own": f"postconf -e 'my_checks={WORD}' 'smtpd_relay_restrictions=$my_checks'",
    "in a class": f"postconf -e smtpd_restriction_classes=careful 'careful={WORD}'",
    "in master.cf": f"postconf -Pe '{CLIENT}={WORD}'",
    "in master.cf, by a name": f"postconf -Pe smtp/inet/my_checks={WORD} '{CLIENT}=$my_checks'",
    "in a table": f"{BUILT} {ASK}",
    "in a table, in other letters": (
        f"echo 'old.example Reject_Unverified_Recipient' >rules; postmap hash:rules; {ASK}"
    ),
    "in a table behind a proxy": f"{BUILT} postconf -e '{T} proxy:hash:/etc/postfix/rules'",
    "in a table by a name": f"{BUILT} postconf -e '{T} hash:$config_directory/rules'",
    "in a table by its place in the queue": f"{BUILT} mv rules* /var/spool/postfix; postconf -e '{T} hash:rules'",
    "in a table of a class": (
        f"{BUILT} postconf -e smtpd_restriction_classes=mine 'mine=check_recipient_access hash:/etc/postfix/rules'"
    ),
    "in a table of the sender": f"{BUILT} postconf -e '{SENDER}'",
    "in a table without its text": f"{BUILT} rm rules; {ASK}",
    "in a table whose text has changed": f"{BUILT} : >rules; {ASK}",
    "in a text that is not built yet": (
        f"echo x y >rules; postmap hash:rules; echo 'old.example {WORD}' >rules; {ASK}"
    ),
    "in a table in Latin-1": f"printf 'j\\366rg@x.example {WORD}\\n' >rules; {REGEXP}",
    "in a union": f"{BUILT} postconf -e '{T} unionmap:{{static:DUNNO, hash:/etc/postfix/rules}}'",
    "in a pipe": f"{BUILT} postconf -e '{T} pipemap:{{inline:{{a=b}}, hash:/etc/postfix/rules}}'",
    "in main.cf, as a table": f"postconf -e '{T} inline:{{old.example={WORD}}}'",
    "for everybody": f"postconf -e '{T} static:{WORD}'",
    "beside our member": f"{BUILT} postconf -e '{T[:29]}{OURS}, check_recipient_access hash:/etc/postfix/rules'",
    "in a table that cannot be read": f"postconf -e '{T} hash:/etc/postfix/gone'",
}
HARMLESS = {
    "nothing is set": "true",
    "our member": f"postconf -e '{T[:29]}{OURS}'",
    "senders are verified": "postconf -e smtpd_sender_restrictions=reject_unverified_sender",
    "a policy service": "postconf -e 'smtpd_recipient_restrictions=check_policy_service inet:127.0.0.1:10023'",
    "a policy service by a socket": "postconf -e 'smtpd_data_restrictions=check_policy_service unix:private/policy'",
    "a table of other rules": f"echo 'old.example OK' >rules; postmap hash:rules; {ASK}",
    "an empty table": f": >rules; postmap hash:rules; {ASK}",
    "a comment": f"echo '# no {WORD} here' >rules; {REGEXP}",
    "a file of that name": f": >{WORD}; postmap hash:{WORD}; postconf -e '{T} hash:/etc/postfix/{WORD}'",
    "a class that nobody declared": f"postconf -e 'careful={WORD}'",
}


@pytest.fixture(scope="module")
def relay() -> Iterator[LabHost]:
    """A relay that is not started: only its configuration is read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in (MAIN, *sent_modules()):
            tar.add(path, Path("postern-test") / path.relative_to(REPO))
    with LabHost("bookworm") as host:
        host.run("tar", "-x", "-C", "/opt", stdin=packed.getvalue())
        host.run("cp", "-a", "/etc/postfix", "/root/postfix")
        yield host


def find(relay: LabHost, set_up: str) -> list[str]:
    relay.run("sh", "-c", "rm -r /etc/postfix /var/spool/postfix/rules*; cp -a /root/postfix /etc", check=False)
    relay.run("sh", "-ec", f"cd /etc/postfix; {set_up}")
    return list(json.loads(relay.run("python3", "-c", FIND).stdout))


@pytest.mark.parametrize("case", every_nth(FOUND, 2))
def test_another_rule_that_has_recipients_verified_is_found(relay: LabHost, case: str) -> None:
    found = find(relay, FOUND[case])
    assert len(found) == 1, found
    assert WORD in found[0]


@pytest.mark.parametrize("case", HARMLESS)
def test_a_rule_that_has_nobody_verified_is_no_obstacle(relay: LabHost, case: str) -> None:
    assert find(relay, HARMLESS[case]) == []
