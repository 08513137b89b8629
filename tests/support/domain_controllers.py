"""A lab host that is a domain controller of Samba's Active Directory, with Exchange's attributes in its schema."""

from __future__ import annotations

import time

from lab.host import LabHost
from tests.support.directories import CERTIFICATES

BASE = "DC=acme,DC=example"
ACCOUNT = "postern@acme.example"
PASSWORD = "Pa55-word"
SERVER = "ldaps://dc1.acme.example"

_SCHEMA = f"CN=Schema,CN=Configuration,{BASE}"
_ATTRIBUTES = (  # of Exchange: name, OID, syntax, oMSyntax
    ("msExchRecipientTypeDetails", "1.2.840.113556.1.4.7000.102.50855", "2.5.5.16", 65),
    ("msExchRequireAuthToSendTo", "1.2.840.113556.1.4.5062", "2.5.5.8", 1),
    ("msExchHideFromAddressLists", "1.2.840.113556.1.4.7000.102.73", "2.5.5.8", 1),
)
_NOW = "dn:\nchangetype: modify\nadd: schemaUpdateNow\nschemaUpdateNow: 1\n\n"
_PROVISION = """
rm -f /etc/samba/smb.conf && chmod 600 /etc/ldap/lab/server.key
samba-tool domain provision --realm=ACME.EXAMPLE --domain=ACME --adminpass="$2" --server-role=dc --dns-backend=NONE \\
    --host-name=dc1 --host-ip="$1" --option="interfaces=$1/32" --option='bind interfaces only=yes' \\
    --option='server services=ldap kdc' --option='tls keyfile=/etc/ldap/lab/server.key' \\
    --option='tls certfile=/etc/ldap/lab/server.pem' --option='tls cafile=/etc/ldap/lab/ca.pem'
samba-tool spn add ldap/dc1.acme.example 'DC1$'  # which a service for updates would add, had it DNS
samba-tool user create postern "$2"
cat > /etc/krb5.conf <<END
[libdefaults]
default_realm = ACME.EXAMPLE
dns_lookup_kdc = false
dns_canonicalize_hostname = false
[realms]
ACME.EXAMPLE = {
    kdc = $1
}
END
"""


def user(name: str, *lines: str, kind: str = "user") -> str:
    """Return the LDIF of an object of ou=People; lines as `proxyAddresses: ...`."""
    account = f"sAMAccountName: {name[:20]}\n" if kind in ("user", "group") else ""
    attributes = "".join(f"{line}\n" for line in lines)
    return f"dn: CN={name},OU=People,{BASE}\nobjectClass: {kind}\n{account}{attributes}\n"


class DomainController:
    """A forest of one domain with these people; it answers on 389, 636, 3268 and 3269 once it is made."""

    def __init__(self, host: LabHost, people: str) -> None:
        self.host = host
        with (host.root / "etc/hosts").open("a") as file:
            file.write(f"{host.address} dc1.acme.example dc1\n")
        host.run("sh", "-ec", CERTIFICATES)
        host.run("sh", "-ec", _PROVISION, "sh", host.address, PASSWORD)
        self._modify("".join(_attribute(*one) for one in _ATTRIBUTES) + _NOW)
        may = "".join(f"mayContain: {name}\n" for name, *_ in _ATTRIBUTES)
        self._modify(f"dn: CN=Mail-Recipient,{_SCHEMA}\nchangetype: modify\nadd: mayContain\n{may}\n{_NOW}")
        self._ldb("ldbadd", f"dn: OU=People,{BASE}\nobjectClass: organizationalUnit\n\n{people}")
        host.run("samba", "-D")
        end = time.monotonic() + 120
        while "3269" not in host.run("ss", "-Hltn", f"src {host.address}").stdout:
            assert time.monotonic() < end, host.run("sh", "-c", "tail /var/log/samba/log.*").stdout
            time.sleep(0.2)

    def _modify(self, ldif: str) -> None:
        self._ldb("ldbmodify", ldif, "--option=dsdb:schema update allowed=true")

    def _ldb(self, program: str, ldif: str, *options: str) -> None:
        (self.host.root / "tmp/changes.ldif").write_text(ldif)
        self.host.run(program, "-H", "/var/lib/samba/private/sam.ldb", "/tmp/changes.ldif", *options)


def _attribute(name: str, oid: str, syntax: str, om_syntax: int) -> str:
    return (
        f"dn: CN={name},{_SCHEMA}\nchangetype: add\nobjectClass: attributeSchema\ncn: {name}\n"
        f"lDAPDisplayName: {name}\nattributeID: {oid}\nattributeSyntax: {syntax}\noMSyntax: {om_syntax}\n"
        "isSingleValued: TRUE\n\n"
    )
