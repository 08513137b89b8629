"""Keys: the forms PuTTY and OpenSSH read, secrets that stay secret, and public keys that are not taken."""

from __future__ import annotations

import copy
import json
import pickle
import random
import shutil
import subprocess
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from deploy.key_formats import BadKey, Pair, Secret, make_pair, openssh, ppk, read_public

needs_putty = pytest.mark.skipif(shutil.which("puttygen") is None, reason="needs puttygen (package putty-tools)")
pytestmark = pytest.mark.slow  # each test makes keys and runs puttygen or ssh-keygen
SEED = 20_261_122


def from_seed(seed: bytes) -> Pair:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Pair(public, Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))


def awkward_pairs() -> dict[str, Pair]:
    """Seeds whose first or last bytes are zero or high: another program once wrote those wrongly."""
    chance = random.Random(SEED)
    pairs = {}
    for head in (b"", b"\0", b"\0\0", b"\xff"):
        for end in (b"", b"\0", b"\0\0", b"\x80"):
            seed = head + chance.randbytes(32 - len(head) - len(end)) + end
            pairs[f"{head.hex() or '-'}..{end.hex() or '-'}"] = from_seed(seed)
    return pairs


AWKWARD = awkward_pairs()


def saved_again(folder: Path, private: bytes) -> bytes:
    """What puttygen makes of it; to save is all it does to a key whose comment it is told to set to what it is."""
    given, made = folder / "given.ppk", folder / "made.ppk"
    given.write_bytes(private)
    options = ["-C", "acme k1", "-O", "private", "--ppk-param", "version=2"]
    done = subprocess.run(["puttygen", given, *options, "-o", made], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return made.read_bytes()


# ---- what is written


@needs_putty
@pytest.mark.parametrize("name", AWKWARD)
def test_an_ed25519_ppk_is_byte_for_byte_what_puttygen_writes(tmp_path: Path, name: str) -> None:
    private = ppk(AWKWARD[name], "acme k1").reveal()
    assert saved_again(tmp_path, private) == private


@needs_putty
def test_many_random_ed25519_ppks_are_byte_for_byte_what_puttygen_writes(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for _ in range(40):
        private = ppk(from_seed(chance.randbytes(32)), "acme k1").reveal()
        assert saved_again(tmp_path, private) == private


@needs_putty
def test_an_rsa_ppk_is_byte_for_byte_what_puttygen_writes(tmp_path: Path) -> None:
    for _ in range(3):
        private = ppk(make_pair("rsa"), "acme k1").reveal()
        assert saved_again(tmp_path, private) == private


@needs_putty
@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_puttygen_reads_the_same_public_half_from_a_ppk(tmp_path: Path, key_type: str) -> None:
    pair = make_pair(key_type)
    (tmp_path / "k.ppk").write_bytes(ppk(pair, "acme k1").reveal())
    done = subprocess.run(["puttygen", tmp_path / "k.ppk", "-L"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{pair.public} acme k1\n"


@pytest.mark.parametrize("name", [*AWKWARD, "rsa"])
def test_an_openssh_key_is_what_ssh_keygen_and_cryptography_read(tmp_path: Path, name: str) -> None:
    pair = AWKWARD.get(name) or make_pair("rsa")
    path = tmp_path / "key"
    path.write_bytes(openssh(pair, "acme k1").reveal())
    path.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{pair.public} acme k1\n"
    read = load_ssh_private_key(path.read_bytes(), None)
    assert read.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == pair.private.reveal()


def test_an_rsa_pair_has_3072_bits() -> None:
    numbers = load_ssh_private_key(openssh(make_pair("rsa"), "").reveal(), None)
    assert isinstance(numbers, rsa.RSAPrivateKey)
    assert numbers.key_size == 3072


def test_two_pairs_are_not_the_same() -> None:
    assert make_pair("ed25519").public != make_pair("ed25519").public


def test_a_type_of_pair_nobody_makes_is_refused() -> None:
    with pytest.raises(BadKey, match="ed25519 or rsa"):
        make_pair("dsa")


@pytest.mark.parametrize("comment", ["a\nPrivate-Lines: 0", "a\r", "tab\t", "grün"])
def test_attack_a_comment_cannot_add_a_line_to_a_key_file(comment: str) -> None:
    for write in (ppk, openssh):
        with pytest.raises(ValueError, match="one line of printable ASCII"):
            write(make_pair("ed25519"), comment)


# ---- what is secret

HIDDEN = b"correct horse battery staple"


@pytest.mark.parametrize(
    "show",
    [repr, str, format, "{:>40}".format, "{!r}".format, lambda secret: f"{[secret]} {secret!s:10}", "{0!s}".format],
)
def test_a_secret_shows_as_stars_however_it_is_written(show: object) -> None:
    text = show(Secret(HIDDEN))  # type: ignore[operator]
    assert "horse" not in text
    assert "***" in text


def test_a_pair_shows_its_public_half_alone() -> None:
    pair = make_pair("ed25519")
    assert repr(pair) == f"Pair(public={pair.public!r}, private=***)"


@pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, bytes, list, vars, len, iter])
def test_a_secret_is_neither_stored_nor_copied_nor_counted(store: object) -> None:
    with pytest.raises(TypeError) as caught:
        store(Secret(HIDDEN))  # type: ignore[operator]
    assert "horse" not in str(caught.value)


def test_no_attribute_of_a_secret_is_its_content() -> None:
    secret = Secret(HIDDEN)
    assert not [name for name in dir(secret) if "horse" in repr(getattr(secret, name, ""))]


def test_a_secret_is_not_in_a_traceback_that_shows_all_variables() -> None:
    secret = Secret(HIDDEN)
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "horse" not in shown
    assert secret.reveal() == HIDDEN


# ---- what is read

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA8R70okj5NH4n8XNDUy3ppiiXf5TJac90mjSafCvyKm"


def test_a_public_key_is_read_as_openssh_writes_it() -> None:
    assert read_public(f"{ED25519} bob@desk\r\n") == ED25519
    assert read_public(f"\ufeff\n{ED25519}") == ED25519


@needs_putty
@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_a_public_key_is_read_as_puttygen_saves_it(tmp_path: Path, key_type: str) -> None:
    pair = make_pair(key_type)
    (tmp_path / "k.ppk").write_bytes(ppk(pair, "a: long comment, with a colon").reveal())
    done = subprocess.run(["puttygen", tmp_path / "k.ppk", "-p"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("---- BEGIN SSH2 PUBLIC KEY ----")
    assert read_public(done.stdout.replace("\n", "\r\n")) == pair.public


def test_a_header_of_rfc_4716_may_go_on_in_the_next_line() -> None:
    blob = ED25519.split()[1]
    text = f"---- BEGIN SSH2 PUBLIC KEY ----\nComment: one \\\ntwo\nx-own: y\n{blob[:30]}\n{blob[30:]}\n"
    assert read_public(text + "---- END SSH2 PUBLIC KEY ----\n") == ED25519


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"])
def test_ecdsa_keys_are_taken(tmp_path: Path, kind: str) -> None:
    bits = kind[-3:]
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f", tmp_path / "k"], check=True)
    text = (tmp_path / "k.pub").read_text()
    assert read_public(text) == " ".join(text.split()[:2])


def short_rsa() -> str:
    key = rsa.generate_private_key(65537, 1024).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def dss() -> str:
    return "ssh-dss AAAAB3NzaC1kc3MAAACBAP1/U4EddRIpUt9KnC7s5Of2EbdSPO9EAMMeP4C2USZpRV1AIlH7WT2NWPq/xfW6MPbLm1Vs14E7"


def pem() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


REFUSED = {
    "nothing": ("", "there is no key in it"),
    "blank lines": ("\n \n", "there is no key in it"),
    "a sentence": ("please find my key attached", "does not start with a type of key"),
    "options before it": (f'command="sh" {ED25519}', "does not start with a type of key"),
    "two keys": (f"{ED25519}\n{ED25519}\n", "there are 2 lines"),
    "cut off": (ED25519[:-8], "cut off"),
    "cut off within base64": (ED25519[:-1], "cut off"),
    "a byte too many": (ED25519[:-1] + "mAAAA", "cut off"),
    "a foreign character": (ED25519[:-3] + "ü" + ED25519[-2:], "damaged"),
    "another type before it": (ED25519.replace("ssh-ed25519", "ssh-rsa"), "is not the type within"),
    "a short RSA key": (short_rsa(), "1024 bits is too short"),
    "DSA": (dss(), "DSA keys are not accepted"),
    "PEM": (pem(), "ssh-keygen -i -m PKCS8"),
    "protocol 1": ("1024 65537 1234567890 bob", "protocol 1"),
    "RFC 4716 cut off": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "must end with"),
    "RFC 4716 without a key": ("---- BEGIN SSH2 PUBLIC KEY ----\n---- END SSH2 PUBLIC KEY ----", "damaged"),
    "a picture": ("\0\1\2" * 100, "not text"),
    "a book": ("ssh-rsa " + "A" * 100_000, "too long"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_good_public_key_is_refused_with_its_reason(case: str) -> None:
    text, reason = REFUSED[case]
    with pytest.raises(BadKey, match=reason):
        read_public(text)


def test_a_certificate_is_refused(tmp_path: Path) -> None:
    for name in ("ca", "k"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "x", tmp_path / "k.pub"], check=True)
    with pytest.raises(BadKey, match="certificate"):
        read_public((tmp_path / "k-cert.pub").read_text())


def private_halves() -> dict[str, str]:
    pair = make_pair("ed25519")
    old = dsa.generate_private_key(1024)
    return {
        "PuTTY": ppk(pair, "x").reveal().decode(),
        "OpenSSH": openssh(pair, "x").reveal().decode(),
        "PEM": old.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        "ssh.com": "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n",
        "hidden behind a public one": f"{ED25519}\n{openssh(pair, 'x').reveal().decode()}",
    }


PRIVATE = private_halves()


@pytest.mark.parametrize("form", PRIVATE)
def test_a_private_key_given_by_mistake_is_refused_and_never_echoed(form: str) -> None:
    with pytest.raises(BadKey, match="this is a PRIVATE key") as caught:
        read_public(PRIVATE[form])
    text = "".join(traceback.format_exception(caught.value))
    assert not [line for line in PRIVATE[form].splitlines() if len(line) > 30 and "-----" not in line and line in text]
