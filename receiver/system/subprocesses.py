"""A program run to its end, with an environment of its own and in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from receiver.outcome import Failed

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class CommandResult(NamedTuple):
    """The result of a program."""

    code: int
    out: str
    err: str


def run_command(argv: Sequence[str], stdin: str = "", seconds: float = 60) -> CommandResult:
    """Run it. Raises Failed when it cannot be started or does not end in time; its output is then lost.

    subprocess is imported here: most uploads run nothing, and it costs 8 ms.
    """
    from subprocess import PIPE, Popen, TimeoutExpired

    try:
        child = Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=ENVIRONMENT)
        out, err = child.communicate(stdin.encode(), seconds)
    except TimeoutExpired as error:
        with suppress(PermissionError):  # what sudo started is not ours to end, and is not waited for
            child.kill()
        raise Failed(f"{argv[0]} did not end within {seconds:g} s") from error
    except OSError as error:
        raise Failed(f"{argv[0]}: {error.strerror}") from error
    return CommandResult(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
