"""The keys that log in, and in which order: those that IdentityFile names first, then the others of an agent.

ssh tries all keys of an agent before those in files. sshd hangs up after six (MaxAuthTries), so those come first.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import paramiko
from paramiko import PKey
from paramiko.agent import AgentSSH

FROM_ENVIRONMENT = "SSH_AUTH_SOCK"


class KeyLogin:
    """An auth_strategy of paramiko's client, by what `ssh -G` says of a machine (IdentityFile, IdentityAgent, ...)."""

    def __init__(self, options: Mapping[str, Any], user: str) -> None:
        """Take the options of the machine as paramiko reads them, tokens as %d and ~ expanded."""
        self.user = user
        self.files = [Path(name).expanduser() for name in options.get("identityfile", ()) if name.lower() != "none"]
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
        held = {key.asbytes(): key for key in agent.get_keys()}
        for path in self.files:
            blob = _public_half(path)
            if blob in held:
                yield held.pop(blob)
            elif path.is_file():
                yield from self._from_file(path)
        if not self.only_named:
            yield from held.values()

    def _from_file(self, path: Path) -> Iterator[PKey]:
        """Yield the private key of a file that exists; one that cannot be read is skipped, as ssh does."""
        try:
            yield PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):  # cryptography's word for a missing passphrase
            self.locked.append(path)
        except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
            return


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
        return PKey.from_path(path).asbytes()
    except (OSError, ValueError, TypeError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return None
