"""A command that is refused, and the exit code that each error stands for."""

from __future__ import annotations

from common import exit_codes
from deploy.plan import HostError


class Refused(Exception):
    """A command was refused (exit code 2). The text says why and what would help."""


def code_of(error: Exception) -> int:
    """Return the exit code an error stands for; a host's errors bring their own."""
    return error.code if isinstance(error, HostError) else exit_codes.REFUSED
