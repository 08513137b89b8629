"""Key pairs: private halves that cannot be shown by mistake, in the forms clients read; public halves from outside."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn, SupportsIndex

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_ssh_public_key,
)

from common.key_line import KEY_TYPES

RSA_BITS = 3072  # of a pair made here
RSA_LEAST = 2048  # of a key from outside; OpenSSH would take 1024
PUBLIC_MOST = 20_000  # characters of a public key file; the longest RSA key OpenSSH knows has 3,000


class BadKey(ValueError):
    """A public key that is refused. The text says why and what would help, and shows nothing of the input."""


class Secret:
    """Bytes that no print, log, traceback, copy or file may show; only `reveal()` returns them."""

    __slots__ = ("_held",)

    def __init__(self, content: bytes) -> None:
        # Behind a function and not in an attribute: programs that show objects show attributes.
        self._held: Callable[[], bytes] = lambda: content

    def reveal(self) -> bytes:
        """Return the bytes. Called where a key is written and nowhere else."""
        return self._held()

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is neither copied nor stored")


class Pair(NamedTuple):
    """A key pair: "TYPE BLOB", and the private half as unencrypted PKCS #8, DER."""

    public: str
    private: Secret


def make_pair(key_type: str) -> Pair:
    """Make a pair of type "ed25519" or "rsa", in memory."""
    if key_type not in ("ed25519", "rsa"):
        raise BadKey(f"no key type {key_type!r}: ed25519 or rsa")
    key = Ed25519PrivateKey.generate() if key_type == "ed25519" else generate_private_key(65537, RSA_BITS)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Pair(public, Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))


def ppk(pair: Pair, comment: str) -> Secret:
    """Write PuTTY's own format, version 2, unencrypted: every PuTTY since 0.52 reads it, none before 0.75 reads 3.

    Source: PuTTY manual, appendix C. Byte for byte what puttygen writes.
    """
    kind, blob = pair.public.split()
    public = base64.b64decode(blob)
    private = _ppk_private(pair)
    mac_of = b"".join(_string(part) for part in (kind.encode(), b"none", comment.encode(), public, private))
    mac_key = hashlib.sha1(b"putty-private-key-file-mac-key").digest()  # noqa: S324 the format's own choice
    lines = [
        f"PuTTY-User-Key-File-2: {kind}",
        "Encryption: none",
        f"Comment: {_one_line(comment)}",
        *_ppk_section("Public-Lines", public),
        *_ppk_section("Private-Lines", private),
        f"Private-MAC: {hmac.new(mac_key, mac_of, hashlib.sha1).hexdigest()}",
    ]
    return Secret("".join(f"{line}\n" for line in lines).encode())


def openssh(pair: Pair, comment: str) -> Secret:
    """Write OpenSSH's own format, unencrypted, with the comment that cryptography leaves out. Source: PROTOCOL.key."""
    kind, blob = pair.public.split()
    check = os.urandom(4)
    private = check + check + _string(kind.encode()) + _openssh_private(pair) + _string(_one_line(comment).encode())
    private += bytes(range(1, -len(private) % 8 + 1))
    none = _string(b"none")
    envelope = none + none + _string(b"") + struct.pack(">I", 1) + _string(base64.b64decode(blob)) + _string(private)
    text = base64.b64encode(b"openssh-key-v1\0" + envelope).decode()
    lines = ["-----BEGIN OPENSSH PRIVATE KEY-----", *_cut(text, 70), "-----END OPENSSH PRIVATE KEY-----"]
    return Secret("".join(f"{line}\n" for line in lines).encode())


def read_public(text: str) -> str:
    """Return a public key as "TYPE BLOB", from PuTTY's (RFC 4716) or OpenSSH's form, without its comment.

    Raises BadKey.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    _refuse_what_is_no_public_key(text, lines)
    if lines[0].startswith("---- BEGIN SSH2 PUBLIC KEY"):
        return _check_blob(_rfc_4716(lines))
    if len(lines) > 1:
        raise BadKey(f"there are {len(lines)} lines: one public key, on one line, is wanted")
    words = lines[0].split()
    if len(words) < 2 or not _is_kind(words[0]):
        raise BadKey('it does not start with a type of key, like "ssh-ed25519 AAAA...": options are not taken over')
    return _check_blob(words[1], words[0])


def _ppk_private(pair: Pair) -> bytes:
    key = load_der_private_key(pair.private.reveal(), None)
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        return b"".join(_mpint(number) for number in (numbers.d, numbers.p, numbers.q, numbers.iqmp))
    assert isinstance(key, Ed25519PrivateKey)
    return _string(key.private_bytes_raw())


def _openssh_private(pair: Pair) -> bytes:
    key = load_der_private_key(pair.private.reveal(), None)
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        public = numbers.public_numbers
        parts = (public.n, public.e, numbers.d, numbers.iqmp, numbers.p, numbers.q)
        return b"".join(_mpint(number) for number in parts)
    assert isinstance(key, Ed25519PrivateKey)
    public_half = key.public_key().public_bytes_raw()
    return _string(public_half) + _string(key.private_bytes_raw() + public_half)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _mpint(number: int) -> bytes:
    """Write a positive number as SSH does: with a zero byte before a leading bit that would make it negative."""
    return _string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _ppk_section(name: str, content: bytes) -> Iterator[str]:
    lines = list(_cut(base64.b64encode(content).decode(), 64))
    yield f"{name}: {len(lines)}"
    yield from lines


def _cut(text: str, width: int) -> Iterator[str]:
    return (text[start : start + width] for start in range(0, len(text), width))


def _one_line(comment: str) -> str:
    if not (comment.isascii() and comment.isprintable()):
        raise ValueError("a key's comment is one line of printable ASCII")
    return comment


_PRIVATE = ("PRIVATE KEY", "PuTTY-User-Key-File", "SSH PRIVATE KEY FILE FORMAT")


def _refuse_what_is_no_public_key(text: str, lines: list[str]) -> None:
    if any(mark in text for mark in _PRIVATE):
        raise BadKey(
            "this is a PRIVATE key; it must not leave its machine. Count it as known to others, make a new pair there, "
            "and give the public half: PuTTYgen's 'Save public key', or the file that ends in .pub"
        )
    if not lines:
        raise BadKey("there is no key in it")
    if len(text) > PUBLIC_MOST or "\0" in text:
        raise BadKey("this is no public key file: it is too long, or not text")
    if lines[0].startswith("-----BEGIN"):
        raise BadKey("this is a public key in PEM form: `ssh-keygen -i -m PKCS8 -f FILE` turns it into OpenSSH's")
    if lines[0].split()[0].isdigit():
        raise BadKey("this is a key of SSH protocol 1, which nothing accepts any more: make an Ed25519 or RSA key")


def _rfc_4716(lines: list[str]) -> str:
    """Return the blob. Headers are `Name: value`, continued after a backslash at a line's end; the rest is the blob."""
    if lines[-1] != "---- END SSH2 PUBLIC KEY ----":
        raise BadKey("it is cut off or holds more than one key: it must end with '---- END SSH2 PUBLIC KEY ----'")
    blob = []
    in_header = False
    for line in lines[1:-1]:
        if in_header or ":" in line:
            in_header = line.endswith("\\")
        else:
            blob.append(line)
    return "".join(blob)


def _is_kind(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-", "sk-", "rsa-sha2-"))


def _check_blob(blob: str, kind: str | None = None) -> str:
    """Check a blob: whole, of the type it is said to be, and of a type and size that may log in."""
    try:
        content = base64.b64decode(blob, validate=True)
        length = struct.unpack(">I", content[:4])[0]
        inner = content[4 : 4 + length].decode("ascii")
    except (binascii.Error, ValueError, struct.error) as error:
        raise BadKey("the key's base64 part is damaged or cut off: copy it again, whole") from error
    if kind not in (None, inner):
        raise BadKey("the type before the key is not the type within it")
    _refuse_kind(inner)
    try:
        key = load_ssh_public_key(f"{inner} {blob}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("the key is damaged or cut off: copy it again, whole") from error
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_LEAST:
        raise BadKey(f"an RSA key of {key.key_size} bits is too short: make one of {RSA_BITS}, or an Ed25519 key")
    return f"{inner} {base64.b64encode(content).decode()}"


def _refuse_kind(kind: str) -> None:
    if "-cert-" in kind:
        raise BadKey("this is a certificate; give the plain public key it was made from")
    if kind == "ssh-dss":
        raise BadKey("DSA keys are not accepted by any current OpenSSH: make an Ed25519 or RSA key")
    if kind.startswith("sk-"):
        raise BadKey("this key is in a token that wants to be touched, and nobody is there at night: make a plain one")
    if kind not in KEY_TYPES:
        raise BadKey("this type of key is not known here: make an Ed25519 or RSA key")


def fingerprint(key: str) -> str:
    """Write the fingerprint of a "TYPE BLOB" as ssh-keygen -l does."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
