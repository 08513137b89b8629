"""A lab host that is a customer's: a real OpenLDAP with people, runexport.sh beside it, an sshd to send lists to."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from deploy.key_formats import make_pair, openssh
from inventory.model import Customer, Key, Relay
from lab.host import LabHost
from roles import customer_host as customer_role

BASE = "dc=acme,dc=example"
READER = f"cn=reader,{BASE}"
PASSWORD = "it's a secret"  # of a directory that lives as long as a test
FOLDER = "/opt/userexport"
SERVER = "ldaps://dc1.acme.example"

_NAMES = "dc1.acme.example dc2.acme.example mx1.provider.example"
_SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /run/slapd-lab.pid
TLSCACertificateFile /etc/ldap/lab/ca.pem
TLSCertificateFile /etc/ldap/lab/server.pem
TLSCertificateKeyFile /etc/ldap/lab/server.key
database mdb
maxsize 1073741824
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw admin
directory /srv/ldap
index objectClass,mail eq,pres
{more}
"""
UNLIMITED = f'limits dn.exact="{READER}" size=unlimited size.prtotal=unlimited'

CERTIFICATES = """
mkdir -p /etc/ldap/lab /srv/ldap /srv/uploads && cd /etc/ldap/lab
ca() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 30 -subj "/CN=Lab $1" \\
        -addext basicConstraints=critical,CA:TRUE
}
server() {
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj /CN=dc1.acme.example
    printf 'subjectAltName=DNS:dc1.acme.example\\nbasicConstraints=CA:FALSE\\n' > ext
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out "$1.pem" -days "$2"
}
ca ca && ca other && server server 30
"""
_ACCOUNT = """
useradd -p "*" -m -d /srv/postern -s /bin/sh postern && chmod 777 /srv/uploads && mkdir -p /srv/postern/.ssh
cat > /srv/take <<'TAKE'
#!/bin/sh
cat > /srv/uploads/$$.new && mv /srv/uploads/$$.new "/srv/uploads/$SSH_ORIGINAL_COMMAND.$$"
echo "acme: taken by $1"
exit "$(cat /srv/uploads/code 2> /dev/null || echo 0)"
TAKE
chmod 755 /srv/take
printf 'restrict,command="/srv/take k1" %s\\n' "$1" > /srv/postern/.ssh/authorized_keys
chown -R postern: /srv/postern
"""


def person(number: int) -> str:
    """Return the LDIF of somebody with one address."""
    name = f"user{number}"
    return (
        f"dn: cn={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {name}\n"
        f"mail: {name}@acme.example\n\n"
    )


class Directory:
    """slapd with people, and the kit's folder. What a fault would need is changed by the test."""

    def __init__(self, host: LabHost, people: int = 5, slapd: str = UNLIMITED) -> None:
        self.host = host
        self.keys = make_pair("ed25519")
        with (host.root / "etc/hosts").open("a") as file:
            file.write(f"{host.address} {_NAMES}\n")
        host.run("sh", "-ec", CERTIFICATES)
        host.run("sh", "-ec", _ACCOUNT, "sh", self.keys.public)
        self.configure(slapd)
        root = (
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Acme\ndc: acme\n\n"
            f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n"
            f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n"
            f"userPassword: {PASSWORD}\n\n"
        )
        self.add(root + "".join(map(person, range(people))))
        self.start()

    def configure(self, more: str) -> None:
        """Write slapd.conf, which a restart reads."""
        (self.host.root / "etc/ldap/lab/slapd.conf").write_text(_SLAPD.format(base=BASE, more=more))

    def add(self, ldif: str) -> None:
        """Add entries while slapd is down."""
        self.host.run("slapadd", "-q", "-f", "/etc/ldap/lab/slapd.conf", stdin=ldif.encode())

    def start(self) -> None:
        """Start slapd, on the address of the host alone; it answers when this returns."""
        address = self.host.address
        self.host.run("slapd", "-f", "/etc/ldap/lab/slapd.conf", "-h", f"ldaps://{address}:636/ ldap://{address}:389/")

    def stop(self) -> None:
        """Stop slapd; it is gone when this returns."""
        wait = 'p=$(cat /run/slapd-lab.pid) && kill "$p" && while kill -0 "$p" 2> /dev/null; do sleep 0.05; done'
        self.host.run("sh", "-c", wait)

    def restart(self, more: str) -> None:
        """Start slapd with other lines of its configuration."""
        self.stop()
        self.configure(more)
        self.start()

    def file(self, name: str) -> Path:
        """Return the place of a file of the kit's folder, seen from here."""
        return self.host.root / FOLDER.lstrip("/") / name

    def kit(self, **ldap: Any) -> None:
        """Write the kit as provisioning does, and what the customer's admin adds: the CA and the password."""
        self.host.run("sh", "-c", f"mkdir -p {FOLDER} && cd {FOLDER} && rm -rf * .[!.]* /srv/uploads/*")
        for path, text in kit_files(self.host, self.keys.public, **ldap).items():
            self.file(path).write_text(text)
        self.file("exchupdate-k1").write_bytes(openssh(self.keys, "acme k1").reveal())
        self.file("bind.password").write_text(PASSWORD)
        for name in ("exchupdate-k1", "bind.password"):
            self.file(name).chmod(0o600)
        self.host.run("cp", "/etc/ldap/lab/ca.pem", f"{FOLDER}/ca.pem")

    def export(self, *words: str, shell: str = "dash") -> subprocess.CompletedProcess[str]:
        """Run runexport.sh by a shell, of words as `busybox ash`."""
        return self.host.run(*shell.split(), f"{FOLDER}/runexport.sh", *words, check=False, timeout=120)

    def uploads(self) -> list[bytes]:
        """Return the lists that were sent, the verb apart."""
        return [path.read_bytes() for path in sorted((self.host.root / "srv/uploads").glob("[lr]*"))]


def kit_files(host: LabHost, public: str, **ldap: Any) -> dict[str, str]:
    """Return the files of a kit whose relay and directory are this host."""
    relay = Relay.model_validate(
        {"name": "mx1", "address": "mx1.provider.example", "host_keys": host.host_keys, "uploads": host.address}
    )
    asked = {"servers": (SERVER,), "base": BASE, "bind_dn": READER, "attributes": ("mail",), **ldap}
    customer = Customer.model_validate(
        {
            "id": "acme",
            "name": "Acme",
            "domains": ("acme.example",),
            "relays": ("mx1",),
            "canaries": ("user1@acme.example",),
            "keys": (Key("k1", public),),
            "exchange": {"source": "ldap", "addresses": (host.address,), "ldap": asked},
        }
    )
    return {item.name: str((item.wanted or {})["content"]) for item in customer_role.items(customer, [relay])}
