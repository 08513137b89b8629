"""The keys that log in, and in which order: those that IdentityFile names first, then the others of an agent.

ssh tries all keys of an agent before those in files. sshd hangs up after six (MaxAuthTries), so those come first. A key
that has certificates is tried with each, and then by itself: what one machine asks for, another does not know.
"""

from __future__ import annotations

import base64
import copy
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paramiko
from paramiko import PKey
from paramiko.agent import AgentKey, AgentSSH
from paramiko.pkey import PublicBlob

FROM_ENVIRONMENT = "SSH_AUTH_SOCK"
CERTIFICATE = "-cert-v01@openssh.com"  # ends the type of one
FIELDS = {"ssh-ed25519": 1, "sk-ecdsa-sha2-nistp256@openssh.com": 3}
"""How many fields the public half of a key has behind its type; all others have two."""
KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class KeyLogin:
    """An auth_strategy of paramiko's client, by what `ssh -G` says of a machine (IdentityFile, IdentityAgent, ...)."""

    def __init__(self, options: Mapping[str, Any], user: str) -> None:
        """Take the options of the machine as paramiko reads them, tokens as %d and ~ expanded.

        Certificates are among the files of `identityfile`: of several CertificateFile paramiko would keep the first.
        """
        self.user = user
        named = options.get("identityfile", ())
        self.files = [Path(name).expanduser() for name in named if name.lower() != "none"]
        self.only_named = options.get("identitiesonly", "no") == "yes"
        self.agent_socket = _agent_socket(options.get("identityagent", FROM_ENVIRONMENT))
        self.locked: list[Path] = []  # files with a passphrase, whose keys no agent has

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Try key after key. Raises AuthenticationException of the last, or what says that there was none."""
        refused: Exception | None = None
        agent = Agent(self.agent_socket)
        try:
            for key in self.keys(agent):
                try:
                    missing = transport.auth_publickey(self.user, key)
                except paramiko.AuthenticationException as error:
                    refused = error
                    continue
                if missing:
                    raise paramiko.AuthenticationException(f"beside a key it wants {', '.join(missing)}")
                return missing
        finally:
            agent.close()
        if self.locked:
            raise paramiko.PasswordRequiredException(f"{self.locked[0]} has a passphrase")
        raise refused or paramiko.SSHException("No authentication methods available")

    def keys(self, agent: Agent) -> Iterator[PKey]:
        """Yield them in the order in which they are tried."""
        held = list(agent.get_keys())
        certificates = list(self._certificates())
        for path in self.files:
            blob = _public_half(path)
            of_agent = [key for key in held if blob and _bare(key.blob) == blob]
            held = [key for key in held if key not in of_agent]
            for key in of_agent or self._from_file(path):
                yield from _with_certificates(key, certificates)
        if not self.only_named:
            for key in held:
                yield from _with_certificates(key, certificates)

    def _from_file(self, path: Path) -> Iterator[PKey]:
        """Yield the private key of a file; one that is missing or cannot be read is skipped, as ssh does."""
        try:
            yield _private_key(path)
        except (paramiko.PasswordRequiredException, TypeError):  # cryptography's word for a missing passphrase
            self.locked.append(path)
        except (OSError, ValueError, paramiko.SSHException):
            return

    def _certificates(self) -> Iterator[PublicBlob]:
        """Yield those that are named, and those that lie beside a key as ssh-keygen puts them there."""
        for path in (*self.files, *(path.with_name(f"{path.name}-cert.pub") for path in self.files)):
            try:
                blob = PublicBlob.from_string(path.read_text("utf-8", "replace"))
            except (OSError, ValueError):
                continue
            if blob.key_type.endswith(CERTIFICATE):
                yield blob


class Agent(AgentSSH):
    """The agent behind one socket, or without any: it has no keys then."""

    def __init__(self, path: str) -> None:
        """Ask it for its keys."""
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]  # Agent() itself knows $SSH_AUTH_SOCK alone
        except (OSError, paramiko.SSHException):
            connection.close()

    def close(self) -> None:
        """Close the connection to it."""
        self._close()  # type: ignore[attr-defined]


def _agent_socket(said: str) -> str:
    """Return the path of the agent's socket from an IdentityAgent of ssh_config(5); empty where there is none."""
    if said.lower() == "none":
        return ""
    if said == FROM_ENVIRONMENT:
        return os.environ.get(FROM_ENVIRONMENT, "")
    return str(Path(os.path.expandvars(said.replace("%d", "~"))).expanduser())


def _public_half(path: Path) -> bytes | None:
    """Return the public half of the key a file names: what the file is, what lies beside it, or of the private half."""
    for file in (path, path.with_name(f"{path.name}.pub")):
        try:
            words = file.read_text("utf-8", "replace").split()
            if len(words) > 1 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
                return base64.b64decode(words[1])
        except (OSError, ValueError):
            continue
    try:
        return _private_key(path).asbytes()
    except (OSError, ValueError, TypeError, paramiko.SSHException):
        return None


def _private_key(path: Path) -> PKey:
    """Return the key of a file, without the certificate beside it. Raises OSError, or what says that it is none."""
    for kind in KINDS:
        try:
            return kind.from_private_key_file(str(path))
        except paramiko.PasswordRequiredException:
            raise
        except (ValueError, paramiko.SSHException):
            continue
    raise ValueError(f"{path} holds no private key of a known type")


def _with_certificates(key: PKey, certificates: Iterable[PublicBlob]) -> Iterator[PKey]:
    """Yield a key with each certificate that was given for it, then by itself."""
    blob = key.blob if isinstance(key, AgentKey) else key.asbytes()
    for certificate in certificates:
        if _bare(certificate.key_blob) == blob:
            certified = AgentKey(key.agent, key.blob) if isinstance(key, AgentKey) else copy.copy(key)
            certified.public_blob = certificate
            yield certified
    yield key


def _bare(blob: bytes) -> bytes:
    """Return the public half that a certificate is for (PROTOCOL.certkeys); of a public half, itself."""
    message = paramiko.Message(blob)
    kind = message.get_text()
    if not kind.endswith(CERTIFICATE):
        return blob
    message.get_binary()  # the nonce
    kind = kind.removesuffix(CERTIFICATE) + ("@openssh.com" if kind.startswith("sk-") else "")
    bare = paramiko.Message()
    bare.add_string(kind)
    for _ in range(FIELDS.get(kind, 2)):
        bare.add_string(message.get_binary())
    return bare.asbytes()
