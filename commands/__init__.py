"""The commands of `inv`, a module for each: what one does on the relays and at the customer's end, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from invoke import Exit

from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from deploy.key_formats import BadKey
from deploy.plan import HostError
from inventory import InventoryError

P = ParamSpec("P")


def run_command(story: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a command and end with its exit code. A user's mistake or a refusal is a sentence, a bug a traceback."""
    try:
        code = story(*args, **kwargs)
    except (InventoryError, BadKey, Refused, HostError) as error:
        terminal.error(str(error))
        code = code_of(error)
    except OSError as error:
        if not error.filename:
            raise
        terminal.error(f"{error.filename}: {error.strerror}")
        code = exit_codes.FAILED
    except KeyboardInterrupt:
        terminal.error("stopped; run the same again, it goes on from what is there")
        code = 130
    if code:
        raise Exit(code=code)
