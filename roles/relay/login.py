"""What in sshd's configuration would keep a customer's uploads out, or make of a key another than it is."""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.paths import PLACES
from deploy.items import State
from inventory.model import Customer

ACCOUNT = "postern"
HOME = PLACES.var
NEW_KEY = "ssh-ed25519"  # what is made for a customer who has none
ACCEPTED = ("PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes")
SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}


def login_refusals(preflight: State, customers: Sequence[Customer]) -> Iterator[str]:
    """Yield what of sshd's configuration would keep uploads out. `preflight`: what was read."""
    yield from _sshd(preflight, customers)
    yield from _upload_accounts(preflight.get("uploads"))


def _sshd(preflight: State, customers: Sequence[Customer]) -> Iterator[str]:
    if fault := preflight["sshd"].get("fault"):
        yield f"uploads need OpenSSH there, and it cannot be asked how it would treat account {ACCOUNT}: {fault}"
        return
    publics = [key.public for customer in customers for key in customer.keys]
    types = {public.partition(" ")[0] for public in publics} or {NEW_KEY}
    found = [
        text
        for address, options in preflight["sshd"].items()
        for text in (
            *_options(options, preflight["groups"], address),
            *_algorithms(options, types),
            *_too_short(options, publics),
        )
    ]
    yield from dict.fromkeys(found)


def _upload_accounts(uploads: State | None) -> Iterator[str]:
    """Yield what is wrong with the confinement of accounts whose client only copies files."""
    if uploads is None:
        return
    if not uploads["include"]:
        yield (
            "/etc/ssh/sshd_config does not read /etc/ssh/sshd_config.d, where an upload account is locked into its "
            "folder: add, as the first line, Include /etc/ssh/sshd_config.d/*.conf (OpenSSH 8.2 or later)"
        )
    for account, options in uploads["options"].items():
        yield from _missing_from_lists(options, account, [account], "")


def _algorithms(options: Mapping[str, list[str]], types: Iterable[str]) -> Iterator[str]:
    """Yield the key types that sshd does not accept, by the option's name since OpenSSH 8.5 or the one before."""
    name = next((name for name in ACCEPTED if name.lower() in options), "")
    taken = {word for each in options.get(name.lower(), []) for word in each.split(",")}
    for key_type in sorted(types) if taken else ():
        if taken.isdisjoint(SIGNATURES.get(key_type, (key_type,))):
            yield (
                f"sshd says {name} {','.join(sorted(taken))}: it takes no {key_type} key, as the customer has; "
                f"add {SIGNATURES.get(key_type, (key_type,))[0]}, at least in a Match User {ACCOUNT} block"
            )


def _too_short(options: Mapping[str, list[str]], publics: Iterable[str]) -> Iterator[str]:
    """Yield RSA keys that are shorter than OpenSSH since 9.1 may require."""
    least = int("".join(options.get("requiredrsasize", [])) or 0)
    shortest = min((_rsa_bits(public) for public in publics if public.startswith("ssh-rsa ")), default=least)
    if shortest < least:
        yield (
            f"sshd says RequiredRSASize {least}: it takes no RSA key of {shortest} bits, as the customer has; make "
            f"another key (inv rotate-key), or lower it, at least in a Match User {ACCOUNT} block"
        )


def _rsa_bits(public: str) -> int:
    """Return the size of a public key, which is on record and thus whole: type, exponent, modulus (RFC 4253)."""
    blob = base64.b64decode(public.split()[1])
    parts = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        parts.append(blob[4:end])
        blob = blob[end:]
    return int.from_bytes(parts[2], "big").bit_length()


def _options(options: Mapping[str, list[str]], groups: Sequence[str], address: str) -> Iterator[str]:
    def says(name: str) -> str:
        return f"sshd says {name} {' '.join(options.get(name.lower(), []))}"

    yield from _missing_from_lists(options, ACCOUNT, groups, address)
    if options.get("pubkeyauthentication") == ["no"]:
        yield f"{says('PubkeyAuthentication')}: account {ACCOUNT} has nothing but keys; allow them in a Match block"
    if not any(_expand_path(path) == f"{HOME}/.ssh/authorized_keys" for path in options.get("authorizedkeysfile", [])):
        yield f"{says('AuthorizedKeysFile')}: add .ssh/authorized_keys, at least in a Match User {ACCOUNT} block"
    for name in ("ForceCommand", "ChrootDirectory"):
        if options.get(name.lower(), ["none"]) != ["none"]:
            yield f"{says(name)}: it overrules command= of our keys; exempt it (Match User !{ACCOUNT},*)"
    if options.get("maxsessions") == ["0"]:
        yield f"{says('MaxSessions')}: no key has a command run; allow at least 1 in a Match User {ACCOUNT} block"
    methods = options.get("authenticationmethods", ["any"])
    if not {"any", "publickey"} & set(methods):
        yield f"{says('AuthenticationMethods')}: a key alone must do; add publickey in a Match User {ACCOUNT} block"


def _missing_from_lists(
    options: Mapping[str, list[str]], account: str, groups: Sequence[str], address: str
) -> Iterator[str]:
    """Yield the deny and allow lists that keep out an account from this address; empty address: from any."""
    names = options.get("usedns") == ["yes"]
    for name, mine in (("Users", [account]), ("Groups", groups)):
        denied, allowed = options.get(f"deny{name.lower()}", []), options.get(f"allow{name.lower()}", [])
        if _matches(mine, denied, address, names):
            yield f"sshd says Deny{name} {' '.join(denied)}: that shuts out {account}; exempt it"
        if allowed and not _matches(mine, allowed, address, names):
            whence = f" (from {address})" if address and any("@" in one for one in allowed) else ""
            yield f"sshd says Allow{name} {' '.join(allowed)}: add {account}{whence}"


def _matches(mine: Iterable[str], patterns: Sequence[str], address: str, names: bool) -> bool:
    """Return whether somebody is in a list; a pattern may be USER@HOST. `names`: HOST may be a name (UseDNS)."""
    split = [one.partition("@") for one in patterns]
    here = [(user, host) for user, _, host in split if _is_from(host, address, names)]
    positive = [user for user, _ in here if not user.startswith("!")]
    negative = [user[1:] for user, _ in here if user.startswith("!")]
    return any(_matches_any(name, positive) and not _matches_any(name, negative) for name in mine)


def _is_from(host: str, address: str, names: bool) -> bool:
    """Return whether a HOST pattern may have the address: CIDR, a pattern, or with UseDNS some name."""
    if not host or not address or fnmatch.fnmatchcase(address, host):
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(host, strict=False)
    except ValueError:
        return names


def _matches_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _expand_path(path: str) -> str:
    path = path.replace("%u", ACCOUNT).replace("%h", HOME).replace("%%", "%")
    return path if path.startswith("/") else f"{HOME}/{path}"
