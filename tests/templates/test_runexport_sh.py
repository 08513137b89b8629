"""runexport.sh against a real OpenLDAP: a whole list is sent, and of anything less nothing."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.settings import Settings
from lab import roots
from lab.host import LabHost
from receiver.upload import formats
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.stream import strip_end_mark
from tests.support.directories import BASE, FOLDER, PASSWORD, READER, SERVER, UNLIMITED, Directory, kit_files
from tests.support.ldap_stub import disconnection, done, entry, paged, people, reference, result, serve
from tests.support.listener import Listener

pytestmark = pytest.mark.host

PEOPLE = 1200
RELEASES = [pytest.param("bookworm"), pytest.param("trixie", marks=pytest.mark.long)]  # ldapsearch 2.5 and 2.6
EXPIRED = """
cd /etc/ldap/lab && cp server.pem whole.pem && rm -rf past && mkdir past && touch past/index
printf '%s\n' '[ca]' default_ca=d '[d]' database=past/index serial=past/serial new_certs_dir=past default_md=sha256 \
    policy=p '[p]' commonName=supplied > past/cnf
openssl ca -batch -config past/cnf -cert ca.pem -keyfile ca.key -in server.csr -out server.pem -extfile ext \
    -rand_serial -startdate 20200101000000Z -enddate 20200201000000Z -notext
"""
EXPIRED_CA = """
cd /etc/ldap/lab && rm -rf past && mkdir past && touch past/index
printf '%s\n' '[ca]' default_ca=d '[d]' database=past/index serial=past/serial new_certs_dir=past default_md=sha256 \
    policy=p x509_extensions=x '[p]' commonName=supplied '[x]' basicConstraints=critical,CA:TRUE > past/cnf
openssl req -new -key ca.key -subj "/CN=Lab ca" -out past/ca.csr
openssl ca -batch -config past/cnf -selfsign -keyfile ca.key -in past/ca.csr -out past.pem \
    -rand_serial -startdate 20200101000000Z -enddate 20200201000000Z -notext
"""
HIDDEN = f'access to dn.children="ou=people,{BASE}" by dn.exact="{READER}" none\naccess to * by * read\n'
HIDDEN_BUT_ONE = f'access to dn.exact="cn=user7,ou=people,{BASE}" by * read\n{HIDDEN}'


@pytest.fixture(scope="module", params=RELEASES)
def started(request: pytest.FixtureRequest) -> Iterator[Directory]:
    with LabHost(request.param, bare=True, extra=roots.DIRECTORY) as host:
        yield Directory(host, people=PEOPLE)


@pytest.fixture
def directory(started: Directory) -> Directory:
    """A kit as it was brought, beside a directory that answers."""
    started.kit()
    return started


def choose(sent: bytes) -> FilteredExport:
    """Return what the receiver makes of a list."""
    settings = Settings("acme", "ldap", ("acme.example",), ldap_attributes=("mail",))
    return filter_export(formats.read(strip_end_mark(sent), settings), settings)


def listed(sent: bytes) -> frozenset[str]:
    return choose(sent).recipients


def fails(directory: Directory, *said: str) -> None:
    """See a run end with 4, say this in its log, and send nothing."""
    ran = directory.export()
    for text in said:
        assert text in ran.stdout, ran.stdout + ran.stderr
    assert (ran.returncode, directory.uploads()) == (4, []), ran.stdout + ran.stderr
    assert directory.file("runexport.log").read_text() in (ran.stdout, ran.stdout + "\n")
    assert "runexport.sh ends with 4" in ran.stdout


# ---- what is sent


@pytest.mark.parametrize("shell", ["dash", "busybox ash", "bash --posix"])
def test_a_whole_list_is_sent_by_any_posix_shell(directory: Directory, shell: str) -> None:
    ran = directory.export(shell=shell)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert f"{SERVER}: {PEOPLE} entries" in ran.stdout
    assert "acme: taken by k1\nrunexport.sh ends with 0\n" in ran.stdout
    (sent,) = directory.uploads()
    assert re.search(rb"#postern end rows=\d+ sha256=[0-9a-f]{64}\r\n\Z", sent)
    assert listed(sent) == {f"user{number}@acme.example" for number in range(PEOPLE)}
    assert not [path for path in directory.file("").iterdir() if path.name.startswith(".run")]


def test_a_look_only_has_the_relays_look(directory: Directory) -> None:
    assert directory.export("look").returncode == 0
    assert [path.name[:5] for path in (directory.host.root / "srv/uploads").iterdir()] == ["look."]


def test_a_word_it_does_not_know_is_refused(directory: Directory) -> None:
    assert directory.export("send").returncode == 2
    assert directory.export("look", "look").returncode == 2


@pytest.mark.parametrize(("answers", "code"), [(3, 3), (2, 2), (75, 75), (5, 5), (1, 4), (255, 4)])
def test_what_a_relay_answers_is_what_the_run_ends_with(directory: Directory, answers: int, code: int) -> None:
    (directory.host.root / "srv/uploads/code").write_text(str(answers))
    assert directory.export().returncode == code


def test_a_right_pin_and_a_server_without_paging_are_asked_as_is_said(directory: Directory) -> None:
    directory.kit(pin=pin_of(directory), page_size=0)
    assert directory.export().returncode == 0


# ---- who is asked, and who answers


def pin_of(directory: Directory) -> str:
    line = (
        "openssl x509 -pubkey -noout -in /etc/ldap/lab/server.pem | openssl pkey -pubin -outform der | "
        "openssl dgst -sha256 -binary | openssl base64"
    )
    return f"sha256:{directory.host.run('sh', '-c', line).stdout.strip()}"


def test_a_wrong_password_is_tried_once_and_then_not_until_it_changes(directory: Directory) -> None:
    directory.kit(servers=(SERVER, "ldaps://dc1.acme.example:636"))
    directory.file("bind.password").write_text("old")
    fails(directory, "(49)", "Nothing binds again until bind.password changes")
    directory.stop()
    try:
        fails_again = directory.export()
    finally:
        directory.start()
    assert "was refused before and is still the same" in fails_again.stdout
    directory.file("bind.password").write_text(PASSWORD)
    assert directory.export().returncode == 0
    assert not directory.file("runexport.49").exists()


def put_kinit(directory: Directory, said: str) -> None:
    """Put a keytab beside the script, and a kinit that gets no ticket with it."""
    directory.file("bind.keytab").write_text("a key of yesterday")
    directory.file("bind.keytab").chmod(0o600)
    path = directory.host.root / "usr/local/bin/kinit"
    path.write_text(f'#!/bin/sh\necho asked >> /srv/uploads/kdc\necho "kinit: {said}" >&2\nexit 1\n')
    path.chmod(0o755)


def asked_kdc(directory: Directory) -> int:
    return len((directory.host.root / "srv/uploads/kdc").read_text().splitlines())


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Preauthentication failed while getting initial credentials", "of another password than the account has"),
        ("krb5_get_init_creds: Password incorrect", "of another password than the account has"),
        ("Client's credentials have been revoked while getting initial credentials", "locked, disabled or expired"),
        ("Clients credentials have been revoked", "locked, disabled or expired"),
        ("Password has expired while getting initial credentials", "its password has expired"),
        ("Client's entry in database has expired while getting initial credentials", "the account has expired"),
    ],
)
def test_a_keytab_that_is_refused_is_tried_once_and_then_not_until_it_changes(
    directory: Directory, said: str, sentence: str
) -> None:
    put_kinit(directory, said)
    fails(directory, said, sentence, "Nothing binds again until bind.keytab changes")
    assert "bind.keytab was refused before and is still the same" in directory.export().stdout
    assert asked_kdc(directory) == 1
    directory.file("bind.keytab").write_text("another key")
    directory.export()
    assert asked_kdc(directory) == 2


@pytest.mark.parametrize(
    "said",
    [
        "Cannot contact any KDC for realm 'ACME.EXAMPLE' while getting initial credentials",
        "Clock skew too great while getting initial credentials",
        "Client 'postern@ACME.EXAMPLE' not found in Kerberos database while getting initial credentials",
    ],
)
def test_a_domain_that_says_nothing_about_the_keytab_is_asked_again_by_the_next_run(
    directory: Directory, said: str
) -> None:
    put_kinit(directory, said)
    fails(directory, said, "no ticket for")
    assert not directory.file("runexport.49").exists()
    directory.export()
    assert asked_kdc(directory) == 2


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_password_with_a_line_end_is_named_before_anybody_is_asked(directory: Directory, line_end: str) -> None:
    directory.file("bind.password").write_bytes(PASSWORD.encode() + line_end.encode())
    fails(directory, "bind.password has a line end")


def test_a_password_that_is_missing_empty_or_open_to_others_is_refused(directory: Directory) -> None:
    directory.file("bind.password").chmod(0o640)
    fails(directory, "can be read by others: chmod 600")
    directory.file("bind.password").write_text("")
    assert "bind.password is not there or empty" in directory.export().stdout


def test_a_first_server_that_is_down_is_named_and_the_next_one_asked(directory: Directory) -> None:
    directory.kit(servers=("ldaps://dc2.acme.example:6360", "ldaps://nobody.invalid", SERVER))
    ran = directory.export()
    assert "ldaps://dc2.acme.example:6360: port 6360 is closed" in ran.stdout
    assert "the name nobody.invalid cannot be resolved" in ran.stdout
    assert ran.returncode == 0
    assert len(listed(directory.uploads()[0])) == PEOPLE


def test_a_wrong_pin_a_wrong_ca_and_a_wrong_name_are_told_apart(directory: Directory) -> None:
    directory.kit(pin="sha256:" + "A" * 43 + "=")
    fails(directory, f"its key is not the pinned one, but {pin_of(directory)}")
    directory.kit()
    directory.host.run("cp", "/etc/ldap/lab/other.pem", f"{FOLDER}/ca.pem")
    fails(directory, "its certificate was not made by the CA in ca.pem")
    directory.kit(servers=("ldaps://dc2.acme.example",))
    fails(directory, "its certificate is for another name")
    directory.kit(servers=("ldaps://dc1.acme.example:389",))
    fails(directory, "what answers at port 389 speaks no TLS")


def test_an_expired_certificate_is_named(directory: Directory) -> None:
    directory.host.run("sh", "-ec", EXPIRED)
    directory.stop()
    directory.start()
    try:
        fails(directory, "its certificate has expired")
    finally:
        directory.stop()
        directory.host.run("sh", "-ec", "cd /etc/ldap/lab && mv whole.pem server.pem")
        directory.start()


def test_a_ca_that_has_expired_is_told_from_a_certificate_that_has(directory: Directory) -> None:
    directory.host.run("sh", "-ec", f"{EXPIRED_CA}cp past.pem {FOLDER}/ca.pem")
    fails(directory, "its certificate is valid, and the CA in ca.pem has expired")


def test_a_ca_that_is_none_is_refused_before_anybody_is_asked(directory: Directory) -> None:
    directory.host.run("cp", "/etc/ldap/lab/server.pem", f"{FOLDER}/ca.pem")
    fails(directory, "is a server's own certificate and no CA")
    directory.file("ca.pem").write_text("DER")
    assert "holds no certificate in PEM" in directory.export().stdout
    directory.file("ca.pem").unlink()
    assert "ca.pem is not there or empty" in directory.export().stdout


# ---- answers that are not whole


def test_a_size_limit_is_no_list_and_says_what_to_raise(directory: Directory) -> None:
    directory.restart("")
    try:
        fails(directory, "gives no more than a part (4", "size.prtotal=unlimited")
    finally:
        directory.restart(UNLIMITED)


def test_an_acl_that_hides_everybody_sends_no_list(directory: Directory) -> None:
    directory.restart(f"{UNLIMITED}\n{HIDDEN}")
    try:
        fails(directory, "has nobody that the filter (mail=*) finds", f"or shows none to {READER}")
        directory.restart(f"{UNLIMITED}\n{HIDDEN_BUT_ONE}")
        assert directory.export().returncode == 0, "a search that succeeds with one of 1,200: the canary's to hold"
        assert listed(directory.uploads()[0]) == {"user7@acme.example"}
    finally:
        directory.restart(UNLIMITED)


def test_a_base_that_is_not_there_and_an_attribute_unknown_to_the_schema_are_named(directory: Directory) -> None:
    directory.kit(base="dc=elsewhere,dc=example")
    fails(directory, "has no base 'dc=elsewhere,dc=example' (32)")
    directory.kit(attributes=("proxyAddresses",))
    fails(directory, "has nobody that the filter (proxyAddresses=*) finds")
    directory.kit(filter="(mail=*)x(cn=*)")
    fails(directory, "is no filter")


@contextmanager
def between(directory: Directory, most: int, stalls: bool = False) -> Iterator[str]:
    """A server's URL whose connections are cut, or stall, after so many bytes of answers."""
    address = directory.host.address

    def serve(client: socket.socket) -> None:
        server = socket.create_connection((address, 636))
        threading.Thread(target=_copy, args=(client, server, 1 << 40, False), daemon=True).start()
        _copy(server, client, most, stalls)

    with Listener(serve, address) as door:
        yield f"ldaps://dc1.acme.example:{door.port}"


def _copy(source: socket.socket, target: socket.socket, most: int, stalls: bool) -> None:
    try:
        while most > 0 and (piece := source.recv(min(65536, most))):
            target.sendall(piece)
            most -= len(piece)
        if stalls:
            return
        for end in (source, target):
            end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def test_a_connection_cut_in_mid_list_sends_nothing_or_the_next_servers_whole(directory: Directory) -> None:
    with between(directory, 60_000) as cut:
        directory.kit(servers=(cut,))
        fails(directory, "the connection was cut after")
        directory.kit(servers=(cut, SERVER))
        assert directory.export().returncode == 0
        assert len(listed(directory.uploads()[0])) == PEOPLE


def test_a_result_that_stalls_is_given_up(directory: Directory) -> None:
    with between(directory, 60_000, stalls=True) as stalled:
        directory.kit(servers=(stalled,))
        script = directory.file("runexport.sh")
        script.write_text(script.read_text().replace("limit=600", "limit=2"))
        fails(directory, "began to answer and then stalled for 2 seconds")


# What a server of another kind does, and slapd does not. ldapsearch ends with 0 in all of these.
NOT_WHOLE = {
    "a page that comes without its control": (done(), b"", b"", "the last page does not say that it is the last"),
    "a control that cannot be read": (done(), paged(b"\xff"), b"", "the last page does not say that it is the last"),
    "a result of more bits than an exit code": (done(4096), paged(), b"", "the search ended well and complains"),
    "a connection that is ended": (done(), paged(), disconnection(0), "the search ended well and complains"),
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_an_answer_that_ends_well_and_is_not_whole_is_no_list(directory: Directory, case: str) -> None:
    end, control, last, sentence = NOT_WHOLE[case]
    with serve(directory.host, [*people(300), end], control, last=last) as url:
        directory.kit(servers=(url,))
        fails(directory, sentence)


def test_a_server_that_gives_a_range_of_the_values_is_found_by_the_relay(directory: Directory) -> None:
    values = [f"user{number}@acme.example" for number in range(1500)]
    many = entry("cn=everybody,dc=acme", {"mail;range=0-1499": values})
    with serve(directory.host, [*people(5), many, done()], paged()) as url:
        directory.kit(servers=(url,))
        assert directory.export().returncode == 0
    with pytest.raises(formats.BadExport, match=r"line 16: .*;range="):
        listed(directory.uploads()[0])


def test_a_global_catalog_that_lacks_the_addresses_is_told_from_the_port_that_has_them(directory: Directory) -> None:
    with serve(directory.host, [done()], paged(), port=3269):
        directory.kit(servers=(f"{SERVER}:3269",))
        fails(
            directory, "has nobody that the filter (mail=*) finds", "Port 636 of the same server has", "name port 636"
        )


def test_a_server_that_sends_elsewhere_is_named_with_what_to_do(directory: Directory) -> None:
    directory.restart(f'{UNLIMITED}\nreferral "ldap://dc9.other.example"')
    try:
        directory.kit(base="dc=other,dc=example")
        fails(directory, "does not hold dc=other,dc=example and names another server: put that one into servers")
    finally:
        directory.restart(UNLIMITED)


def test_a_part_that_lies_on_another_server_is_not_listed_and_told(directory: Directory) -> None:
    berlin = reference("ldaps://dc9.acme.example/ou=berlin,dc=acme")
    with serve(directory.host, [*people(5), berlin, done()], paged()) as url:
        directory.kit(servers=(url,))
        assert directory.export().returncode == 0
    choice = choose(directory.uploads()[0])
    assert len(choice.recipients) == 5
    assert choice.notes == ("recipients on other servers are not listed: ldaps://dc9.acme.example/ou=berlin,dc=acme",)


# What Active Directory says of a bind account besides that it is refused; Samba says no more than some of them.
REFUSED = {
    "52e": "no such account, or another password",
    "530": "the account may not log in at this hour, or from this host",
    "531": "the account may not log in at this hour, or from this host",
    "532": "its password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "its password must be changed first",
    "775": "the account is locked",
    "80090346": "something between takes TLS apart",
}


@pytest.mark.parametrize("data", REFUSED)
def test_why_active_directory_refuses_the_account_is_said_and_it_is_asked_once(directory: Directory, data: str) -> None:
    comment = f"80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data {data}, v3839\0"
    with serve(directory.host, [done()], bind=result(0x61, 49, comment)) as url:
        directory.kit(servers=(url,))
        fails(directory, f"with this password (49): {REFUSED[data]}", "Nothing binds again until bind.password changes")
        assert "was refused before and is still the same" in directory.export().stdout


# ---- the host it runs on


def put_on_small_disk(directory: Directory, folder: str, size: str) -> None:
    """Put the kit into a folder of a file system of its own, which has this size."""
    files = {path.name: path.read_bytes() for path in directory.file("").iterdir()}
    directory.host.run("mkdir", "-p", folder)
    directory.host.tmpfs(folder, size)
    small = directory.host.root / folder.lstrip("/")
    for name, content in files.items():
        if name not in ("README.txt", "schedule.sh"):
            (small / name).write_bytes(content.replace(FOLDER.encode(), folder.encode()))
            (small / name).chmod(0o600)


def test_a_full_disk_sends_nothing(directory: Directory) -> None:
    put_on_small_disk(directory, "/opt/small", "96k")
    ran = directory.host.run("dash", "/opt/small/runexport.sh", check=False)
    assert ran.returncode == 4
    assert "is the disk full?" in ran.stdout
    assert directory.uploads() == []


def test_a_disk_that_could_not_keep_that_a_password_was_refused_has_nobody_asked(directory: Directory) -> None:
    directory.file("bind.password").write_text("old")
    put_on_small_disk(directory, "/opt/full", "200k")
    directory.host.run("sh", "-c", "cat /dev/zero > /opt/full/fill", check=False)
    counted = '#!/bin/sh\necho asked >> /srv/uploads/asked\nexec /usr/bin/ldapsearch "$@"\n'
    (directory.host.root / "usr/local/bin/ldapsearch").write_text(counted)
    (directory.host.root / "usr/local/bin/ldapsearch").chmod(0o755)
    try:
        ran = directory.host.run("dash", "/opt/full/runexport.sh", check=False)
    finally:
        (directory.host.root / "usr/local/bin/ldapsearch").unlink()
    assert (ran.returncode, "is the disk full?" in ran.stdout) == (4, True), ran.stdout + ran.stderr
    assert not (directory.host.root / "srv/uploads/asked").exists()


def test_a_second_run_does_nothing_while_the_first_is_at_work(directory: Directory) -> None:
    with between(directory, 60_000, stalls=True) as stalled:
        directory.kit(servers=(stalled,))
        first = threading.Thread(target=directory.export, daemon=True)
        first.start()
        while directory.host.run("test", "-L", f"{FOLDER}/runexport.lck", check=False).returncode != 0:
            time.sleep(0.02)
        ran = directory.export()
        assert (ran.returncode, ran.stdout) == (75, "Another run is at work: this one does nothing.\n")
        directory.host.run("sh", "-c", f"kill -9 $(readlink {FOLDER}/runexport.lck)")
        ends = "for p in /proc/[0-9]*; do grep -qs ^ldapsearch $p/cmdline && kill $(basename $p); done; true"
        while first.is_alive():  # its ldapsearch may not have begun
            directory.host.run("sh", "-c", ends)
            first.join(0.1)


def test_a_killed_run_leaves_nothing_that_the_next_one_would_send(directory: Directory) -> None:
    left = directory.file(".runexport.77")
    left.mkdir()
    (left / "list").write_text("dn: cn=old\nmail: old@acme.example\n\n# pagedresults: cookie=\n")
    directory.host.run("ln", "-s", "999999", f"{FOLDER}/runexport.lck")
    assert directory.export().returncode == 0
    assert b"old@" not in directory.uploads()[0]
    assert not left.exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [("timeout", "timeout is not there"), ("ldapsearch", "ldapsearch is not there"), ("ssh", "ssh is not there")],
)
def test_a_program_that_is_missing_is_named(directory: Directory, program: str, said: str) -> None:
    names = "cut date dash grep head kill ldapsearch ln ls mkdir mv openssl readlink rm sed ssh tail timeout tr wc cat"
    links = " ".join(name for name in names.split() if name != program)
    made = f"rm -rf /opt/bin; mkdir /opt/bin; cd /opt/bin; for n in {links}; do ln -s $(command -v $n) $n; done"
    directory.host.run("bash", "-c", made)
    ran = directory.host.run("env", "PATH=/opt/bin", "dash", f"{FOLDER}/runexport.sh", check=False)
    assert (ran.returncode, said in ran.stdout) == (4, True), ran.stdout + ran.stderr


def test_neither_base64_nor_sha256sum_is_needed(directory: Directory) -> None:
    names = "cut date dash grep head ldapsearch ln ls mkdir mv openssl readlink rm sed ssh tail timeout tr wc cat"
    made = f"rm -rf /opt/bin; mkdir /opt/bin; cd /opt/bin; for n in {names}; do ln -s $(command -v $n) $n; done"
    directory.host.run("bash", "-c", made)
    ran = directory.host.run("env", "PATH=/opt/bin", "dash", f"{FOLDER}/runexport.sh", check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(listed(directory.uploads()[0])) == PEOPLE


def test_the_log_is_bounded(directory: Directory) -> None:
    directory.file("runexport.log").write_text("x" * 79 + "\n" * 1_000_001)
    directory.export()
    assert directory.file("runexport.log").stat().st_size < 10_000
    assert directory.file("runexport.old").stat().st_size > 1_000_000


def test_attack_a_name_in_the_answer_of_a_relay_writes_no_escapes_into_the_log(directory: Directory) -> None:
    take = directory.host.root / "srv/take"
    was = take.read_text()
    take.write_text(was.replace('echo "acme', "printf 'a\\033[31mb\\n'; echo \"acme"))
    try:
        ran = directory.export()
    finally:
        take.write_text(was)
    assert "a?[31mb" in ran.stdout
    assert "\x1b" not in ran.stdout + directory.file("runexport.log").read_text()


def test_attack_another_machine_in_the_relays_place_gets_no_list(directory: Directory) -> None:
    known = directory.file("known_hosts")
    known.write_text(re.sub(r" (ssh-\S+|ecdsa-\S+) \S+", " ssh-ed25519 " + "A" * 68, known.read_text()))
    ran = directory.export()
    assert (ran.returncode, directory.uploads()) == (4, [])
    assert "Host key verification failed" in ran.stdout


def test_a_run_that_is_ended_sends_nothing_and_gives_up_its_lock(directory: Directory) -> None:
    with between(directory, 60_000, stalls=True) as stalled:
        directory.kit(servers=(stalled,))
        searching = "grep -qs ^ldapsearch /proc/[0-9]*/cmdline"
        script = f"setsid dash {FOLDER}/runexport.sh & until {searching}; do sleep 0.02; done; kill -- -$!; wait $!"
        ended = directory.host.run("sh", "-c", script, check=False)
    assert ended.returncode != 0
    assert directory.uploads() == []
    directory.kit()
    assert directory.export().returncode == 0


@pytest.mark.long
def test_an_ldapsearch_that_is_too_old_is_named_before_anything_else() -> None:
    with LabHost("bullseye", bare=True, extra=("ldap-utils", "openssl")) as host:
        host.run("mkdir", "-p", FOLDER)
        for name, text in kit_files(host, "ssh-ed25519 AAAA").items():
            (host.root / FOLDER.lstrip("/") / name).write_text(text)
        ran = host.run("dash", f"{FOLDER}/runexport.sh", check=False)
        assert (ran.returncode, "older than 2.5" in ran.stdout) == (4, True), ran.stdout
