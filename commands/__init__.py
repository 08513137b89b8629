"""What the operator's words do: each module a story over both ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from invoke import Exit

from commands import screen
from commands.fleet import Refused, code_of
from deploy.keys import BadKey
from deploy.plan import HostError
from inventory import InventoryError
from receiver import report

P = ParamSpec("P")


def ended(story: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> None:
    """Tell a story and end with its exit code. A user's mistake or a refusal is a sentence, a bug a traceback."""
    try:
        code = story(*args, **kwargs)
    except (InventoryError, BadKey, Refused, HostError) as error:
        screen.fault(str(error))
        code = code_of(error)
    except OSError as error:
        if not error.filename:
            raise
        screen.fault(f"{error.filename}: {error.strerror}")
        code = report.FAILED
    except KeyboardInterrupt:
        screen.fault("stopped; run the same again, it goes on from what is there")
        code = 130
    if code:
        raise Exit(code=code)
